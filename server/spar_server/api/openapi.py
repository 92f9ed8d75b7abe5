"""What the OpenAPI document says of answers: their schemas, with examples. Answers themselves are plain dicts."""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from spar_server.http.headers import OPEN_PATHS

Described = dict[int | str, dict[str, Any]]


class Ready(BaseModel):
    ready: bool


class _Body(BaseModel):
    model_config = ConfigDict(extra="allow")


class Error(_Body):
    message: str
    type: str
    param: str | None = Field(description="the field that is wrong")
    code: str


class ErrorBody(_Body):
    """Every error, of this server or of its upstreams, in OpenAI's shape."""

    error: Error


class Tokens(_Body):
    """Null where the upstream does not count them."""

    prompt: int | None
    completion: int | None


class ByRole(_Body):
    actor: int
    refiner: int
    judge: int


class TokensByRole(_Body):
    actor: Tokens
    refiner: Tokens
    judge: Tokens


class Refinement(_Body):
    """What the search did."""

    budget: int = Field(description="the most nodes that it might expand")
    nodes: int = Field(description="nodes that it expanded, failed ones too")
    depth: int = Field(description="steps from the draft to the answer: refinements, and a fresh draft as one")
    algorithm: str
    accepted: bool = Field(description="whether a majority of the votes on the answer said Yes")
    improved: bool = Field(description="whether the answer is not the draft")
    value: float | None = Field(description="Yes / (Yes + No) of the votes on the answer; null without a verdict")
    draft_value: float | None
    stop_reason: str = Field(description="the first answer's; with `n`, what cut short a search beside it")
    stop_reasons: list[str] = Field(description="of each of the `n` searches")
    degraded: bool = Field(description="whether a model call failed on the way")
    calls: ByRole
    tokens: TokensByRole
    cancelled_calls: int = Field(description="calls that were cut short; `calls` has them, `tokens` does not")
    cancelled_tokens_at_most: int | None = Field(description="the most that they generated; null without a bound")
    duration_ms: float


class TokenDetails(_Body):
    reasoning_tokens: int | None = Field(description="every generated token that is not the answer's text")


class ChatUsage(_Body):
    """Null where the upstream does not count its tokens."""

    prompt_tokens: int | None
    completion_tokens: int | None = Field(description="every token that the model calls answered with")
    total_tokens: int | None
    completion_tokens_details: TokenDetails
    refinement: Refinement


class Spar(_Body):
    trace_id: str
    degraded: bool = Field(description="as in `usage.refinement`, also for a stream without usage")
    tree: dict[str, Any] | None = Field(default=None, description="with refine.trace; `trees` for n > 1")


class Choice(_Body):
    index: int
    message: dict[str, Any]
    finish_reason: str


class ChatCompletion(_Body):
    """OpenAI's chat completion, with `usage.refinement` and `spar`."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[Choice]
    usage: ChatUsage
    spar: Spar


class ResponseUsage(_Body):
    input_tokens: int | None
    output_tokens: int | None
    total_tokens: int | None
    output_tokens_details: TokenDetails
    refinement: Refinement


class ResponseObject(_Body):
    """OpenAI's response, with `usage.refinement` and `spar`."""

    id: str
    object: Literal["response"]
    created_at: int
    status: Literal["completed", "incomplete"]
    model: str
    output: list[dict[str, Any]]
    usage: ResponseUsage
    spar: Spar


class VoteBody(_Body):
    verdict: Literal["yes", "no"] | None = Field(description="null where none could be read")
    critique: str
    error: str | None = Field(description="why the call failed, if it did")


class CheckBody(_Body):
    id: str
    kwargs: dict[str, Any]
    passed: bool
    evidence: str


class PlainUsage(_Body):
    prompt_tokens: int | None
    completion_tokens: int | None
    total_tokens: int | None


class JudgementBody(_Body):
    """The votes on an answer."""

    id: str
    object: Literal["judgement"]
    created: int
    model: str
    value: float | None = Field(description="Yes / (Yes + No); 0 when a check failed; null when all votes abstained")
    accepted: bool
    abstained: bool
    yes: int
    no: int
    critique: str | None = Field(description="what a refiner is shown: a vote of the majority, or what failed")
    votes: list[VoteBody]
    checks: list[CheckBody]
    usage: PlainUsage


class Model(_Body):
    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelList(_Body):
    object: Literal["list"]
    data: list[Model]


class AsUpstreamSaid(_Body):
    """The upstream's answer as it is, but for the model's name."""


_REFINEMENT: Final = {
    "budget": 8, "nodes": 3, "depth": 1, "algorithm": "bfs", "accepted": True, "improved": True, "value": 1.0,
    "draft_value": 0.2, "stop_reason": "refined_accepted", "stop_reasons": ["refined_accepted"], "degraded": False,
    "calls": {"actor": 1, "refiner": 3, "judge": 8},
    "tokens": {
        "actor": {"prompt": 26, "completion": 31}, "refiner": {"prompt": 330, "completion": 96},
        "judge": {"prompt": 640, "completion": 240},
    },
    "cancelled_calls": 0, "cancelled_tokens_at_most": 0, "duration_ms": 412.5,
}  # fmt: skip
_ANSWER: Final = "The river runs east and a lamp stands on its bank."
_COUNTS: Final = {"prompt_tokens": 26, "completion_tokens": 367, "total_tokens": 393}
_CHAT: Final = {
    "id": "chatcmpl-0c3f", "object": "chat.completion", "created": 1767225600, "model": "spar-small",
    "choices": [{
        "index": 0, "message": {"role": "assistant", "content": _ANSWER, "refusal": None}, "finish_reason": "stop",
        "logprobs": None,
    }],
    "usage": {**_COUNTS, "completion_tokens_details": {"reasoning_tokens": 335}, "refinement": _REFINEMENT},
    "spar": {"trace_id": "0c3f", "degraded": False},
}  # fmt: skip
_RESPONSE: Final = {
    "id": "resp_0c3f", "object": "response", "created_at": 1767225600, "status": "completed", "model": "spar-small",
    "output": [{
        "id": "msg_0c3f", "type": "message", "role": "assistant", "status": "completed",
        "content": [{"type": "output_text", "text": _ANSWER, "annotations": []}],
    }],
    "usage": {
        "input_tokens": 26, "output_tokens": 367, "total_tokens": 393,
        "output_tokens_details": {"reasoning_tokens": 335}, "refinement": _REFINEMENT,
    },
    "spar": {"trace_id": "0c3f", "degraded": False},
}  # fmt: skip
_JUDGED: Final = {
    "id": "judge-0c3f", "object": "judgement", "created": 1767225600, "model": "spar-small", "value": 0.0,
    "accepted": False, "abstained": False, "yes": 0, "no": 3, "critique": "1. no commas -> no\nFinal Judgement: No",
    "votes": [{"verdict": "no", "critique": "1. no commas -> no\nFinal Judgement: No", "error": None}] * 3,
    "checks": [{"id": "punctuation:no_comma", "kwargs": {}, "passed": True, "evidence": "no comma"}],
    "usage": {"prompt_tokens": 240, "completion_tokens": 90, "total_tokens": 330},
}  # fmt: skip
_MODEL: Final = {"id": "spar-small", "object": "model", "created": 1767225600, "owned_by": "spar-server"}
_WRONG: Final = {
    "error": {
        "message": "temperature: Input should be less than or equal to 2", "type": "invalid_request_error",
        "param": "temperature", "code": "invalid_value",
    }
}  # fmt: skip
_UPSTREAM: Final = {
    "error": {
        "message": "upstream did not answer in time", "type": "timeout_error", "param": None, "code": "upstream_timeout"
    }
}  # fmt: skip
_CHAT_STREAM: Final = (
    'data: {"id":"chatcmpl-0c3f","object":"chat.completion.chunk","created":1767225600,"model":"spar-small",'
    '"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}\n\n...\n\ndata: [DONE]\n\n'
)
_RESPONSE_STREAM: Final = 'event: response.created\ndata: {"type":"response.created","sequence_number":0,...}\n\n...'
_TEXT: Final = {
    "id": "cmpl-0c3f", "object": "text_completion", "created": 1767225600, "model": "spar-small",
    "choices": [{"index": 0, "text": " east", "finish_reason": "length", "logprobs": None}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
}  # fmt: skip
_EMBEDDED: Final = {
    "object": "list", "model": "my-model", "data": [{"object": "embedding", "index": 0, "embedding": [0.01, -0.02]}],
    "usage": {"prompt_tokens": 2, "total_tokens": 2},
}  # fmt: skip


def _told(model: type[BaseModel], example: object, description: str, stream: str | None = None) -> dict[str, Any]:
    content: dict[str, Any] = {"application/json": {"example": example}}
    if stream is not None:
        content["text/event-stream"] = {"example": stream}
    return {"model": model, "description": description, "content": content}


ERRORS: Final[Described] = {
    "4XX": _told(ErrorBody, _WRONG, "The request is wrong, not allowed, or one too many"),
    "5XX": _told(ErrorBody, _UPSTREAM, "This server or its upstream cannot answer"),
}
READY: Final[Described] = {
    200: _told(Ready, {"ready": True}, "It does"),
    503: _told(Ready, {"ready": False}, "It does not"),
    **ERRORS,
}
CHAT: Final[Described] = {200: _told(ChatCompletion, _CHAT, "The answer", _CHAT_STREAM), **ERRORS}
RESPONSE: Final[Described] = {200: _told(ResponseObject, _RESPONSE, "The answer", _RESPONSE_STREAM), **ERRORS}
JUDGED: Final[Described] = {200: _told(JudgementBody, _JUDGED, "The judgement"), **ERRORS}
TEXT: Final[Described] = {200: _told(AsUpstreamSaid, _TEXT, "The actor's answer", _CHAT_STREAM), **ERRORS}
EMBEDDED: Final[Described] = {200: _told(AsUpstreamSaid, _EMBEDDED, "The actor's answer"), **ERRORS}
MODELS: Final[Described] = {200: _told(ModelList, {"object": "list", "data": [_MODEL]}, "The models"), **ERRORS}
MODEL: Final[Described] = {200: _told(Model, _MODEL, "The model"), **ERRORS}

# The header of those endpoints that refine.
BUDGET_PARAMETER: Final[dict[str, Any]] = {
    "parameters": [{
        "name": "X-Refine-Budget", "in": "header", "required": False,
        "description": "refine_budget, of clients that cannot send it in the body",
        "schema": {"type": "integer", "minimum": 0}, "example": 8,
    }]
}  # fmt: skip


_NAME: Final = "bearer"


def with_keys(document: dict[str, Any], *, needed: bool) -> dict[str, Any]:
    """The OpenAPI document with the scheme of keys; where none are `needed` they are described as optional."""
    document.setdefault("components", {})["securitySchemes"] = {
        _NAME: {"type": "http", "scheme": "bearer", "description": "An API key: `Authorization: Bearer KEY`."}
    }
    asked: list[dict[str, list[str]]] = [{_NAME: []}] if needed else [{_NAME: []}, {}]
    for path, operations in document["paths"].items():
        if path not in OPEN_PATHS:
            for operation in operations.values():
                operation["security"] = asked
    return document
