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
from dataclasses import dataclass, field
from typing import Any, Final

from spar_core.errors import BackendError
from spar_core.search import Answers
from spar_core.search.events import Event
from spar_core.types import Completion, Delta, FinishReason, Usage
from spar_server.answering import Plan
from spar_server.bodies import Envelope, answer_delta
from spar_server.errors import ApiError, api_error, internal_error
from spar_server.metrics import Metrics
from spar_server.progress import progress_of
from spar_server.side_by_side import side_by_side

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
        except ApiError as error:
            yield frame(error.body)
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
            answers = await task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        meter.spoke()
        for index, answer in enumerate(answers.completions):
            # The first choice's role went out before the search.
            role = {"role": "assistant"} if index else {}
            yield frame(envelope.chunk({**role, **answer_delta(answer)}, index=index))
        meter.answered(plan, answers)
        for piece in _ending(plan, answers, envelope, include_usage=include_usage):
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
    """The actor's tokens as they come; the choices of one request come through each other."""
    choices = [_Heard() for _ in range(plan.n)]
    with metrics.request(plan.kind) as meter:
        async with aclosing(side_by_side([plan.draft_stream(index) for index in range(plan.n)])) as deltas:
            async for index, delta in deltas:
                choice = choices[index]
                if not choice.opened:
                    choice.opened = True
                    yield frame(envelope.chunk({"role": "assistant", "content": ""}, index=index))
                choice.finish, choice.usage = delta.finish_reason or choice.finish, delta.usage or choice.usage
                if delta.text or delta.extra:
                    meter.spoke()
                    choice.text.append(delta.text)
                    yield frame(_piece(envelope, delta, index))
        drafts = [Completion("".join(choice.text), choice.finish, choice.usage) for choice in choices]
        answers = plan.passed_through(drafts, meter.elapsed_s)
        meter.answered(plan, answers)
        for piece in _ending(plan, answers, envelope, include_usage=include_usage):
            yield piece


@dataclass
class _Heard:
    """What a choice's stream has brought so far."""

    text: list[str] = field(default_factory=list)
    finish: FinishReason = "stop"
    usage: Usage = field(default_factory=Usage)
    opened: bool = False


def _piece(envelope: Envelope, delta: Delta, index: int) -> dict[str, Any]:
    extra = dict(delta.extra)
    logprobs = extra.pop("logprobs", None)
    if "reasoning" in extra:
        extra["reasoning_content"] = extra["reasoning"]
    content = {"content": delta.text} if delta.text else {}
    return envelope.chunk({**content, **extra}, index=index, logprobs=logprobs)


def _ending(plan: Plan, answers: Answers, envelope: Envelope, *, include_usage: bool) -> list[str]:
    *others, last = [
        envelope.chunk({}, answer.finish_reason, index=index) for index, answer in enumerate(answers.completions)
    ]
    ending = [frame(chunk) for chunk in (*others, last | {"spar": envelope.spar(plan, answers)})]
    if include_usage:
        ending.append(frame(envelope.usage_chunk(plan, answers)))
    return [*ending, DONE]
