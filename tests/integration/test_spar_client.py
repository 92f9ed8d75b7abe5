"""The Python client and its commands against the tiny pair, served."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from spar_client import AnswerEvent, CallEvent, Client, DoneEvent, DraftEvent, JudgementEvent
from tests.support.terminal import spar

pytestmark = pytest.mark.real
QUESTION = "Tell me about the river. Do not use commas. Include the words lamp and bell. Write at least 4 sentences."


@pytest.fixture
def client(embedded_url: str) -> Iterator[Client]:
    with Client(embedded_url) as client:
        yield client


def test_a_search_can_be_watched_and_ends_in_its_answer(client: Client) -> None:
    events = list(client.stream(QUESTION, refine_budget=8, seed=3, refine={"trace": "full", "stop": "level"}))
    # The actor's call is over before its draft is told.
    call, draft, done = events[0], events[1], events[-1]
    assert isinstance(call, CallEvent)
    assert isinstance(draft, DraftEvent)
    assert isinstance(done, DoneEvent)
    completion = done.completion
    assert [event.text for event in events if isinstance(event, AnswerEvent)] == [completion.text]
    judged = {event.path: event for event in events if isinstance(event, JudgementEvent)}
    tree = completion.tree
    assert tree is not None
    assert tree.draft.text == draft.text
    # A refinement that repeats a known response shares its judgement, without an event of its own.
    nodes = {node.path: node for node in tree.nodes}
    for path, event in judged.items():
        judgement = nodes[path].judgement
        assert judgement is not None
        assert (nodes[path].value, judgement.accepted, judgement.critique) == (
            event.value,
            event.accepted,
            event.critique,
        )


def test_a_seed_gives_the_same_answer_streamed_or_not(client: Client) -> None:
    whole = client.chat(QUESTION, refine_budget=4, seed=3, refine={"stop": "level"})
    streamed = client.stream(QUESTION, refine_budget=4, seed=3, refine={"stop": "level"}).completion()
    assert streamed.text == whole.text
    assert streamed.refinement.tokens == whole.refinement.tokens


def test_a_critique_is_written_and_used(client: Client) -> None:
    judgement = client.judge(QUESTION, "The river is calm.", seed=1)
    assert not judgement.accepted
    assert judgement.critique
    refined = client.refine(QUESTION, "The river is calm.", critique=judgement.critique, seed=1, refine_budget=4)
    assert refined.refinement.calls["refiner"] > 0


def test_the_commands_answer_through_the_same_server(embedded_url: str, tmp_path: Path) -> None:
    chatted = spar("chat", "--url", embedded_url, "-b", "4", "--seed", "3", said=QUESTION)
    assert (chatted.returncode, "Judged draft" in chatted.stderr) == (0, True)
    source, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    body = {"messages": [{"role": "user", "content": QUESTION}], "seed": 3}
    lines = [{"custom_id": str(n), "url": "/v1/chat/completions", "body": body | {"seed": n}} for n in range(6)]
    source.write_text("".join(json.dumps(line) + "\n" for line in lines))
    batched = spar("batch", str(source), str(output), "--url", embedded_url, "-b", "2")
    assert batched.returncode == 0, batched.stderr
    assert {json.loads(row)["custom_id"] for row in output.read_text().splitlines()} == set("012345")
