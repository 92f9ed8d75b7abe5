"""A stream is kept alive while there is nothing to say, and closed however early its client goes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import pytest

from spar_core.backends.scripted import ScriptedBackend, always
from spar_core.errors import BackendUnavailable
from spar_core.types import Delta, Message, Sampling
from spar_server.http.event_stream import EventStream
from spar_server.settings import Settings
from tests.support.pairs import RawScripted, scripted_pair

Serving = Callable[..., AbstractContextManager[str]]
COMMENT = ": waiting\n\n"
CHAT = {"model": "pair", "messages": [{"role": "user", "content": "Hi"}], "stream": True}


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A silence is long after 50 ms."""
    monkeypatch.setattr("spar_server.http.event_stream.COMMENT_EVERY_S", 0.05)


@dataclass
class Slow(ScriptedBackend):
    """Takes its time before each token, the first too, and may break off after them."""

    pause_s: float = 1.0
    breaks: bool = False
    closed: list[bool] = field(default_factory=list)

    async def stream(self, messages: Sequence[Message], sampling: Sampling) -> AsyncGenerator[Delta, None]:
        whole = False
        try:
            async for delta in super().stream(messages, sampling):
                await asyncio.sleep(self.pause_s)
                if self.breaks:
                    raise BackendUnavailable("broke off")
                yield delta
            whole = True
        finally:
            self.closed.append(whole)


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.usefixtures("often")
def test_a_silent_pass_through_sends_comments_before_and_between_tokens(serving: Serving, n: int) -> None:
    actor = Slow(always("one two"))
    with serving(replace(scripted_pair(), actor=actor)) as url:
        response = httpx.post(f"{url}/v1/chat/completions", json=CHAT | {"n": n})
    before, _, after = response.text.partition("data: ")
    assert before.count(COMMENT) >= 3
    between = after[after.index('"one"') : after.index('" two"')]
    assert between.count(COMMENT) >= 3
    assert response.text.endswith("data: [DONE]\n\n")
    # Nothing was given up in order to say it.
    assert actor.closed == [True] * n


@pytest.mark.usefixtures("often")
def test_a_silent_completions_stream_sends_comments_too(serving: Serving) -> None:
    with serving(replace(scripted_pair(), actor=RawScripted(always("x"), latency_s=1.0))) as url:
        response = httpx.post(f"{url}/v1/completions", json={"model": "pair", "prompt": "x", "stream": True})
    assert response.text.startswith(COMMENT)
    assert response.text.endswith("data: [DONE]\n\n")


def test_a_stream_that_is_not_silent_for_long_has_no_comments(serving: Serving) -> None:
    with serving(replace(scripted_pair(), actor=Slow(always("one two"), pause_s=0.05))) as url:
        assert COMMENT not in httpx.post(f"{url}/v1/chat/completions", json=CHAT).text


@pytest.mark.usefixtures("often")
def test_an_error_after_a_comment_is_reported_in_the_stream(serving: Serving) -> None:
    with serving(replace(scripted_pair(), actor=Slow(always("x"), breaks=True))) as url:
        response = httpx.post(f"{url}/v1/chat/completions", json=CHAT)
    assert response.status_code == 200
    assert response.text.startswith(COMMENT)
    assert "broke off" in response.text.split("data: ")[-1]
    assert "[DONE]" not in response.text


@pytest.mark.usefixtures("often")
async def test_a_request_that_waits_for_its_turn_is_refused_by_a_status(serving: Serving) -> None:
    settings = Settings(admission={"pass_through_capacity": 1, "max_wait_s": 0.3})  # type: ignore[arg-type]
    with serving(scripted_pair(latency_s=3), settings) as url:
        async with httpx.AsyncClient(base_url=url) as client, asyncio.TaskGroup() as group:
            asked = [group.create_task(client.post("/v1/chat/completions", json=CHAT)) for _ in range(2)]
    assert sorted(each.result().status_code for each in asked) == [200, 503]


async def test_a_comment_never_goes_out_after_the_end_or_into_a_frame() -> None:
    sent: list[bytes] = []

    async def frames() -> AsyncGenerator[str, None]:
        yield ""
        for number in range(20):
            await asyncio.sleep(0.002)
            yield f"data: {number}\n\n"

    async def slowly(message: Any) -> None:
        sent.append(message.get("body", b"start"))
        await asyncio.sleep(0.003)
        sent.append(b"sent")

    async def never() -> dict[str, Any]:
        await asyncio.sleep(60)
        return {}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("spar_server.http.event_stream.COMMENT_EVERY_S", 0.001)
        await EventStream(frames(), str)({"type": "http"}, never, slowly)
    assert set(sent[1::2]) == {b"sent"}
    said = sent[::2]
    assert (said[0], said[-1]) == (b"start", b"")
    assert [body for body in said if body.startswith(b"data")] == [b"data: %d\n\n" % number for number in range(20)]


async def test_a_client_that_goes_before_the_headers_are_out_stops_the_work() -> None:
    closed = asyncio.Event()

    async def frames() -> AsyncGenerator[str, None]:
        try:
            while True:
                yield "data: 1\n\n"
        finally:
            closed.set()

    async def gone() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def never_sent(message: Any) -> None:
        await asyncio.sleep(60)

    response = EventStream(frames(), str)
    await response({"type": "http"}, gone, never_sent)
    assert closed.is_set()


@pytest.mark.parametrize("budget", [0, 1])
@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/v1/chat/completions", CHAT),
        ("/v1/responses", {"model": "pair", "input": "Hi", "stream": True}),
    ],
)
def test_no_character_of_an_answer_ends_a_line_for_clients_that_split_at_all_of_unicodes(
    serving: Serving, path: str, asked: dict[str, Any], budget: int
) -> None:
    text = "one\u2028two\u2029three\x85four\x0b\x0c\x1c\x1d\x1efive 模型 🌊"
    with serving(scripted_pair(always(text), always("Final Judgement: Yes"))) as url:
        sent = httpx.post(url + path, json=asked | {"refine_budget": budget}).content.decode()
    lines = [line for line in sent.splitlines() if line]
    assert all(line.startswith(("data: ", "event: ")) for line in lines)
    assert "模型" in sent
    frames = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    assert "".join(map(_said, frames)) == text


def _said(frame: dict[str, Any]) -> str:
    """A piece of an answer, in either API's words."""
    if "choices" in frame:
        return "".join(choice["delta"].get("content") or "" for choice in frame["choices"])
    return str(frame["delta"]) if frame["type"] == "response.output_text.delta" else ""
