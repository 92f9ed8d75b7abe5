"""/v1/batches through OpenAI's own client, on servers with scripted models."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import openai
import pytest

from spar_core.backends.scripted import ScriptedBackend
from spar_core.errors import BackendUnavailable
from spar_core.types import Completion, Message, Sampling
from spar_server.auth.keyring import sha256_of
from spar_server.models.pair import ServedPair
from spar_server.settings import ApiKey
from tests.support.batch_server import BatchClient, Running, answer_of, batch_app, line
from tests.support.pairs import scripted_pair


@pytest.fixture(scope="module")
def client(running: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BatchClient]:
    with running(batch_app(tmp_path_factory.mktemp("batches"), max_lines=3, max_key_files=10_000)) as url:
        yield BatchClient(url)


def counts(batch: Any) -> tuple[int, int, int]:
    return batch.request_counts.total, batch.request_counts.completed, batch.request_counts.failed


def errors_of(batch: Any) -> list[tuple[int, str]]:
    assert batch.status == "failed"
    assert batch.output_file_id is None
    return [(each.line, each.message) for each in batch.errors.data]


def test_a_batch_answers_the_requests_of_its_file(client: BatchClient) -> None:
    batch = client.create([line("plain"), "", line("refined", refine_budget=1)], metadata={"run": "7"})
    assert (batch.object, batch.status, batch.metadata) == ("batch", "validating", {"run": "7"})
    assert (batch.expires_at or 0) - batch.created_at == 24 * 3600
    batch = client.until(batch)
    assert (batch.status, counts(batch)) == ("completed", (2, 2, 0))
    assert None not in (batch.in_progress_at, batch.finalizing_at, batch.completed_at)
    results = client.results(batch.output_file_id)
    answers = {id: answer_of(each) for id, each in results.items()}
    assert answers == {"plain": "a plain draft", "refined": "better answer"}
    assert results["plain"]["id"].startswith("batch_req_")
    assert results["plain"]["response"]["request_id"]
    assert batch.error_file_id is None
    assert client.openai.files.retrieve(batch.output_file_id or "").purpose == "batch_output"


def test_requests_that_fail_are_in_the_error_file(client: BatchClient) -> None:
    batch = client.run([line("good"), line("bad", temperature=7), line("long", refine_budget=1000)])
    assert (batch.status, counts(batch)) == ("completed", (3, 1, 2))
    assert set(client.results(batch.output_file_id)) == {"good"}
    failed = client.results(batch.error_file_id)
    assert {id: each["response"]["status_code"] for id, each in failed.items()} == {"bad": 400, "long": 400}
    assert failed["bad"]["response"]["body"]["error"]["param"] == "temperature"


def test_every_endpoint_with_answers_can_be_used(client: BatchClient) -> None:
    judged = {"messages": [{"role": "user", "content": "Hi"}], "response": "Hello"}
    batch = client.run([{"custom_id": "a", "method": "POST", "url": "/v1/judge", "body": judged}], "/v1/judge")
    assert client.results(batch.output_file_id)["a"]["response"]["body"]["object"] == "judgement"
    asked = {"model": "pair", "input": "Hi"}
    batch = client.run([{"custom_id": "a", "method": "POST", "url": "/v1/responses", "body": asked}], "/v1/responses")
    assert client.results(batch.output_file_id)["a"]["response"]["body"]["object"] == "response"


def test_a_file_with_wrong_lines_is_refused_line_by_line(client: BatchClient) -> None:
    batch = client.run(
        [
            line("a"),
            "{",
            "[1]",
            line("a"),
            {**line("b"), "method": "GET"},
            line("c", url="/v1/responses"),
            line("d", model="gpt-0"),
            line("e", stream=True),
            {**line("f"), "body": "text"},
            {**line("g"), "custom_id": 7},
            '{"custom_id": "h", "method": "POST", "url": "/v1/chat/completions", "body": {"x": NaN}}',
        ]
    )
    messages = [message for _, message in errors_of(batch)]
    assert [number for number, _ in errors_of(batch)] == list(range(2, 12))
    for message, part in zip(
        messages,
        (
            "line 2: the line is not valid JSON",
            "line 3: must be a JSON object",
            "line 4: custom_id: 'a' is also that of line 1",
            "method: must be POST",
            "url: must be /v1/chat/completions",
            "body.model: the model 'gpt-0' does not exist",
            "body.stream: a batch cannot stream",
            "body: must be a JSON object",
            "custom_id: must be a string",
            "finite",
        ),
        strict=True,
    ):
        assert part in message
    assert counts(batch) == (0, 0, 0)


def test_a_batch_has_a_first_line_and_no_more_lines_than_the_limit(client: BatchClient) -> None:
    assert errors_of(client.run(["", " "])) == [(None, "the input file has no request")]
    [(number, message)] = errors_of(client.run([line(str(number)) for number in range(9)]))
    assert number == 4
    assert "batches.max_lines" in message


def test_what_cannot_be_a_batch_is_refused_at_once(client: BatchClient) -> None:
    create, file = client.openai.batches.create, client.upload([line("a")])
    for changed, named in (
        ({"endpoint": "/v1/models"}, "endpoint"),
        ({"completion_window": "1h"}, "completion_window"),
        ({"input_file_id": "file-0"}, "input_file_id"),
        ({"metadata": {str(number): "" for number in range(17)}}, "metadata"),
    ):
        given: dict[str, Any] = {"input_file_id": file.id, "endpoint": "/v1/responses", "completion_window": "24h"}
        with pytest.raises(openai.BadRequestError, match=named) as caught:
            create(**(given | changed))
        assert caught.value.param == named
    output = client.run([line("a")]).output_file_id
    with pytest.raises(openai.BadRequestError, match="purpose batch"):
        create(input_file_id=output or "", endpoint="/v1/responses", completion_window="24h")


def test_batches_are_listed_from_the_newest_in_pages(client: BatchClient) -> None:
    made = [client.run([line("a")]).id for _ in range(3)]
    batches = client.openai.batches
    assert [each.id for each in batches.list(limit=2)][:3] == made[::-1]
    page = batches.list(limit=2)
    assert page.has_more
    assert batches.list(after=page.data[-1].id).data[0].id == made[0]
    with pytest.raises(openai.BadRequestError, match="after"):
        batches.list(after="batch_0")


def test_an_ended_or_unknown_batch_cannot_be_cancelled(client: BatchClient) -> None:
    batch = client.run([line("a")])
    with pytest.raises(openai.BadRequestError, match="has ended: it is completed"):
        client.openai.batches.cancel(batch.id)
    with pytest.raises(openai.NotFoundError):
        client.openai.batches.cancel("batch_0")
    with pytest.raises(openai.NotFoundError):
        client.openai.batches.retrieve("batch_0")


class Actor(ScriptedBackend):
    """Answers to "wait" never, and to "fail" with as many failures as it has."""

    def __init__(self) -> None:
        super().__init__(lambda messages, sampling: self.reply(messages[-1].text))
        self.failures = 0

    def reply(self, text: str) -> str | BackendUnavailable:
        if text == "fail" and self.failures:
            self.failures -= 1
            return BackendUnavailable("the upstream is away")
        return f"answer to {text}"

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        if messages[-1].text == "wait":
            await asyncio.Event().wait()
        return await super().complete(messages, sampling)


def pair_of(actor: Actor) -> ServedPair:
    return replace(scripted_pair(), actor=actor)


def test_a_cancelled_batch_keeps_what_was_answered(running: Running, tmp_path: Path) -> None:
    with running(batch_app(tmp_path, pair_of(Actor()), concurrency=2)) as url:
        client = BatchClient(url)
        batch = client.create([line("first", "now"), *(line(f"waits-{number}", "wait") for number in range(3))])
        while client.until(batch, "in_progress").request_counts.completed < 1:  # type: ignore[union-attr]
            pass
        with pytest.raises(openai.BadRequestError, match=f"the batch {batch.id} reads this file"):
            client.openai.files.delete(batch.input_file_id)
        assert client.openai.batches.cancel(batch.id).status == "cancelling"
        batch = client.until(batch)
        assert (batch.status, counts(batch)) == ("cancelled", (4, 1, 0))
        assert batch.cancelled_at is not None
        assert set(client.results(batch.output_file_id)) == {"first"}
        errors = client.results(batch.error_file_id)
        assert {id: each["error"]["code"] for id, each in errors.items()} == dict.fromkeys(
            ("waits-0", "waits-1", "waits-2"), "batch_cancelled"
        )
        assert client.openai.files.delete(batch.input_file_id).deleted


def test_an_upstream_that_fails_for_a_while_costs_no_request(
    running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spar_server.batches.runner._FIRST_PAUSE_S", 0.01)
    actor = Actor()
    actor.failures = 2
    with running(batch_app(tmp_path, pair_of(actor))) as url:
        batch = BatchClient(url).run([line("a", "fail"), line("b")])
        assert counts(batch) == (2, 2, 0)
        actor.failures = 10**6
        batch = BatchClient(url).run([line("a", "fail"), line("b")])
        assert counts(batch) == (2, 1, 1)
        assert BatchClient(url).results(batch.error_file_id)["a"]["response"]["status_code"] == 502


def test_a_batch_is_bound_by_the_limits_of_its_key(
    running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spar_server.batches.runner._FIRST_PAUSE_S", 0.01)
    keys = (
        ApiKey(name="ann", sha256=sha256_of("ann"), models=("other",)),
        ApiKey(name="bob", sha256=sha256_of("bob"), max_refine_budget=1, concurrent_searches=1),
    )
    with running(batch_app(tmp_path, keys=keys, max_unfinished=1)) as url:
        [(number, message)] = errors_of(BatchClient(url, "ann").run([line("a")]))
        assert number == 1
        assert "this key is not for the model 'pair'" in message
        bob = BatchClient(url, "bob")
        # One search at a time: the others are asked again until they have their turn.
        batch = bob.run([line("over", refine_budget=2), *(line(f"{n}", refine_budget=1) for n in range(4))])
        assert counts(batch) == (5, 4, 1)
        assert "refine_budget" in bob.results(batch.error_file_id)["over"]["response"]["body"]["error"]["message"]
        with pytest.raises(openai.NotFoundError):
            BatchClient(url, "ann").openai.batches.retrieve(batch.id)
        with pytest.raises(openai.NotFoundError):
            BatchClient(url, "ann").openai.batches.cancel(batch.id)
        assert batch.id not in [each.id for each in BatchClient(url, "ann").openai.batches.list()]


def test_a_key_has_a_limit_of_unfinished_batches(running: Running, tmp_path: Path) -> None:
    with running(batch_app(tmp_path, pair_of(Actor()), max_unfinished=1)) as url:
        client = BatchClient(url)
        batch = client.create([line("a", "wait")])
        with pytest.raises(openai.RateLimitError, match="has 1 unfinished batches"):
            client.create([line("a")])
        client.openai.batches.cancel(batch.id)
        client.until(batch)
        assert client.run([line("a")]).status == "completed"
