"""A request planned, and its plan carried out for the client that waits: streamed in its API's voice, or whole."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Any, Final

from fastapi import Request
from starlette.responses import Response

from spar_core.off_loop import SHORT
from spar_core.search import Answers
from spar_core.search.events import Event
from spar_server.answering import Given, Plan, make_plan
from spar_server.asked_budget import BUDGET_HEADER
from spar_server.auth import allow_model, key_of
from spar_server.call_limits import CallLimits
from spar_server.deadlines import READ_TIMEOUT_HEADER, answer_within
from spar_server.disconnect import until_disconnect
from spar_server.event_stream import EventStream
from spar_server.gate import Gate
from spar_server.headers import header_of
from spar_server.json_body import JsonRequest
from spar_server.keys import defaults_for
from spar_server.metrics import Metrics
from spar_server.pair import Pair
from spar_server.request_fields import CHAT_FIELDS, check_fields
from spar_server.schemas import ChatRequest
from spar_server.settings import RefineDefaults, Settings
from spar_server.streaming import Voice, json_answer, stream_pass_through, stream_search

# Bytes of a body whose schema is checked in less time than handing it to another thread is worth.
_SHORT_SCHEMA: Final = 2048


def defaults_of(request: Request) -> RefineDefaults:
    """What a request of this client gets that does not say otherwise."""
    settings: Settings = request.app.state.settings
    return defaults_for(key_of(request), settings.refine, settings.limits)


async def plan_for(
    chat: ChatRequest, request: JsonRequest, *, given: Given | None = None, judged: str | None = None
) -> Plan:
    """What the client gets that sent `request`, which stands for `chat`; its model calls are bound to it.

    `given` is the answer to start from; `judged` is one that is to be judged and nothing else.

    Raises:
        ApiError: the model is unknown, or the key is not for it.
        RequestError: a field is wrong or cannot be honoured, or asks for more than it may; names it.
    """
    settings: Settings = request.app.state.settings
    pair: Pair = request.app.state.pair
    settings.limits.check_messages(chat.messages)
    check_fields(chat.model_extra or {}, CHAT_FIELDS, settings.client_fields, ours=type(chat).model_fields)
    gate: Gate = request.app.state.gate
    make = partial(
        make_plan,
        chat,
        header_of(request.scope, BUDGET_HEADER),
        pair=pair,
        defaults=defaults_of(request),
        within_s=math.inf if chat.stream else answer_within(header_of(request.scope, READ_TIMEOUT_HEADER)),
        cutoff=gate.draining.cutoff,
    )
    plan = await request.off_loop(make, short=_short_of(chat))
    if given is not None or judged is not None:
        plan = replace(plan, given=given, verdict_only=judged is not None)
    key = key_of(request)
    allow_model(key, pair.name)
    limits = CallLimits(settings.limits, key)
    limits.check_plan(plan)
    if request.size > SHORT:
        limits.check_size(plan, request.size, given.draft.text if given else judged or "")
    if chat.reasoning_effort is not None and settings.forwards_effort:
        extra = {**plan.sampling.extra, "reasoning_effort": chat.reasoning_effort}
        plan = replace(plan, sampling=replace(plan.sampling, extra=extra))
    plan.bind_calls()
    return plan


def _short_of(chat: ChatRequest) -> int:
    """How long a body may be to be planned at once: a schema takes far more work to check than other things."""
    return _SHORT_SCHEMA if (chat.response_format or {}).get("type") == "json_schema" else SHORT


async def reply_whole(plan: Plan, request: Request, body: Callable[[Plan, Answers], dict[str, Any]]) -> Response:
    """The answers in one `body`."""
    return json_answer(await until_disconnect(request.receive, _whole(plan, request, body)))


async def reply_stream(plan: Plan, request: Request, voice: Voice) -> Response:
    """The answers as a stream of events."""
    return EventStream(_frames(plan, request, voice), voice.failure)


async def _whole(plan: Plan, request: Request, body: Callable[[Plan, Answers], dict[str, Any]]) -> dict[str, Any]:
    def ignore(event: Event) -> None:
        """Nobody watches an answer that is not streamed."""

    gate: Gate = request.app.state.gate
    metrics: Metrics = request.app.state.metrics
    async with gate.turn(plan, request) as admitted:
        with metrics.request(admitted.kind) as meter:
            answers = await admitted.search(ignore)
            meter.answered(admitted, answers)
    return body(admitted, answers)


async def _frames(plan: Plan, request: Request, voice: Voice) -> AsyncGenerator[str, None]:
    gate: Gate = request.app.state.gate
    metrics: Metrics = request.app.state.metrics
    async with gate.turn(plan, request) as admitted:
        yield ""
        if admitted.streams_draft:
            frames = gate.draining.until_cutoff(stream_pass_through(admitted, voice, metrics))
        else:
            frames = stream_search(admitted, voice, metrics)
        async with aclosing(frames):
            async for frame in frames:
                yield frame
