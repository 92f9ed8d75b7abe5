"""Streams as OpenAI's clients read them: only `data:` lines and comments, never provisional text as content.

A stream that fails before its first frame raises, so that the failure can still be a status.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Any, Final

from spar_core.errors import BackendError
from spar_core.search import SearchResult
from spar_core.search.events import Event
from spar_core.types import Completion, Delta, FinishReason, Usage
from spar_server.answering import Plan
from spar_server.bodies import Envelope, answer_delta
from spar_server.errors import api_error, internal_error
from spar_server.metrics import Metrics
from spar_server.progress import progress_of

logger = logging.getLogger(__name__)

# Load balancers drop a silent stream at 60 s; some clients count only parsed chunks.
COMMENT_EVERY_S: Final = 10.0
CHUNK_EVERY_S: Final = 15.0
# A request that the actor refuses is refused at once; a search is not held back longer for it than this.
STATUS_WITHIN_S: Final = 0.5
DONE: Final = "data: [DONE]\n\n"


def frame(data: dict[str, Any]) -> str:
    return f"data: {json.dumps(data, ensure_ascii=False, separators=(',', ':'))}\n\n"


async def told(head: str, rest: AsyncGenerator[str, None]) -> AsyncGenerator[str, None]:
    """A stream whose `head` has been read; what goes wrong from here on is its last frame."""
    async with aclosing(rest):
        yield head
        try:
            async for piece in rest:
                yield piece
        except BackendError as error:
            yield frame(api_error(error).body)
        except Exception:
            # The process's edge: a stream that just ends looks complete to a client.
            logger.exception("a stream broke")
            yield frame(internal_error().body)


async def stream_search(
    plan: Plan, envelope: Envelope, *, include_usage: bool, metrics: Metrics
) -> AsyncGenerator[str, None]:
    """The role, progress as reasoning while the search runs, then the answer in one piece."""
    events: asyncio.Queue[Event | None] = asyncio.Queue()
    begun = asyncio.Event()

    def tell(event: Event | None) -> None:
        events.put_nowait(event)
        begun.set()

    with metrics.request(plan.kind) as meter:
        task = asyncio.create_task(plan.search(tell))
        task.add_done_callback(lambda _: tell(None))
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(begun.wait(), STATUS_WITHIN_S)
            if task.done():
                # Raises what went wrong.
                task.result()
            yield frame(envelope.chunk({"role": "assistant", "content": ""}))
            async with aclosing(_watch(events, envelope, progress=plan.options.progress)) as progress:
                async for piece in progress:
                    yield piece
            result = await task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        meter.spoke()
        yield frame(envelope.chunk(answer_delta(result.answer)))
        meter.answered(plan, result)
        for piece in _ending(plan, result, envelope, include_usage=include_usage):
            yield piece


async def _watch(
    events: asyncio.Queue[Event | None], envelope: Envelope, *, progress: bool
) -> AsyncGenerator[str, None]:
    """Progress until the search ends; a comment or an empty chunk whenever there was none for long."""
    spoke = time.monotonic()
    # One pending get, never a cancelled one: a timeout around get() could lose an event.
    pending = asyncio.ensure_future(events.get())
    try:
        while True:
            due = spoke + CHUNK_EVERY_S - time.monotonic()
            done, _ = await asyncio.wait({pending}, timeout=min(COMMENT_EVERY_S, due))
            if time.monotonic() - spoke >= CHUNK_EVERY_S:
                spoke = time.monotonic()
                yield frame(envelope.chunk({}))
            elif not done:
                yield ": searching\n\n"
            if not done:
                continue
            event = pending.result()
            if event is None:
                return
            pending = asyncio.ensure_future(events.get())
            if progress and (text := progress_of(event)) is not None:
                spoke = time.monotonic()
                # Clients disagree on the name; each reads one of the two.
                yield frame(envelope.chunk({"reasoning_content": text, "reasoning": text}))
    finally:
        pending.cancel()


async def stream_pass_through(
    plan: Plan, envelope: Envelope, *, include_usage: bool, metrics: Metrics
) -> AsyncGenerator[str, None]:
    """The actor's tokens as they come."""
    text: list[str] = []
    finish: FinishReason = "stop"
    usage = Usage()
    with metrics.request(plan.kind) as meter:
        async with aclosing(plan.pair.actor.stream(plan.conversation, plan.sampling)) as deltas:
            opened = False
            async for delta in deltas:
                if not opened:
                    opened = True
                    yield frame(envelope.chunk({"role": "assistant", "content": ""}))
                finish, usage = delta.finish_reason or finish, delta.usage or usage
                if delta.text or delta.extra:
                    meter.spoke()
                    text.append(delta.text)
                    yield frame(_piece(envelope, delta))
        result = plan.passed_through(Completion("".join(text), finish, usage), meter.elapsed_s)
        meter.answered(plan, result)
        for piece in _ending(plan, result, envelope, include_usage=include_usage):
            yield piece


def _piece(envelope: Envelope, delta: Delta) -> dict[str, Any]:
    extra = dict(delta.extra)
    logprobs = extra.pop("logprobs", None)
    if "reasoning" in extra:
        extra["reasoning_content"] = extra["reasoning"]
    content = {"content": delta.text} if delta.text else {}
    return envelope.chunk({**content, **extra}, logprobs=logprobs)


def _ending(plan: Plan, result: SearchResult, envelope: Envelope, *, include_usage: bool) -> list[str]:
    last = envelope.chunk({}, result.answer.finish_reason) | {"spar": envelope.spar(plan, result)}
    ending = [frame(last)]
    if include_usage:
        ending.append(frame(envelope.usage_chunk(plan, result)))
    return [*ending, DONE]
