"""A request planned, and its plan carried out for the client that waits: streamed in its API's voice, or whole."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final, Protocol, TypeVar

from fastapi import Request
from pydantic_core import to_json
from starlette.responses import Response

from spar_core.errors import DeadlineReached
from spar_core.off_loop import SHORT
from spar_core.search.events import Drafted, Event, Expanding, Finished, Judged, OfChoice, Refined
from spar_core.types import Completion, Delta, FinishReason, Usage
from spar_server.admission.call_limits import CallLimits
from spar_server.admission.deadlines import READ_TIMEOUT_HEADER, answer_within
from spar_server.api.request_fields import CHAT_FIELDS, check_fields
from spar_server.auth.access import allow_model, key_of
from spar_server.auth.keyring import defaults_for
from spar_server.errors import ApiError
from spar_server.http.disconnect import until_disconnect
from spar_server.http.event_stream import EventStream
from spar_server.http.headers import header_of
from spar_server.http.json_limits import check_messages
from spar_server.http.json_route import JsonRequest
from spar_server.http.streams import merge_streams
from spar_server.metrics.metrics import Metrics
from spar_server.models.pair import Pair
from spar_server.schemas import ChatRequest
from spar_server.serving.gate import Gate
from spar_server.serving.plan import BUDGET_HEADER, Allowance, InitialAnswer, Outcome, Plan, build_plan
from spar_server.settings import RefineDefaults, Settings


def progress_of(event: Event) -> str | None:
    """What a reader wants to know of this step; None for steps that say nothing of their own."""
    match event:
        case Drafted(draft):
            return f"Draft:\n{draft.text}\n\n"
        case Judged(path, _, judgement):
            verdict = "accepted" if judgement.accepted else "abstained" if judgement.abstained else "rejected"
            count = f"{judgement.yes} yes, {judgement.no} no" if judgement.votes else "a check failed"
            critique = "" if judgement.accepted else f"\n{judgement.critique or ''}"
            return f"Judged {_place(path)}: {verdict} ({count}){critique}\n\n"
        case Expanding(path, critique) if critique is None:
            return f"Sampling {_place(path)}.\n\n"
        case Refined(path, refinement):
            if refinement.text is None:
                return f"Refinement {_place(path)} failed: {refinement.failure}\n\n"
            return f"Refinement {_place(path)}:\n{refinement.text}\n\n"
        case Finished(result):
            return f"Finished: {result.stop_reason}, {result.nodes} nodes.\n"
        case OfChoice(choice, step):
            told = progress_of(step)
            return told and f"Answer {choice + 1}. {told}"
        case _:
            return None


def _place(path: tuple[int, ...]) -> str:
    return ".".join(str(number + 1) for number in path) if path else "draft"


T = TypeVar("T")

# Some clients count only parsed chunks: what keeps a stream alive for the others is not enough for them.
CHUNK_EVERY_S: Final = 15.0
# A request that the actor refuses is refused at once; a search is not held back longer for it than this.
STATUS_WITHIN_S: Final = 0.5


class StreamFormat(Protocol):
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

    def ending(self, outcome: Outcome) -> Iterable[str]:
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


async def stream_search(
    plan: Plan, allowance: Allowance, voice: StreamFormat, metrics: Metrics
) -> AsyncGenerator[str, None]:
    """Progress as thoughts while the search runs, then the answers, each in one piece."""
    events: asyncio.Queue[Event | None] = asyncio.Queue()
    begun = asyncio.Event()

    def tell(event: Event | None) -> None:
        events.put_nowait(event)
        begun.set()

    with metrics.request(allowance.kind) as meter:
        task = asyncio.create_task(plan.run(allowance, on_event=tell))
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
            outcome = await task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        meter.first_token()
        for index, answer in enumerate(outcome.answers.completions):
            for piece in voice.answer(answer, index):
                yield piece
        meter.answered(outcome.answers, degraded=outcome.degraded)
        for piece in voice.ending(outcome):
            yield piece


async def _watch(
    events: asyncio.Queue[Event | None], voice: StreamFormat, *, progress: bool
) -> AsyncGenerator[str, None]:
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


async def stream_pass_through(
    plan: Plan, allowance: Allowance, voice: StreamFormat, metrics: Metrics
) -> AsyncGenerator[str, None]:
    """The actor's tokens as they come; the choices of one request come through each other.

    What came together goes out together, as several frames in one piece: to send costs far more than to word.
    """
    choices = [_ChoiceBuffer() for _ in range(plan.n)]
    batches = merge_streams([plan.draft_stream(index) for index in range(plan.n)])
    if (deadline_s := plan.draft_deadline_s(allowance)) is not None:
        batches = _within(deadline_s, batches)
    with metrics.request(allowance.kind) as meter:
        try:
            async with aclosing(batches):
                async for index, batch in batches:
                    if frames := choices[index].hear(batch, voice, index):
                        if choices[index].text:
                            meter.first_token()
                        yield "".join(frames)
        except TimeoutError as error:
            if not any(choice.opened for choice in choices):
                raise DeadlineReached("the deadline came before the actor's draft") from error
        cut_short = [index for index, choice in enumerate(choices) if choice.finish is None]
        opening = [piece for index in cut_short for piece in choices[index].hear((), voice, index)]
        answers = plan.passed_through([choice.draft for choice in choices], meter.elapsed_s, cut_short=cut_short)
        outcome = plan.outcome(allowance, answers)
        meter.answered(answers, degraded=outcome.degraded)
        yield "".join([*opening, *voice.ending(outcome)])


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
class _ChoiceBuffer:
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

    def hear(self, batch: Sequence[Delta], voice: StreamFormat, index: int) -> list[str]:
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


# Bytes of a body whose schema is checked in less time than handing it to another thread is worth.
_SHORT_SCHEMA: Final = 2048


def defaults_of(request: Request) -> RefineDefaults:
    """What a request of this client gets that does not say otherwise."""
    settings: Settings = request.app.state.settings
    return defaults_for(key_of(request), settings.refine, settings.limits)


async def plan_request(
    chat: ChatRequest, request: JsonRequest, *, initial: InitialAnswer | None = None, judged: str | None = None
) -> Plan:
    """What the client gets that sent `request`, which stands for `chat`; its model calls are bound to it.

    `initial` is the answer to start from; `judged` is one that is to be judged and nothing else.

    Raises:
        ApiError: the model is unknown, or the key is not for it.
        RequestError: a field is wrong or cannot be honoured, or asks for more than it may; names it.
    """
    settings: Settings = request.app.state.settings
    pair: Pair = request.app.state.pair
    check_messages(chat.messages, settings.limits)
    check_fields(chat.model_extra or {}, CHAT_FIELDS, settings.client_fields, ours=type(chat).model_fields)
    build = partial(
        build_plan,
        chat,
        header_of(request.scope, BUDGET_HEADER),
        pair=pair,
        defaults=defaults_of(request),
        within_s=math.inf if chat.stream else answer_within(header_of(request.scope, READ_TIMEOUT_HEADER)),
    )
    plan = await request.off_loop(build, short=_short_of(chat))
    if initial is not None or judged is not None:
        plan = replace(plan, initial=initial, verdict_only=judged is not None)
    key = key_of(request)
    allow_model(key, pair.name)
    limits = CallLimits(settings.limits, key)
    limits.check_plan(plan)
    if request.size > SHORT:
        limits.check_size(plan, request.size, initial.draft.text if initial else judged or "")
    if chat.reasoning_effort is not None and settings.forwards_effort:
        extra = {**plan.sampling.extra, "reasoning_effort": chat.reasoning_effort}
        plan = replace(plan, sampling=replace(plan.sampling, extra=extra))
    plan.bind_calls()
    return plan


def _short_of(chat: ChatRequest) -> int:
    """How long a body may be to be planned at once: a schema takes far more work to check than other things."""
    return _SHORT_SCHEMA if (chat.response_format or {}).get("type") == "json_schema" else SHORT


async def respond(plan: Plan, request: Request, body: Callable[[Outcome], dict[str, Any]]) -> Response:
    """The answers in one `body`."""
    return json_answer(await until_disconnect(request.receive, _whole(plan, request, body)))


async def stream_response(plan: Plan, request: Request, voice: StreamFormat) -> Response:
    """The answers as a stream of events."""
    return EventStream(_frames(plan, request, voice), voice.failure)


async def _whole(plan: Plan, request: Request, body: Callable[[Outcome], dict[str, Any]]) -> dict[str, Any]:
    gate: Gate = request.app.state.gate
    metrics: Metrics = request.app.state.metrics
    async with gate.admit(plan, request) as allowance:
        with metrics.request(allowance.kind) as meter:
            outcome = await plan.run(allowance)
            meter.answered(outcome.answers, degraded=outcome.degraded)
    return body(outcome)


async def _frames(plan: Plan, request: Request, voice: StreamFormat) -> AsyncGenerator[str, None]:
    gate: Gate = request.app.state.gate
    metrics: Metrics = request.app.state.metrics
    async with gate.admit(plan, request) as allowance:
        yield ""
        if plan.passes_through(allowance):
            frames = gate.draining.until_cutoff(stream_pass_through(plan, allowance, voice, metrics))
        else:
            frames = stream_search(plan, allowance, voice, metrics)
        async with aclosing(frames):
            async for frame in frames:
                yield frame
