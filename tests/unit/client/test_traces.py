"""`client.traces`: stored searches, page by page and one by one, and feedback on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta

import pytest

from spar_client import AsyncClient, Client, NotFoundError
from spar_server.settings import Settings, TraceSettings
from tests.support.pairs import scripted_pair


@pytest.fixture(scope="module")
def url(serving: Callable[..., AbstractContextManager[str]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    path = tmp_path_factory.mktemp("traces") / "traces.sqlite"
    with serving(scripted_pair(), Settings(traces=TraceSettings(record=1, path=path))) as url:
        yield url


def test_a_search_is_found_by_the_trace_id_of_its_answer(url: str) -> None:
    with Client(url) as client:
        answer = client.chat("Hi there", refine_budget=2)
        assert answer.trace_id is not None
        trace = client.traces.get(answer.trace_id)
    assert (trace.stop_reason, trace.improved, trace.budget) == ("refined_accepted", True, 2)
    assert trace.messages[-1]["content"] == "Hi there"
    assert trace.trees[0].best.text == answer.text


def test_feedback_is_kept_with_the_search(url: str) -> None:
    with Client(url) as client:
        id = client.chat("Hi", refine_budget=1).trace_id
        assert id is not None
        given = client.traces.give_feedback(id, 0.5, "The lamp is there now.")
        assert client.traces.get(id).feedback == (given.model_copy(update={"trace_id": id}),)
        assert (given.score, given.comment) == (0.5, "The lamp is there now.")


def test_traces_are_listed_newest_first_by_filters_and_pages(url: str) -> None:
    with Client(url) as client:
        ids = [client.chat("Hi", refine_budget=7).trace_id for _ in range(3)]
        client.traces.get(str(ids[-1]))
        first = client.traces.list(budget=7, limit=2, since=datetime.now(UTC) - timedelta(hours=1))
        assert ([trace.id for trace in first.data], first.has_more) == (ids[:0:-1], True)
        assert first.next_cursor is not None
        second = client.traces.list(budget=7, limit=2, cursor=first.next_cursor)
        assert ([trace.id for trace in second.data], second.has_more) == (ids[:1], False)
        assert not client.traces.list(budget=7, improved=False).data


async def test_the_asynchronous_client_reads_them_too(url: str) -> None:
    async with AsyncClient(url) as client:
        id = (await client.chat("Hi", refine_budget=3)).trace_id
        assert id is not None
        assert (await client.traces.get(id)).id == id
        assert (await client.traces.give_feedback(id, 1)).score == 1
        assert (await client.traces.list(budget=3)).data[0].id == id


def test_a_server_that_stores_none_says_so(serving: Callable[..., AbstractContextManager[str]]) -> None:
    with (
        serving(scripted_pair()) as url,
        Client(url) as client,
        pytest.raises(NotFoundError, match="stores no traces"),
    ):
        client.traces.list()
