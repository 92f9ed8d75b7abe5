"""Response schemas and examples for the OpenAPI document. The responses themselves are built as plain dicts."""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import BaseModel, Field, RootModel

from spar_server.api.chat_schemas import ChatCompletion, ChatCompletionChunk, Refinement, Spar, TokenDetails
from spar_server.api.search_schemas import Body, Checklist, SearchTree, Verdict
from spar_server.http.headers import OPEN_PATHS

Described = dict[int | str, dict[str, Any]]


class Ready(BaseModel):
    ready: bool


class Error(Body):
    message: str
    type: str
    param: str | None = Field(description="the invalid field")
    code: str


class ErrorBody(Body):
    """An error of this server or of its upstream, in OpenAI's format."""

    error: Error


class ResponseUsage(Body):
    input_tokens: int | None
    output_tokens: int | None
    total_tokens: int | None
    output_tokens_details: TokenDetails
    refinement: Refinement


class ResponseObject(Body):
    """OpenAI's response, with `usage.refinement` and `spar`."""

    id: str
    object: Literal["response"]
    created_at: int
    status: Literal["completed", "incomplete"]
    model: str
    output: list[dict[str, Any]]
    usage: ResponseUsage
    spar: Spar


class MessageUsage(Body):
    """Cached tokens are not part of `input_tokens`."""

    input_tokens: int | None
    cache_creation_input_tokens: int | None
    cache_read_input_tokens: int | None
    output_tokens: int | None
    refinement: Refinement


class MessageObject(Body):
    """Anthropic's message, with `usage.refinement` and `spar`."""

    id: str
    type: Literal["message"]
    role: Literal["assistant"]
    model: str
    content: list[dict[str, Any]]
    stop_reason: Literal["end_turn", "max_tokens", "tool_use", "refusal"]
    stop_sequence: None
    usage: MessageUsage
    spar: Spar


class MessageError(Body):
    type: str
    message: str = Field(description="begins with the invalid field, if there is one")


class MessageErrorBody(Body):
    """An error of this server or of its upstream, in Anthropic's format."""

    type: Literal["error"]
    error: MessageError
    request_id: str | None


class VoteBody(Body):
    verdict: Verdict | None = Field(description="null if none could be parsed")
    critique: str
    error: str | None = Field(description="why the call failed, or null")


class CheckBody(Body):
    id: str
    kwargs: dict[str, Any]
    passed: bool
    evidence: str


class PlainUsage(Body):
    prompt_tokens: int | None
    completion_tokens: int | None
    total_tokens: int | None


class JudgementBody(Body):
    """A judgement: the votes on an answer and the results of its checks."""

    id: str
    object: Literal["judgement"]
    created: int
    model: str
    value: float | None = Field(
        description="share of Yes among votes with a verdict; 0 if a check failed, null if all abstained"
    )
    accepted: bool
    abstained: bool
    yes: int
    no: int
    critique: str | None = Field(
        description="the critique for the refiner: a vote of the majority, or the failed checks"
    )
    votes: list[VoteBody]
    checks: list[CheckBody]
    checklist: Checklist | None = Field(default=None, description="with the checklist judge")
    usage: PlainUsage


class RewardsBody(Body):
    """OpenRLHF's rewards, from 0 to 1; 0.5 where the judge abstained. `scores` are the same."""

    rewards: list[float]
    scores: list[float]
    extra_logs: dict[str, list[float]]


class RewardBody(RootModel[float]):
    """The reward, from 0 to 1; 0.5 if the judge abstained."""


class Algorithm(Body):
    id: str
    object: Literal["algorithm"]


class AlgorithmList(Body):
    object: Literal["list"]
    data: list[Algorithm]


class CheckType(Body):
    id: str
    object: Literal["check"]
    kwargs: dict[str, dict[str, Any]] = Field(description="each kwarg with the JSON Schema of its values")
    example: dict[str, Any] = Field(description="kwargs that work")
    requirement: str | None = Field(description="what the check requires, in words, with the kwargs of the example")


class CheckTypes(Body):
    object: Literal["list"]
    data: list[CheckType]


class Model(Body):
    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelList(Body):
    object: Literal["list"]
    data: list[Model]


class TraceSummary(Body):
    id: str
    object: Literal["trace"]
    created: float = Field(description="when the search finished, in seconds since 1970")
    key: str = Field(description="name of the API key")
    model: str
    budget: int
    nodes: int
    depth: int
    stop_reason: str
    accepted: bool
    improved: bool
    degraded: bool
    value: float | None
    draft_value: float | None
    duration_ms: float


class TraceList(Body):
    object: Literal["list"]
    data: list[TraceSummary]
    has_more: bool
    next_cursor: str | None


class FeedbackBody(Body):
    object: Literal["trace.feedback"]
    trace_id: str
    key: str
    created: float
    score: float
    comment: str


class Trace(TraceSummary):
    """A search with its request and its trees, as `docs/traces.md` describes them."""

    feedback: list[FeedbackBody]
    messages: list[dict[str, Any]]
    trees: list[SearchTree]


class ForwardedBody(Body):
    """The upstream's response, unchanged except for the model name."""


_REFINEMENT: Final = {
    "budget": 8, "nodes": 3, "depth": 1, "algorithm": "bfs", "judge": "holistic", "checklist": None,
    "accepted": True, "improved": True, "value": 1.0, "draft_value": 0.2,
    "stop_reason": "refined_accepted", "stop_reasons": ["refined_accepted"], "degraded": False,
    "calls": {"actor": 1, "refiner": 3, "judge": 8},
    "tokens": {
        "actor": {"prompt": 26, "completion": 31}, "refiner": {"prompt": 330, "completion": 96},
        "judge": {"prompt": 640, "completion": 240},
    },
    "cost": {"actor": 0.0000595, "refiner": 0.000309, "judge": 0.00068, "total": 0.0010485},
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
_MESSAGE: Final = {
    "id": "msg_0c3f", "type": "message", "role": "assistant", "model": "spar-small",
    "content": [{"type": "text", "text": _ANSWER}], "stop_reason": "end_turn", "stop_sequence": None,
    "usage": {
        "input_tokens": 26, "cache_creation_input_tokens": None, "cache_read_input_tokens": 0, "output_tokens": 367,
        "refinement": _REFINEMENT,
    },
    "spar": {"trace_id": "0c3f", "degraded": False},
}  # fmt: skip
_MESSAGE_STREAM: Final = 'event: message_start\ndata: {"type":"message_start","message":{"id":"msg_0c3f",...}}\n\n...'
_MESSAGE_WRONG: Final = {
    "type": "error", "request_id": "5f0c",
    "error": {"type": "invalid_request_error", "message": "max_tokens: Field required"},
}  # fmt: skip
_MESSAGE_LATE: Final = {
    "type": "error", "request_id": "5f0c",
    "error": {"type": "timeout_error", "message": "upstream did not answer in time"},
}  # fmt: skip
_JUDGED: Final = {
    "id": "judge-0c3f", "object": "judgement", "created": 1767225600, "model": "spar-small", "value": 0.0,
    "accepted": False, "abstained": False, "yes": 0, "no": 3, "critique": "1. no commas -> no\nFinal Judgement: No",
    "votes": [{"verdict": "no", "critique": "1. no commas -> no\nFinal Judgement: No", "error": None}] * 3,
    "checks": [{"id": "punctuation:no_comma", "kwargs": {}, "passed": True, "evidence": "no comma"}],
    "usage": {"prompt_tokens": 240, "completion_tokens": 90, "total_tokens": 330},
}  # fmt: skip
_ALGORITHM: Final = {"id": "best_first", "object": "algorithm"}
_CHECK: Final = {
    "id": "keywords:existence", "object": "check",
    "kwargs": {"keywords": {
        "type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1, "maxItems": 1000,
        "examples": [["river"]],
    }},
    "example": {"keywords": ["river"]}, "requirement": "include the word river",
}  # fmt: skip
_MODEL: Final = {"id": "spar-small", "object": "model", "created": 1767225600, "owned_by": "spar-server"}
_SUMMARY: Final = {
    "id": "0c3f", "object": "trace", "created": 1767225600.5, "key": "team-a", "model": "spar-small", "budget": 8,
    "nodes": 3, "depth": 1, "stop_reason": "refined_accepted", "accepted": True, "improved": True, "degraded": False,
    "value": 1.0, "draft_value": 0.2, "duration_ms": 412.5,
}  # fmt: skip
_FEEDBACK: Final = {
    "object": "trace.feedback", "trace_id": "0c3f", "key": "team-a", "created": 1767225660.0, "score": 1.0,
    "comment": "The lamp is there now.",
}  # fmt: skip
_TRACE: Final = {
    **_SUMMARY, "feedback": [_FEEDBACK], "version": 1,
    "messages": [{"role": "user", "content": "Tell me about the river. Include the word lamp."}],
    "trees": [{"stop_reason": "refined_accepted", "answer": [0], "nodes": []}],
}  # fmt: skip
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


def describe_body(
    model: type[BaseModel], example: object, description: str, stream: str | None = None
) -> dict[str, Any]:
    """One of an operation's `responses`: its body, an example of it, and an example of a streamed one."""
    content: dict[str, Any] = {"application/json": {"example": example}}
    if stream is not None:
        content["text/event-stream"] = {"example": stream}
    return {"model": model, "description": description, "content": content}


ERRORS: Final[Described] = {
    "4XX": describe_body(ErrorBody, _WRONG, "The request is invalid, not permitted, or over a limit"),
    "5XX": describe_body(ErrorBody, _UPSTREAM, "The server or its upstream cannot answer"),
}
READY: Final[Described] = {
    200: describe_body(Ready, {"ready": True}, "The server takes requests"),
    503: describe_body(Ready, {"ready": False}, "The server does not take requests"),
    **ERRORS,
}
CHAT: Final[Described] = {200: describe_body(ChatCompletion, _CHAT, "The answer", _CHAT_STREAM), **ERRORS}
RESPONSE: Final[Described] = {200: describe_body(ResponseObject, _RESPONSE, "The answer", _RESPONSE_STREAM), **ERRORS}
MESSAGE: Final[Described] = {
    200: describe_body(MessageObject, _MESSAGE, "The answer", _MESSAGE_STREAM),
    "4XX": describe_body(MessageErrorBody, _MESSAGE_WRONG, "The request is invalid, not permitted, or over a limit"),
    "5XX": describe_body(MessageErrorBody, _MESSAGE_LATE, "The server or its upstream cannot answer"),
}
JUDGED: Final[Described] = {200: describe_body(JudgementBody, _JUDGED, "The judgement"), **ERRORS}
REWARDS: Final[Described] = {
    200: describe_body(
        RewardsBody,
        {"rewards": [1.0], "scores": [1.0], "extra_logs": {"accepted": [1.0], "abstained": [0.0]}},
        "The rewards, in order",
    ),
    **ERRORS,
}
REWARD: Final[Described] = {200: describe_body(RewardBody, 1.0, "The reward"), **ERRORS}
TEXT: Final[Described] = {200: describe_body(ForwardedBody, _TEXT, "The actor's answer", _CHAT_STREAM), **ERRORS}
EMBEDDED: Final[Described] = {200: describe_body(ForwardedBody, _EMBEDDED, "The actor's answer"), **ERRORS}
ALGORITHMS: Final[Described] = {
    200: describe_body(AlgorithmList, {"object": "list", "data": [_ALGORITHM]}, "The algorithms"),
    **ERRORS,
}
CHECK_TYPES: Final[Described] = {
    200: describe_body(CheckTypes, {"object": "list", "data": [_CHECK]}, "The checks"),
    **ERRORS,
}
MODELS: Final[Described] = {200: describe_body(ModelList, {"object": "list", "data": [_MODEL]}, "The models"), **ERRORS}
TRACES: Final[Described] = {
    200: describe_body(
        TraceList,
        {"object": "list", "data": [_SUMMARY], "has_more": False, "next_cursor": None},
        "Traces, newest first",
    ),
    **ERRORS,
}
TRACE: Final[Described] = {200: describe_body(Trace, _TRACE, "The trace"), **ERRORS}
FEEDBACK: Final[Described] = {200: describe_body(FeedbackBody, _FEEDBACK, "The stored feedback"), **ERRORS}
MODEL: Final[Described] = {200: describe_body(Model, _MODEL, "The model"), **ERRORS}

# The header of endpoints that refine.
BUDGET_PARAMETER: Final[dict[str, Any]] = {
    "parameters": [{
        "name": "X-Refine-Budget", "in": "header", "required": False,
        "description": "`refine_budget` for clients that cannot send it in the body",
        "schema": {"type": "integer", "minimum": 0}, "example": 8,
    }]
}  # fmt: skip


_SCHEME: Final = "bearer"
_REF: Final = "#/components/schemas/{model}"


def add_chunks(document: dict[str, Any]) -> dict[str, Any]:
    """Add the schema of a chat stream's events to an OpenAPI document; FastAPI adds only those of JSON bodies."""
    chunk = ChatCompletionChunk.model_json_schema(mode="serialization", ref_template=_REF)
    definitions = {**chunk.pop("$defs"), ChatCompletionChunk.__name__: chunk}
    schemas = document["components"]["schemas"]
    document["components"]["schemas"] = dict(sorted((definitions | schemas).items()))
    for operations in document["paths"].values():
        for operation in operations.values():
            content = operation["responses"].get("200", {}).get("content", {})
            whole, stream = content.get("application/json", {}), content.get("text/event-stream")
            if stream is not None and whole["schema"] == {"$ref": _REF.format(model=ChatCompletion.__name__)}:
                stream["schema"] = {"$ref": _REF.format(model=ChatCompletionChunk.__name__)}
    return document


def add_security(document: dict[str, Any], *, required: bool) -> dict[str, Any]:
    """Add the API key scheme to an OpenAPI document; keys are optional unless `required`."""
    document.setdefault("components", {})["securitySchemes"] = {
        _SCHEME: {"type": "http", "scheme": "bearer", "description": "An API key: `Authorization: Bearer KEY`."}
    }
    requirement: list[dict[str, list[str]]] = [{_SCHEME: []}] if required else [{_SCHEME: []}, {}]
    for path, operations in document["paths"].items():
        if path not in OPEN_PATHS:
            for operation in operations.values():
                operation["security"] = requirement
    return document
