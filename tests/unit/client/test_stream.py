"""`stream`: the steps of the search, the answer, and everything at the end."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, aclosing
from dataclasses import replace

import pytest

from spar_client import (
    AnswerEvent,
    APIConnectionError,
    APIProtocolError,
    AsyncClient,
    CallEvent,
    Client,
    DoneEvent,
    DraftEvent,
    FinishEvent,
    JudgementEvent,
    NodeEvent,
    OverloadedError,
    RateLimitError,
    ReasoningEvent,
    RefinementEvent,
    VoteEvent,
)
from spar_core.backends.scripted import ScriptedBackend
from spar_core.errors import BackendOverloaded, BackendUnavailable
from spar_core.types import Completion, Usage
from tests.clients.obedient import WEATHER
from tests.support.canned_server import Canned, canned
from tests.support.pairs import scripted_pair

Serving = Callable[..., AbstractContextManager[str]]
EVERY_STEP = [
    *[DraftEvent, VoteEvent, VoteEvent, VoteEvent, JudgementEvent, NodeEvent, RefinementEvent],
    *[VoteEvent, VoteEvent, VoteEvent, JudgementEvent, FinishEvent, AnswerEvent, DoneEvent],
]


def test_a_search_is_seen_step_by_step(client: Client) -> None:
    with client.stream("Hi", refine_budget=2, refine={"algorithm": "iterative"}) as stream:
        steps = list(stream)
    events = [event for event in steps if not isinstance(event, CallEvent)]
    assert [type(event) for event in events] == EVERY_STEP
    draft, vote, judgement, refinement, finish = (events[at] for at in (0, 1, 4, 6, -3))
    assert isinstance(draft, DraftEvent)
    assert isinstance(vote, VoteEvent)
    assert isinstance(judgement, JudgementEvent)
    assert isinstance(refinement, RefinementEvent)
    assert isinstance(finish, FinishEvent)
    assert (draft.text, vote.path, vote.verdict) == ("a plain draft", (), "no")
    assert (judgement.accepted, judgement.critique) == (False, vote.critique)
    assert (refinement.path, refinement.text) == ((0,), "better answer")
    assert (finish.answer, finish.stop_reason) == ((0,), "refined_accepted")


def test_each_model_call_is_an_event_with_its_prompt_on_request(client: Client) -> None:
    with client.stream("Hi", refine_budget=1, refine={"prompts": True}) as stream:
        calls = [event for event in stream if isinstance(event, CallEvent)]
    assert [(call.role, call.path, call.outcome) for call in calls[:2]] == [
        ("actor", (), "finished"),
        ("judge", (), "finished"),
    ]
    assert calls[0].messages == ({"role": "user", "content": "Hi"},)
    assert calls[0].started_ms <= calls[0].ended_ms


def test_the_answer_comes_whole_after_a_search_and_in_tokens_without(client: Client) -> None:
    def pieces(budget: int) -> list[str]:
        return [event.text for event in client.stream("Hi", refine_budget=budget) if isinstance(event, AnswerEvent)]

    assert pieces(2) == ["better answer"]
    assert pieces(0) == ["a", " plain", " draft"]


@pytest.mark.parametrize("budget", [0, 2])
def test_the_end_of_a_stream_has_the_fields_of_a_chat_completion(client: Client, budget: int) -> None:
    options = {"refine_budget": budget, "refine": {"trace": "full", "stop": "level"}, "seed": 1}
    streamed = client.stream("Hi", **options).completion()  # type: ignore[arg-type]
    whole = client.chat("Hi", **options)  # type: ignore[arg-type]
    assert (streamed.text, streamed.choices[0].finish_reason) == (whole.text, "stop")
    assert streamed.refinement.tokens == whole.refinement.tokens
    assert streamed.tree == whole.tree
    assert streamed.trace_id


def test_answers_are_distinguished_by_their_choice(client: Client) -> None:
    events = list(client.stream("Hi", n=2))
    texts = ["".join(e.text for e in events if isinstance(e, AnswerEvent) and e.choice == n) for n in (0, 1)]
    assert texts == ["a plain draft", "a plain draft"]
    done = events[-1]
    assert isinstance(done, DoneEvent)
    assert [choice.message.content for choice in done.completion.choices] == texts


@pytest.mark.parametrize("budget", [0, 2])
def test_a_tool_call_is_put_together(client: Client, budget: int) -> None:
    called = client.stream("weather", tools=[WEATHER], refine_budget=budget).completion()
    assert called.choices[0].message.tool_calls == [
        {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Paris"}'}}
    ]


def test_the_actors_own_reasoning_is_no_answer(serving: Serving) -> None:
    thinking = Completion("an answer", "stop", Usage(2, 3), {"reasoning": "let me think"})
    with serving(scripted_pair(lambda *_: thinking)) as url, Client(url) as client:
        events = list(client.stream("Hi"))
    assert [event.text for event in events if isinstance(event, ReasoningEvent)] == ["let me think"]
    done = events[-1]
    assert isinstance(done, DoneEvent)
    assert (done.completion.text, done.completion.choices[0].message.reasoning) == ("an answer", "let me think")


def test_a_stream_that_cannot_start_raises_like_chat(client: Client) -> None:
    with pytest.raises(RateLimitError) as caught:
        list(client.stream("busy"))
    assert (caught.value.code, caught.value.retry_after) == ("upstream_overloaded", 1)


def test_a_stream_that_ends_in_an_error_raises_it(serving: Serving) -> None:
    class Breaking(ScriptedBackend):
        async def stream(self, messages, sampling):  # type: ignore[no-untyped-def]
            async with aclosing(super().stream(messages, sampling)) as deltas:
                async for delta in deltas:
                    yield delta
                    raise BackendOverloaded("upstream answered 503", status=503)

    pair = replace(scripted_pair(), actor=Breaking(lambda *_: "a plain draft"))
    with serving(pair) as url, Client(url) as client:
        received = []
        with pytest.raises(OverloadedError):
            received.extend(client.stream("Hi"))


def test_leaving_a_stream_ends_its_search(serving: Serving) -> None:
    pair = scripted_pair(latency_s=0.05)
    with serving(pair) as url, Client(url) as client:
        with client.stream("Hi", refine_budget=8) as stream:
            next(stream)
        # The connection is free for the next request.
        assert client.models()
        with pytest.raises(RuntimeError, match="closed before its end"):
            stream.completion()


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b'data: {"choices": [{"index": 0, "delta": {"content": "a"}}]}\n\n', APIConnectionError),
        (b"data: {oh no\n\ndata: [DONE]\n\n", APIProtocolError),
        (b"data: 3\n\ndata: [DONE]\n\n", APIProtocolError),
        (b'data: {"choices": [{"delta": {}}]}\n\ndata: [DONE]\n\n', APIProtocolError),
    ],
)
def test_a_stream_that_breaks_or_is_none_is_an_error(body: bytes, error: type[Exception]) -> None:
    with canned(Canned(body)) as server, Client(server.url, model="m") as client, pytest.raises(error):
        list(client.stream("Hi"))


async def test_the_asynchronous_stream_is_the_same(url: str) -> None:
    async with AsyncClient(url) as client:
        async with client.stream("Hi", refine_budget=2, refine={"algorithm": "iterative"}) as stream:
            events = [event async for event in stream if not isinstance(event, CallEvent)]
        assert [type(event) for event in events] == EVERY_STEP
        assert (await client.stream("Hi").completion()).text == "a plain draft"
        with pytest.raises(RateLimitError):
            await client.stream("busy").completion()


def test_an_error_after_the_draft_arrives_with_the_answer_so_far(serving: Serving) -> None:
    def broken(*_: object) -> BackendUnavailable:
        return BackendUnavailable("upstream answered 500", status=500)

    with serving(scripted_pair(refiner=broken)) as url, Client(url) as client:  # type: ignore[arg-type]
        completion = client.stream("Hi", refine_budget=2).completion()
    assert (completion.text, completion.refinement.degraded) == ("a plain draft", True)
