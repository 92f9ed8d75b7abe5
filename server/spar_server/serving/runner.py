"""Plan a request, run the plan, and respond with one JSON body or a stream."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final, Protocol, TypeVar

from fastapi import Request
from pydantic_core import to_json
from starlette.responses import Response

from spar_core.errors import BackendError, DeadlineReached
from spar_core.off_loop import SHORT
from spar_core.search.events import Called, Drafted, Event, Expanding, Finished, Judged, OfChoice, Refined
from spar_core.timeout import Timeout
from spar_core.types import Completion, Delta, FinishReason, Usage
from spar_server.auth.access import allow_model, key_of
from spar_server.auth.keyring import defaults_for
from spar_server.errors import ApiError
from spar_server.http.deadlines import answer_within, timeout_hint
from spar_server.http.disconnect import until_disconnect
from spar_server.http.event_stream import EventStream, LastFrames
from spar_server.http.headers import header_of
from spar_server.http.json_limits import check_messages
from spar_server.http.json_route import JsonRequest
from spar_server.http.streams import merge_streams
from spar_server.metrics.metrics import Meter, Metrics
from spar_server.models.pair import ServedPair
from spar_server.schemas import ChatRequest, RefineOptions
from spar_server.serving.bill import answer_headers, bill_failure, head_headers
from spar_server.serving.call_limits import CallLimits
from spar_server.serving.gate import Gate
from spar_server.serving.model_name import find_model
from spar_server.serving.plan import BUDGET_HEADER, Allowance, InitialAnswer, Outcome, Plan, build_plan
from spar_server.serving.recording import UNRECORDED, Recorder, Recording
from spar_server.serving.request_fields import CHAT_FIELDS, check_fields
from spar_server.settings import RefineDefaults, Settings


def format_progress(event: Event) -> str | None:
    """Describe a step of the search for readers; None for steps that are not shown."""
    match event:
        case Drafted(draft):
            return f"Draft:\n{draft.text}\n\n"
        case Judged(path, _, judgement):
            verdict = "accepted" if judgement.accepted else "abstained" if judgement.abstained else "rejected"
            critique = "" if judgement.accepted else f"\n{judgement.critique or ''}"
            return f"Judged {_node_name(path)}: {verdict} ({judgement.tally}){critique}\n\n"
        case Expanding(path, critique) if critique is None:
            return f"Sampling {_node_name(path)}.\n\n"
        case Refined(path, refinement):
            if refinement.text is None:
                return f"Refinement {_node_name(path)} failed: {refinement.failure}\n\n"
            return f"Refinement {_node_name(path)}:\n{refinement.text}\n\n"
        case Finished(result):
            return f"Finished: {result.stop_reason}, {result.nodes} nodes.\n"
        case OfChoice(choice, step):
            text = format_progress(step)
            return text and f"Answer {choice + 1}. {text}"
        case _:
            return None


def _node_name(path: tuple[int, ...]) -> str:
    return ".".join(str(number + 1) for number in path) if path else "draft"


T = TypeVar("T")

# Some clients count only parsed chunks as activity, so comments do not keep their streams alive.
HEARTBEAT_EVERY_S: Final = 15.0
# How long a stream's start waits for the actor to refuse the request, which then gets an error status.
STATUS_WITHIN_S: Final = 0.5


class StreamFormat(Protocol):
    """How an API renders a stream. Every string consists of complete frames; `index` is that of the choice."""

    def opening(self, index: int) -> Iterable[str]:
        """Frames that open an answer."""
        ...

    def reasoning(self, text: str) -> Iterable[str]:
        """Frames for text outside of the answer, such as a search's progress."""
        ...

    def step(self, event: Event) -> Iterable[str]:
        """Frames for one step of a search as data."""
        ...

    def heartbeat(self) -> str:
        """A frame without content, which keeps the stream alive."""
        ...

    def delta(self, delta: Delta, index: int) -> Iterable[str]:
        """Frames for a piece of an answer that is being generated."""
        ...

    def answer(self, answer: Completion, index: int) -> Iterable[str]:
        """Frames for a complete answer that was not streamed before."""
        ...

    def ending(self, outcome: Outcome) -> Iterable[str]:
        """Frames that end all answers, with their usage."""
        ...

    def failure(self, error: ApiError) -> str:
        """The frame that ends a failed stream."""
        ...


def frame(data: dict[str, Any]) -> str:
    return f"data: {json_bytes(data).decode()}\n\n"


def json_response(data: Any, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON response with `data`."""
    return _JsonResponse(json_bytes(data), headers or {})


class _JsonResponse(Response):
    """The common case of starlette's response, whose construction costs three times as much."""

    def __init__(self, body: bytes, headers: Mapping[str, str]) -> None:
        self.status_code = 200
        self.background = None
        self.body = body
        self.raw_headers = [
            *((name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()),
            (b"content-length", b"%d" % len(body)),
            (b"content-type", b"application/json"),
        ]


def json_bytes(data: Any) -> bytes:
    """Serialize `data`; NaN and infinity, which some engines send as log probabilities, become null."""
    return to_json(data, inf_nan_mode="null")


async def join_batches(batches: AsyncGenerator[list[str], None]) -> AsyncGenerator[str, None]:
    """Join each batch of frames into one string."""
    async with aclosing(batches):
        async for batch in batches:
            yield "".join(batch)


async def stream_search(
    plan: Plan,
    allowance: Allowance,
    stream_format: StreamFormat,
    metrics: Metrics,
    recording: Recording = UNRECORDED,
) -> AsyncGenerator[str, None]:
    """Stream progress as reasoning while the search runs, then each answer as one piece."""
    events: asyncio.Queue[Event | None] = asyncio.Queue()
    has_event = asyncio.Event()

    def announce(event: Event | None) -> None:
        events.put_nowait(event)
        # A failed call of the actor comes before the error that ends the request, which is its status.
        if not isinstance(event.event if isinstance(event, OfChoice) else event, Called):
            has_event.set()

    def on_event(event: Event) -> None:
        recording.on_event(event)
        announce(event)

    with metrics.request(allowance.kind, allowance.budget) as meter:
        task = asyncio.create_task(plan.run(allowance, on_event=on_event))
        task.add_done_callback(lambda _: announce(None))
        try:
            # Not wait_for, which loses a cancellation that comes together with the event in Python 3.11.
            with suppress(TimeoutError), Timeout(STATUS_WITHIN_S):
                await has_event.wait()
            if task.done():
                # Raises the error of the search, if any.
                task.result()
            for piece in stream_format.opening(0):
                yield piece
            async with aclosing(_watch(events, stream_format, plan.options, meter)) as progress:
                async for piece in progress:
                    yield piece
            outcome = await task
            recording.finish(outcome)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        meter.first_token()
        for index, answer in enumerate(outcome.answers.completions):
            for piece in stream_format.answer(answer, index):
                yield piece
        meter.answered(outcome.answers, degraded=outcome.degraded)
        yield LastFrames("".join(stream_format.ending(outcome)))


async def _watch(
    events: asyncio.Queue[Event | None], stream_format: StreamFormat, options: RefineOptions, meter: Meter
) -> AsyncGenerator[str, None]:
    """Stream progress until the search ends, and a heartbeat after every silence."""
    sent_at = time.monotonic()
    # Keep one get() pending instead of cancelling it: a timeout around get() could lose an event.
    pending = asyncio.ensure_future(events.get())
    try:
        while True:
            due = sent_at + HEARTBEAT_EVERY_S - time.monotonic()
            done, _ = await asyncio.wait({pending}, timeout=max(0.0, due))
            now = time.monotonic()
            if now - sent_at >= HEARTBEAT_EVERY_S:
                # Events that are not shown do not count as activity.
                sent_at = now
                yield stream_format.heartbeat()
            if not done:
                continue
            event = pending.result()
            if event is None:
                return
            pending = asyncio.ensure_future(events.get())
            for piece in _shown(event, stream_format, options):
                sent_at = time.monotonic()
                meter.first_progress()
                yield piece
    finally:
        pending.cancel()


def _shown(event: Event, stream_format: StreamFormat, options: RefineOptions) -> Iterator[str]:
    """The frames for an event: its text if the client wants progress, its data if it wants events."""
    if options.progress and (text := format_progress(event)) is not None:
        yield from stream_format.reasoning(text)
    if options.events:
        yield from stream_format.step(event)


async def stream_pass_through(
    plan: Plan, allowance: Allowance, stream_format: StreamFormat, metrics: Metrics
) -> AsyncGenerator[str, None]:
    """Stream the actor's tokens as they arrive, with the choices of one request interleaved.

    Tokens that arrive together are sent together, because sending costs far more than rendering.
    """
    choices = [_ChoiceBuffer() for _ in range(plan.n)]
    batches = merge_streams([plan.draft_stream(index) for index in range(plan.n)])
    if (deadline_s := plan.draft_deadline_s(allowance)) is not None:
        batches = _within(deadline_s, batches)
    with metrics.request(allowance.kind, allowance.budget) as meter:
        try:
            async with aclosing(batches):
                async for index, batch in batches:
                    if frames := choices[index].feed(batch, stream_format, index):
                        if choices[index].text:
                            meter.first_token()
                        yield "".join(frames)
        except TimeoutError as error:
            if not any(choice.opened for choice in choices):
                raise DeadlineReached("the deadline came before the actor's draft") from error
        cut_short = [index for index, choice in enumerate(choices) if choice.finish is None]
        opening = [piece for index in cut_short for piece in choices[index].feed((), stream_format, index)]
        answers = plan.passed_through([choice.draft for choice in choices], meter.elapsed_s, cut_short=cut_short)
        outcome = plan.outcome(allowance, answers)
        meter.answered(answers, degraded=outcome.degraded)
        yield LastFrames("".join([*opening, *stream_format.ending(outcome)]))


async def _within(seconds: float, items: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
    """Yield the items that arrive within `seconds`.

    Raises:
        TimeoutError: there are more items.
    """
    end = asyncio.get_running_loop().time() + seconds
    async with aclosing(items):
        while True:
            # One timeout per item: it must not interrupt the code that consumes the item.
            async with asyncio.timeout_at(end):
                try:
                    item = await anext(items)
                except StopAsyncIteration:
                    return
            yield item


@dataclass
class _ChoiceBuffer:
    """What a choice's stream has delivered so far. Until it ends, `finish` is None."""

    text: list[str] = field(default_factory=list)
    finish: FinishReason | None = None
    usage: Usage | None = None
    opened: bool = False

    @property
    def draft(self) -> Completion:
        """The draft so far; one that was cut off has the finish reason "length"."""
        # Every delta has at least one token; if a stream is cut off, the upstream does not report the prompt's tokens.
        usage = self.usage or Usage(0, len(self.text), prompt_counted=False)
        return Completion("".join(self.text), self.finish or "length", usage)

    def feed(self, batch: Sequence[Delta], stream_format: StreamFormat, index: int) -> list[str]:
        """Add a batch of deltas, and return its frames."""
        frames: list[str] = []
        if not self.opened:
            self.opened = True
            frames += stream_format.opening(index)
        for delta in batch:
            if delta.finish_reason:
                self.finish = delta.finish_reason
            if delta.usage:
                self.usage = delta.usage
            if delta.text or delta.extra:
                self.text.append(delta.text)
                frames += stream_format.delta(delta, index)
        return frames


# A body with a schema up to this size, in bytes, is checked faster than another thread could start on it.
_SHORT_SCHEMA: Final = 2048


def defaults_of(request: Request) -> RefineDefaults:
    """The defaults for this client's requests."""
    settings: Settings = request.app.state.settings
    return defaults_for(key_of(request), settings.refine, settings.limits)


async def plan_request(
    chat: ChatRequest,
    request: JsonRequest,
    *,
    initial: InitialAnswer | None = None,
    judged: str | None = None,
    least_budget: int = 0,
) -> Plan:
    """Validate `chat`, the chat form of `request`, and plan its search; bind its model calls to the request.

    `initial` is the answer to start from; `judged` is an answer that is only judged. A request that names no budget
    has at least `least_budget`.

    Raises:
        ApiError: the model is unknown, or the key cannot use it.
        RequestError: a field is invalid, cannot be honoured, or exceeds a limit; names it.
    """
    settings: Settings = request.app.state.settings
    pair: ServedPair = request.app.state.pair
    check_messages(chat.messages, settings.limits)
    if extra := chat.model_extra:
        check_fields(extra, CHAT_FIELDS, settings.client_fields, ours=type(chat).model_fields)
    key = key_of(request)
    named = find_model(chat.model, pair.name, settings.models)
    allow_model(key, named.name)
    if named.alias is not None:
        chat = chat.model_copy(update={"refine": named.options(chat.refine, key, settings.limits)})
    build = partial(
        build_plan,
        chat,
        header_of(request.scope, BUDGET_HEADER),
        pair=pair,
        defaults=defaults_of(request),
        within_s=math.inf if chat.stream else answer_within(timeout_hint(request.scope)),
        named=named,
        least_budget=least_budget,
        max_cost=key.max_cost,
    )
    plan = await request.off_loop(build, short=_max_inline_size(chat))
    if initial is not None or judged is not None:
        plan = replace(plan, initial=initial, verdict_only=judged is not None)
    limits = CallLimits(settings.limits, key)
    limits.check_plan(plan)
    plan.check_cost()
    if request.size > SHORT:
        limits.check_size(plan, request.size, initial.draft.text if initial else judged or "")
    if chat.reasoning_effort is not None and settings.forwards_effort:
        extra = {**plan.sampling.extra, "reasoning_effort": chat.reasoning_effort}
        plan = replace(plan, sampling=replace(plan.sampling, extra=extra))
    plan.bind_calls()
    return plan


def _max_inline_size(chat: ChatRequest) -> int:
    """The largest body that is planned on the event loop: checking a schema takes far more work than anything else."""
    return _SHORT_SCHEMA if (chat.response_format or {}).get("type") == "json_schema" else SHORT


async def respond(plan: Plan, request: Request, body: Callable[[Outcome], dict[str, Any]]) -> Response:
    """Run the plan and respond with one JSON body."""
    started = time.monotonic()
    outcome = await until_disconnect(request.scope, request.receive, _run(plan, request, started))
    return json_response(body(outcome), answer_headers(outcome, started))


async def stream_response(plan: Plan, request: Request, stream_format: StreamFormat) -> Response:
    """Run the plan and respond with a stream of events."""
    return EventStream(_frames(plan, request, stream_format), stream_format.failure, head_headers(plan))


def _recording(plan: Plan, allowance: Allowance, request: Request) -> Recording:
    """The recording of the request's search; an answer that is passed through is none."""
    recorder: Recorder | None = request.app.state.search_recorder
    if recorder is None or plan.passes_through(allowance):
        return UNRECORDED
    return recorder.begin(plan, key_of(request))


async def _run(plan: Plan, request: Request, started: float) -> Outcome:
    gate: Gate = request.app.state.gate
    metrics: Metrics = request.app.state.metrics
    async with gate.admit(plan, request) as allowance:
        recording = _recording(plan, allowance, request)
        with metrics.request(allowance.kind, allowance.budget) as meter:
            try:
                outcome = await plan.run(allowance, on_event=recording.on_event)
            except BackendError as error:
                bill_failure(error, plan, request, allowance.budget, started)
                raise
            meter.answered(outcome.answers, degraded=outcome.degraded)
            recording.finish(outcome)
    return outcome


async def _frames(plan: Plan, request: Request, stream_format: StreamFormat) -> AsyncGenerator[str, None]:
    gate: Gate = request.app.state.gate
    metrics: Metrics = request.app.state.metrics
    started = time.monotonic()
    async with gate.admit(plan, request) as allowance:
        yield ""
        if plan.passes_through(allowance):
            frames = gate.draining.until_cutoff(stream_pass_through(plan, allowance, stream_format, metrics))
        else:
            recording = _recording(plan, allowance, request)
            frames = stream_search(plan, allowance, stream_format, metrics, recording)
        try:
            async with aclosing(frames):
                async for frame in frames:
                    yield frame
        except BackendError as error:
            bill_failure(error, plan, request, allowance.budget, started)
            raise
