"""A draft that is streamed ends at the deadline that its client names, with what there is of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import httpx
import pytest

from spar_core.backends.scripted import ScriptedBackend, always
from spar_core.types import Delta, Message, Sampling
from spar_server.models.pair import ServedPair
from tests.support.pairs import scripted_pair

Serving = Callable[..., AbstractContextManager[str]]
BODY: dict[str, Any] = {
    "model": "pair",
    "messages": [{"role": "user", "content": "Hi"}],
    "stream": True,
    "stream_options": {"include_usage": True},
}
# Long enough for the first words on a busy machine.
SOON_S = 2.0


class Stalling(ScriptedBackend):
    """Says the first `words` of its reply and then nothing."""

    words = 3

    async def stream(self, messages: Sequence[Message], sampling: Sampling) -> AsyncGenerator[Delta, None]:
        count = 0
        async for delta in super().stream(messages, sampling):
            if count == self.words:
                await asyncio.Event().wait()
            count += 1
            yield delta


def stalling(words: int = 3) -> ServedPair:
    actor = Stalling(always("one two three four five"))
    actor.words = words
    return replace(scripted_pair(), actor=actor)


def chunks(url: str, **body: Any) -> list[dict[str, Any]]:
    answer = httpx.post(f"{url}/v1/chat/completions", json=BODY | body, timeout=120)
    *frames, done = answer.text.strip().split("\n\n")
    assert done == "data: [DONE]"
    return [json.loads(frame.removeprefix("data: ")) for frame in frames if frame.startswith("data: ")]


def test_a_draft_is_cut_off_with_its_stop_reason_and_usage(serving: Serving) -> None:
    with serving(stalling()) as url:
        *told, last = chunks(url, refine={"deadline_s": SOON_S}, max_tokens=20)
    choices = [choice for chunk in told for choice in chunk["choices"]]
    assert "".join(choice["delta"].get("content") or "" for choice in choices) == "one two three"
    assert choices[-1]["finish_reason"] == "length"
    usage = last["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (None, 3, None)
    refinement = usage["refinement"]
    assert (refinement["stop_reason"], refinement["stop_reasons"]) == ("deadline", ["deadline"])
    assert (refinement["cancelled_calls"], refinement["cancelled_tokens_at_most"]) == (1, 17)


def test_incomplete_drafts_of_several_are_cut_off(serving: Serving) -> None:
    with serving(stalling()) as url:
        *told, last = chunks(url, refine={"deadline_s": SOON_S}, n=2)
    finishes = [choice["finish_reason"] for chunk in told for choice in chunk["choices"] if choice["finish_reason"]]
    assert finishes == ["length", "length"]
    assert last["usage"]["refinement"]["cancelled_calls"] == 2
    assert last["usage"]["refinement"]["cancelled_tokens_at_most"] is None


def test_a_deadline_before_the_first_token_is_a_timeout(serving: Serving) -> None:
    with serving(stalling(words=0)) as url:
        answer = httpx.post(f"{url}/v1/chat/completions", json=BODY | {"refine": {"deadline_s": SOON_S}}, timeout=120)
    assert answer.status_code == 504


def test_a_draft_that_ends_in_time_is_complete(serving: Serving) -> None:
    with serving(stalling(words=99)) as url:
        *told, last = chunks(url, refine={"deadline_s": 120})
    assert (
        "".join(c["delta"].get("content") or "" for chunk in told for c in chunk["choices"])
        == "one two three four five"
    )
    assert last["usage"]["refinement"]["stop_reason"] == "pass_through"
    assert last["usage"]["refinement"]["cancelled_calls"] == 0


@pytest.mark.parametrize("path", ["/v1/responses"])
def test_a_response_that_is_cut_off_is_incomplete(serving: Serving, path: str) -> None:
    body = {"model": "pair", "input": "Hi", "stream": True, "refine": {"deadline_s": SOON_S}}
    with serving(stalling()) as url:
        text = httpx.post(f"{url}{path}", json=body, timeout=120).text
    last = json.loads(text.strip().split("\n\n")[-1].partition("data: ")[2])
    assert last["type"] == "response.incomplete"
    assert last["response"]["output"][-1]["content"][0]["text"] == "one two three"
    assert last["response"]["usage"]["refinement"]["stop_reason"] == "deadline"
