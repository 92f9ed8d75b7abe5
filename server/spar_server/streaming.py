"""Streams as OpenAI's clients read them: only `data:` lines and comments, never provisional text as content."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Final

from spar_core.errors import BackendError
from spar_core.search import SearchResult
from spar_core.search.events import Event
from spar_core.types import Completion, Delta, FinishReason, Usage
from spar_server.answering import Plan
from spar_server.bodies import Envelope, answer_delta
from spar_server.errors import api_error
from spar_server.metrics import Metrics
from spar_server.progress import progress_of

# Load balancers drop a silent stream at 60 s; some clients count only parsed chunks.
COMMENT_EVERY_S: Final = 10.0
CHUNK_EVERY_S: Final = 15.0
DONE: Final = "data: [DONE]\n\n"


def frame(data: dict[str, Any]) -> str:
    return f"data: {json.dumps(data, ensure_ascii=False, separators=(',', ':'))}\n\n"


async def stream_search(
    plan: Plan, envelope: Envelope, *, include_usage: bool, metrics: Metrics
) -> AsyncGenerator[str, None]:
    """The role at once, progress as reasoning while the search runs, then the answer in one piece."""
    events: asyncio.Queue[Event | None] = asyncio.Queue()
    task = asyncio.create_task(plan.search(events.put_nowait))
    task.add_done_callback(lambda _: events.put_nowait(None))
    metrics.running.inc()
    try:
        yield frame(envelope.chunk({"role": "assistant", "content": ""}))
        async for piece in _watch(events, envelope, tell=plan.options.progress):
            yield piece
        try:
            result = await task
        except BackendError as error:
            metrics.failed()
            yield frame(api_error(error).body)
            return
        metrics.searched(plan, result)
        yield frame(envelope.chunk(answer_delta(result.answer)))
        for piece in _ending(plan, result, envelope, include_usage=include_usage):
            yield piece
    finally:
        metrics.running.dec()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _watch(events: asyncio.Queue[Event | None], envelope: Envelope, *, tell: bool) -> AsyncIterator[str]:
    """Progress until the search ends; a comment or an empty chunk whenever there was none for long."""
    spoke = time.monotonic()
    # One pending get, never a cancelled one: a timeout around get() could lose an event.
    pending = asyncio.ensure_future(events.get())
    try:
        while True:
            done, _ = await asyncio.wait({pending}, timeout=COMMENT_EVERY_S)
            if not done:
                yield ": searching\n\n"
                if time.monotonic() - spoke >= CHUNK_EVERY_S:
                    spoke = time.monotonic()
                    yield frame(envelope.chunk({}))
                continue
            event = pending.result()
            if event is None:
                return
            pending = asyncio.ensure_future(events.get())
            if tell and (text := progress_of(event)) is not None:
                spoke = time.monotonic()
                # Clients disagree on the name; each reads one of the two.
                yield frame(envelope.chunk({"reasoning_content": text, "reasoning": text}))
    finally:
        pending.cancel()


async def stream_pass_through(
    plan: Plan,
    envelope: Envelope,
    deltas: AsyncGenerator[Delta, None],
    first: Delta,
    *,
    include_usage: bool,
    metrics: Metrics,
) -> AsyncGenerator[str, None]:
    """The actor's tokens as they come. `first` has been read already, so that a bad start could still be a status."""
    began = time.monotonic()
    text: list[str] = []
    finish: FinishReason = "stop"
    usage = Usage()
    metrics.running.inc()
    try:
        yield frame(envelope.chunk({"role": "assistant", "content": ""}))
        async for delta in _chain(first, deltas):
            finish, usage = delta.finish_reason or finish, delta.usage or usage
            body = _delta(delta)
            if body:
                text.append(delta.text)
                yield frame(envelope.chunk(body))
    except BackendError as error:
        metrics.failed()
        yield frame(api_error(error).body)
        return
    finally:
        metrics.running.dec()
        await deltas.aclose()
    result = plan.passed_through(Completion("".join(text), finish, usage), time.monotonic() - began)
    metrics.searched(plan, result)
    for piece in _ending(plan, result, envelope, include_usage=include_usage):
        yield piece


async def _chain(first: Delta, rest: AsyncGenerator[Delta, None]) -> AsyncIterator[Delta]:
    yield first
    async for delta in rest:
        yield delta


def _delta(delta: Delta) -> dict[str, Any]:
    body: dict[str, Any] = {"content": delta.text} if delta.text else {}
    for name, value in delta.extra.items():
        body[name] = value
        if name == "reasoning":
            body["reasoning_content"] = value
    return body


def _ending(plan: Plan, result: SearchResult, envelope: Envelope, *, include_usage: bool) -> list[str]:
    last = envelope.chunk({}, result.answer.finish_reason) | {"spar": envelope.spar(plan, result)}
    ending = [frame(last)]
    if include_usage:
        ending.append(frame(envelope.usage_chunk(plan, result)))
    return [*ending, DONE]
