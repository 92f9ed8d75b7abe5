"""Streams as OpenAI's clients read them: an answer's tokens as they come, or a search and then its answer.

Which API's frames they are is a `Voice`'s to say. Provisional text never goes out as an answer. A stream that
fails before its first frame raises, so that the failure can still be a status.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeVar

from pydantic_core import to_json
from starlette.responses import Response

from spar_core.errors import DeadlineReached
from spar_core.search import Answers
from spar_core.search.events import Event
from spar_core.types import Completion, Delta, FinishReason, Usage
from spar_server.answering import Plan
from spar_server.errors import ApiError
from spar_server.metrics import Metrics
from spar_server.progress import progress_of
from spar_server.side_by_side import side_by_side

T = TypeVar("T")

# Some clients count only parsed chunks: what keeps a stream alive for the others is not enough for them.
CHUNK_EVERY_S: Final = 15.0
# A request that the actor refuses is refused at once; a search is not held back longer for it than this.
STATUS_WITHIN_S: Final = 0.5


class Voice(Protocol):
    """How one API words a stream. Every string is whole frames; `index` is the choice's."""

    def opening(self, index: int) -> Iterable[str]:
        """An answer is on its way."""
        ...

    def thought(self, text: str) -> Iterable[str]:
        """What is no part of the answer: a search's progress."""
        ...

    def nothing(self) -> str:
        """A frame without news, for clients that count only frames."""
        ...

    def piece(self, delta: Delta, index: int) -> Iterable[str]:
        """A piece of an answer that is being written."""
        ...

    def answer(self, answer: Completion, index: int) -> Iterable[str]:
        """A whole answer, of which no piece went out."""
        ...

    def ending(self, plan: Plan, answers: Answers) -> Iterable[str]:
        """The end of all answers, and what they took."""
        ...

    def failure(self, error: ApiError) -> str:
        """The end of a stream that broke."""
        ...


def frame(data: dict[str, Any]) -> str:
    return f"data: {_json(data).decode()}\n\n"


def json_answer(data: dict[str, Any]) -> Response:
    """`data` as a whole answer."""
    return Response(_json(data), media_type="application/json")


def _json(data: dict[str, Any]) -> bytes:
    """A number that JSON has not, as some engines send for a log probability, is null."""
    return to_json(data, inf_nan_mode="null")


async def joined(batches: AsyncGenerator[list[str], None]) -> AsyncGenerator[str, None]:
    """Each batch of frames in one piece."""
    async with aclosing(batches):
        async for batch in batches:
            yield "".join(batch)


async def stream_search(plan: Plan, voice: Voice, metrics: Metrics) -> AsyncGenerator[str, None]:
    """Progress as thoughts while the search runs, then the answers, each in one piece."""
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
            for piece in voice.opening(0):
                yield piece
            async with aclosing(_watch(events, voice, progress=plan.options.progress)) as progress:
                async for piece in progress:
                    yield piece
            answers = await task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        meter.spoke()
        for index, answer in enumerate(answers.completions):
            for piece in voice.answer(answer, index):
                yield piece
        meter.answered(plan, answers)
        for piece in voice.ending(plan, answers):
            yield piece


async def _watch(events: asyncio.Queue[Event | None], voice: Voice, *, progress: bool) -> AsyncGenerator[str, None]:
    """Progress until the search ends, and a frame without news whenever there was none for long."""
    spoke = time.monotonic()
    # One pending get, never a cancelled one: a timeout around get() could lose an event.
    pending = asyncio.ensure_future(events.get())
    try:
        while True:
            due = spoke + CHUNK_EVERY_S - time.monotonic()
            done, _ = await asyncio.wait({pending}, timeout=max(0.0, due))
            now = time.monotonic()
            if now - spoke >= CHUNK_EVERY_S:
                # Also while there is news of which nothing is told.
                spoke = now
                yield voice.nothing()
            if not done:
                continue
            event = pending.result()
            if event is None:
                return
            pending = asyncio.ensure_future(events.get())
            if progress and (text := progress_of(event)) is not None:
                spoke = time.monotonic()
                for piece in voice.thought(text):
                    yield piece
    finally:
        pending.cancel()


async def stream_pass_through(plan: Plan, voice: Voice, metrics: Metrics) -> AsyncGenerator[str, None]:
    """The actor's tokens as they come; the choices of one request come through each other.

    What came together goes out together, as several frames in one piece: to send costs far more than to word.
    """
    choices = [_Heard() for _ in range(plan.n)]
    batches = side_by_side([plan.draft_stream(index) for index in range(plan.n)])
    if plan.draft_seconds is not None:
        batches = _within(plan.draft_seconds, batches)
    with metrics.request(plan.kind) as meter:
        try:
            async with aclosing(batches):
                async for index, batch in batches:
                    if frames := choices[index].hear(batch, voice, index):
                        if choices[index].text:
                            meter.spoke()
                        yield "".join(frames)
        except TimeoutError as error:
            if not any(choice.opened for choice in choices):
                raise DeadlineReached("the deadline came before the actor's draft") from error
        cut_short = [index for index, choice in enumerate(choices) if choice.finish is None]
        opening = [piece for index in cut_short for piece in choices[index].hear((), voice, index)]
        answers = plan.passed_through([choice.draft for choice in choices], meter.elapsed_s, cut_short=cut_short)
        meter.answered(plan, answers)
        yield "".join([*opening, *voice.ending(plan, answers)])


async def _within(seconds: float, items: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
    """The items that come within so many seconds.

    Raises:
        TimeoutError: it was not all.
    """
    end = asyncio.get_running_loop().time() + seconds
    async with aclosing(items):
        while True:
            # Each by itself: what comes while its reader is slow must not end the reader.
            async with asyncio.timeout_at(end):
                try:
                    item = await anext(items)
                except StopAsyncIteration:
                    return
            yield item


@dataclass
class _Heard:
    """What a choice's stream has brought so far. Without a `finish` it has not ended."""

    text: list[str] = field(default_factory=list)
    finish: FinishReason | None = None
    usage: Usage | None = None
    opened: bool = False

    @property
    def draft(self) -> Completion:
        """All of it, or as much as there is: an answer that was cut short is one that ran out of its length."""
        # A piece is at least a token; of a stream that is cut short nobody counts the prompt.
        usage = self.usage or Usage(0, len(self.text), prompt_counted=False)
        return Completion("".join(self.text), self.finish or "length", usage)

    def hear(self, batch: Sequence[Delta], voice: Voice, index: int) -> list[str]:
        """The frames that tell of a batch."""
        frames: list[str] = []
        if not self.opened:
            self.opened = True
            frames += voice.opening(index)
        for delta in batch:
            self.finish, self.usage = delta.finish_reason or self.finish, delta.usage or self.usage
            if delta.text or delta.extra:
                self.text.append(delta.text)
                frames += voice.piece(delta, index)
        return frames
