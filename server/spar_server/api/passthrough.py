"""POST /v1/completions and /v1/embeddings: the actor's own, passed through as they are."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from functools import partial
from secrets import token_hex
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response, StreamingResponse

from spar_core.backends.base import PassThrough
from spar_core.backends.context import bind_calls, call_context
from spar_core.backends.openai.parsing import usage_of
from spar_core.errors import BackendRejected, BackendTimeout, RequestError
from spar_core.off_loop import unless_short
from spar_core.types import Usage
from spar_server.api.chat import DONE
from spar_server.api.openapi import EMBEDDED, TEXT
from spar_server.auth.access import allow_model, key_of
from spar_server.errors import ApiError
from spar_server.http.deadlines import answer_within, timeout_hint
from spar_server.http.disconnect import until_disconnect
from spar_server.http.event_stream import EventStream
from spar_server.http.json_route import JsonRoute
from spar_server.http.streams import read_ahead
from spar_server.metrics.metrics import Metrics
from spar_server.models.pair import ServedPair
from spar_server.schemas import Flag
from spar_server.serving.call_limits import CallLimits
from spar_server.serving.gate import Gate
from spar_server.serving.model_name import find_model
from spar_server.serving.plan import budget_of_model
from spar_server.serving.request_fields import RAW_FIELDS, check_fields
from spar_server.serving.runner import defaults_of, frame, join_batches, json_bytes, json_response
from spar_server.settings import Settings, Upstream


class RawRequest(BaseModel):
    """Fields are forwarded to the actor's upstream unchanged, except for the model name."""

    model_config = ConfigDict(extra="allow")

    model: str


class CompletionsRequest(RawRequest):
    """`POST /v1/completions`."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"model": "spar-small", "prompt": "The river runs", "max_tokens": 32}}
    )

    prompt: str | list[Any] = Field(
        min_length=1, description="a string, a list of strings, a list of tokens, or a list of token lists"
    )
    stream: Flag | None = None


class EmbeddingsRequest(RawRequest):
    """`POST /v1/embeddings`."""

    model_config = ConfigDict(json_schema_extra={"example": {"model": "my-model", "input": ["one text", "another"]}})

    input: str | list[Any] = Field(
        min_length=1, description="a string, a list of strings, a list of tokens, or a list of token lists"
    )


router = APIRouter(route_class=JsonRoute)


@router.post("/v1/completions", summary="Continue a text", responses=TEXT)
async def completions(body: CompletionsRequest, request: Request) -> Response:
    """OpenAI's legacy endpoint for raw prompts. The actor's answer is not refined."""
    actor = _actor(body, request)
    cost = _limits(request).calls_of_completions(await request.json())
    _check_cost(request, body.prompt, calls=cost, max_tokens=(body.model_extra or {}).get("max_tokens"))
    if not body.stream:
        answer = await until_disconnect(
            request.scope, request.receive, _answer("/completions", actor, body, request, cost)
        )
        return json_response({**answer, "model": body.model})
    return EventStream(_frames("/completions", actor, body, request, cost), lambda error: frame(error.body))


@router.post("/v1/embeddings", summary="Embed texts", responses=EMBEDDED)
async def embeddings(body: EmbeddingsRequest, request: Request) -> Response:
    """OpenAI's endpoint, if the actor's upstream serves it. The embedded pair has no embeddings."""
    actor = _actor(body, request)
    cost = _limits(request).calls_of_embeddings(await request.json())
    _check_cost(request, body.input, calls=1, max_tokens=0)
    work = _answer("/embeddings", actor, body, request, cost)
    answer = await until_disconnect(request.scope, request.receive, work)
    pieces = await unless_short(partial(_in_pieces, {**answer, "model": body.model}), _numbers_of(answer))
    length = {"Content-Length": str(sum(map(len, pieces)))}
    return StreamingResponse(_each(pieces), media_type="application/json", headers=length)


def _actor(body: RawRequest, request: Request) -> PassThrough:
    """The actor, if the request only asks to be passed through."""
    pair: ServedPair = request.app.state.pair
    settings: Settings = request.app.state.settings
    named = find_model(body.model, pair.name, settings.models)
    allow_model(key_of(request), named.name)
    if budget_of_model(named, defaults=defaults_of(request)):
        raise RequestError("model: only chat and responses are refined; remove the budget", param="model")
    for name in ("refine_budget", "refine"):
        if (body.model_extra or {}).get(name):
            raise RequestError(f"{name}: only chat and responses are refined", param=name)
    check_fields(body.model_extra or {}, RAW_FIELDS, settings.client_fields, ours=type(body).model_fields)
    if not isinstance(pair.actor, PassThrough):
        raise ApiError(404, "this server's actor only supports chat", code="not_supported")
    return pair.actor


async def _answer(path: str, actor: PassThrough, body: RawRequest, request: Request, cost: int) -> Mapping[str, Any]:
    gate, metrics, deadline_s = _shared(request)
    deadline_s = min(deadline_s, answer_within(timeout_hint(request.scope)))
    async with gate.admit_calls(request, deadline_s, cost=cost) as allowance:
        with metrics.request(path.removeprefix("/")) as meter:
            bind_calls(deadline=time.monotonic() + allowance.deadline_s)
            try:
                with allowance.cutoff.timeout(allowance.deadline_s):
                    answer = await actor.forward(path, await _forwarded(body, request))
            except TimeoutError as error:
                raise BackendTimeout("the deadline came before the actor's answer") from error
            except BackendRejected as error:
                raise _refused(error, path) from error
            usage = usage_of(answer)
            meter.forwarded(usage)
    return _counted(answer, usage)


def _numbers_of(answer: Mapping[str, Any]) -> int:
    """How many numbers, or characters of encoded ones, the answer's embeddings have together."""
    data = answer.get("data")
    vectors = [item.get("embedding") for item in data if isinstance(item, dict)] if isinstance(data, list) else []
    return sum(len(vector) for vector in vectors if isinstance(vector, list | str))


def _in_pieces(answer: Mapping[str, Any]) -> list[bytes]:
    """The answer as JSON, its data item by item: only between steps can other threads interrupt the encoder.

    Each item is taken out of the answer, because to free all at once takes as long as to encode them.
    """
    data = answer.get("data")
    if not isinstance(data, list):
        return [json_bytes(answer)]
    # Nobody can write it into an answer beforehand.
    mark = token_hex(16)
    before, after = json_bytes({**answer, "data": mark}).split(f'"{mark}"'.encode())
    pieces = [b"]" + after]
    while data:
        pieces.append(json_bytes(data.pop()) + b"," * (len(pieces) > 1))
    return [before + b"[", *reversed(pieces)]


async def _each(pieces: list[bytes]) -> AsyncGenerator[bytes, None]:
    for piece in pieces:
        yield piece


async def _frames(
    path: str, actor: PassThrough, body: RawRequest, request: Request, cost: int
) -> AsyncGenerator[str, None]:
    gate, metrics, deadline_s = _shared(request)
    async with gate.admit_calls(request, deadline_s, cost=cost):
        yield ""
        frames = join_batches(read_ahead(_chunks(path, actor, body, await _forwarded(body, request), metrics)))
        async with aclosing(gate.draining.until_cutoff(frames)) as passed:
            async for each in passed:
                yield each


async def _chunks(
    path: str, actor: PassThrough, body: RawRequest, forwarded: Mapping[str, Any], metrics: Metrics
) -> AsyncGenerator[str, None]:
    usage = Usage()
    with metrics.request(path.removeprefix("/")) as meter:
        async with aclosing(actor.forward_stream(path, forwarded)) as chunks:
            try:
                async for chunk in chunks:
                    meter.first_token()
                    if chunk.get("usage"):
                        usage = usage_of(chunk)
                    yield frame({**_counted(chunk, usage), "model": body.model})
            except BackendRejected as error:
                raise _refused(error, path) from error
        meter.forwarded(usage)
        yield DONE


async def _forwarded(body: RawRequest, request: Request) -> dict[str, Any]:
    """The client's request without unknown fields, which can only be null."""
    settings: Settings = request.app.state.settings
    sent = {*type(body).model_fields, *RAW_FIELDS, *settings.client_fields}
    return {name: value for name, value in (await request.json()).items() if name in sent}


def _limits(request: Request) -> CallLimits:
    settings: Settings = request.app.state.settings
    share = call_context().caller.share
    if share >= 1 or not isinstance(settings.actor, Upstream):
        return CallLimits(settings.limits, key_of(request))
    capacity = settings.actor.max_concurrency * len(settings.actor.url)
    return CallLimits(settings.limits, key_of(request), at_once=max(1, int(capacity * share)))


def _check_cost(request: Request, texts: str | list[Any], *, calls: int, max_tokens: object) -> None:
    """Raise RequestError if the request could cost more than its key's requests may.

    A text has no more tokens than bytes, and `calls` answers have at most `max_tokens` each.
    """
    pair: ServedPair = request.app.state.pair
    if (limit := key_of(request).max_cost) is None:
        return
    if not isinstance(max_tokens, int):
        raise RequestError("max_tokens: is needed, because this key has a max_cost", param="max_tokens")
    cost = pair.prices["actor"].at_most(calls * len(json_bytes(texts)), calls * max_tokens)
    if cost > limit:
        raise RequestError(
            f"max_tokens: the request could cost {cost:.3g}, over this key's limit of {limit:g}; lower it, or shorten "
            "the request",
            param="max_tokens",
        )


def _shared(request: Request) -> tuple[Gate, Metrics, float]:
    settings: Settings = request.app.state.settings
    return request.app.state.gate, request.app.state.metrics, settings.refine.deadline_s


def _refused(error: BackendRejected, path: str) -> Exception:
    """Report an upstream that lacks the route as such."""
    if error.status in (404, 405):
        return ApiError(404, f"the actor's upstream does not serve {path}", code="not_supported")
    return error


def _counted(answer: Mapping[str, Any], usage: Usage) -> Mapping[str, Any]:
    """The response with its usage, if it has one, normalized; unknown counts remain null."""
    if not (usage_body := answer.get("usage")):
        return answer
    known = all(usage_body.get(name, 0) is not None for name in ("prompt_tokens", "completion_tokens"))
    counts = {
        "prompt_tokens": usage.prompt_tokens if usage_body.get("prompt_tokens") is not None else None,
        "completion_tokens": usage.completion_tokens if usage_body.get("completion_tokens") is not None else None,
        "total_tokens": usage.total_tokens if known else None,
    }
    return {**answer, "usage": {**usage_body, **{name: count for name, count in counts.items() if name in usage_body}}}
