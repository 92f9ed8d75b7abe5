"""POST /v1/chat/completions: the endpoint, its response bodies, and its stream format.

Other endpoints use `Envelope` and `spar_of` too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from json.encoder import encode_basestring as _quoted
from secrets import token_hex
from time import time
from typing import Any, Final

from fastapi import APIRouter
from starlette.responses import Response

from spar_core.checklist import checklist_of
from spar_core.frozen import frozen
from spar_core.judge import Judgement
from spar_core.search.events import Event
from spar_core.trace import write_trace
from spar_core.types import Completion, Delta, Usage
from spar_server.api.openapi import BUDGET_PARAMETER, CHAT
from spar_server.api.search_events import VERDICTS, event_data
from spar_server.errors import ApiError
from spar_server.http.json_route import JsonRequest, JsonRoute
from spar_server.schemas import ChatRequest
from spar_server.serving.plan import Outcome, Plan
from spar_server.serving.runner import frame, plan_request, respond, stream_response
from spar_server.serving.usage import token_counts, usage_of


@frozen
class Envelope:
    """The trace id, time and model that all parts of a response share."""

    model: str
    trace_id: str
    created: int = field(default_factory=lambda: int(time()))

    @property
    def id(self) -> str:
        return f"chatcmpl-{self.trace_id}"

    def completion(self, outcome: Outcome) -> dict[str, Any]:
        """The body of a response that is not streamed."""
        return {
            "id": self.id,
            "object": "chat.completion",
            "created": self.created,
            "model": self.model,
            "choices": [_choice(index, answer) for index, answer in enumerate(outcome.answers.completions)],
            "usage": usage_of(outcome),
            "spar": self.spar(outcome),
        }

    def chunk(
        self, delta: dict[str, Any], finish_reason: str | None = None, *, index: int = 0, logprobs: Any = None
    ) -> dict[str, Any]:
        choice = {"index": index, "delta": delta, "finish_reason": finish_reason, "logprobs": logprobs}
        return {**self._head(), "choices": [choice]}

    def usage_chunk(self, outcome: Outcome) -> dict[str, Any]:
        return {**self._head(), "choices": [], "usage": usage_of(outcome)}

    def event_chunk(self, event: Event, *, prompts: bool = False) -> dict[str, Any]:
        """A step of the search; without choices, so that clients that do not know it skip it."""
        return {**self._head(), "choices": [], "spar": {"event": event_data(event, prompts=prompts)}}

    def spar(self, outcome: Outcome) -> dict[str, Any]:
        return spar_of(outcome, self.trace_id)

    def _head(self) -> dict[str, Any]:
        return {"id": self.id, "object": "chat.completion.chunk", "created": self.created, "model": self.model}


def spar_of(outcome: Outcome, trace_id: str) -> dict[str, Any]:
    """The extension `spar`; in a stream it is part of the answer's last chunk, with or without usage."""
    data: dict[str, Any] = {"trace_id": trace_id, "degraded": outcome.degraded}
    plan = outcome.plan
    if (checklist := checklist_of(outcome.answers.nodes[0].judgement)) is not None:
        data["checklist"] = checklist
    if plan.options.trace != "none":
        trees = [write_trace(result, plan.options.trace) for result in outcome.answers.results]
        data |= {"tree": trees[0]} if plan.n == 1 else {"trees": trees}
    return data


def _choice(index: int, answer: Completion) -> dict[str, Any]:
    extra = dict(answer.extra)
    logprobs = extra.pop("logprobs", None)
    reasoning = extra.pop("reasoning", None)
    # Clients disagree on the name, so both are sent.
    reasoning_fields = {"reasoning_content": reasoning, "reasoning": reasoning} if reasoning else {}
    # Beside tool calls, OpenAI sends null instead of an empty string.
    content = answer.text or (None if "tool_calls" in extra else "")
    message = {"role": "assistant", "content": content, "refusal": None, **extra, **reasoning_fields}
    return {"index": index, "message": message, "finish_reason": answer.finish_reason, "logprobs": logprobs}


def answer_delta(answer: Completion) -> dict[str, Any]:
    """A complete answer as one delta."""
    extra = {name: value for name, value in answer.extra.items() if name not in ("logprobs", "reasoning")}
    if "tool_calls" in extra:
        extra["tool_calls"] = [{"index": index, **call} for index, call in enumerate(extra["tool_calls"])]
    return {"content": answer.text, **extra}


def judgement_body(model: str, plan: Plan, judgement: Judgement, usage: Usage) -> dict[str, Any]:
    """The body of a judgement, with its votes and the results of its checks; `usage` is that of all its calls."""
    checklist = checklist_of(judgement)
    return {
        "id": f"judge-{token_hex(16)}",
        "object": "judgement",
        "created": int(time()),
        "model": model,
        "value": judgement.value,
        "accepted": judgement.accepted,
        "abstained": judgement.abstained,
        "yes": judgement.yes,
        "no": judgement.no,
        "critique": judgement.critique,
        "votes": [
            {"verdict": VERDICTS[vote.verdict], "critique": vote.text, "error": vote.error} for vote in judgement.votes
        ],
        "checks": [
            {"id": check.id, "kwargs": dict(check.kwargs), "passed": finding.passed, "evidence": finding.evidence}
            for check, finding in zip(plan.checks, judgement.findings, strict=True)
        ],
        **({} if checklist is None else {"checklist": checklist}),
        "usage": token_counts(usage, usage),
    }


DONE: Final = "data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class ChatStreamFormat:
    """Renders OpenAI's chat completion chunks; implements `StreamFormat`."""

    envelope: Envelope
    include_usage: bool
    # Whether the events of calls have their prompts.
    prompts: bool = False
    # The constant start of a text delta's frame, up to the choice's index.
    _prefix: str = field(init=False)

    def __post_init__(self) -> None:
        head = frame(self.envelope.chunk({}, index=0))
        object.__setattr__(self, "_prefix", head[: head.rindex('"index":') + len('"index":')])

    def opening(self, index: int) -> list[str]:
        return [frame(self.envelope.chunk({"role": "assistant", "content": ""}, index=index))]

    def reasoning(self, text: str) -> list[str]:
        # Clients disagree on the name, so both are sent.
        return [frame(self.envelope.chunk({"reasoning_content": text, "reasoning": text}))]

    def step(self, event: Event) -> list[str]:
        return [frame(self.envelope.event_chunk(event, prompts=self.prompts))]

    def heartbeat(self) -> str:
        return frame(self.envelope.chunk({}))

    def delta(self, delta: Delta, index: int) -> list[str]:
        if not delta.extra:
            # Fast path for plain text, which is most of a stream.
            text = f'"delta":{{"content":{_quoted(delta.text)}}},"finish_reason":null,"logprobs":null'
            return [f"{self._prefix}{index},{text}}}]}}\n\n"]
        extra = dict(delta.extra)
        logprobs = extra.pop("logprobs", None)
        if "reasoning" in extra:
            extra["reasoning_content"] = extra["reasoning"]
        content = {"content": delta.text} if delta.text else {}
        return [frame(self.envelope.chunk({**content, **extra}, index=index, logprobs=logprobs))]

    def answer(self, answer: Completion, index: int) -> list[str]:
        # The first choice's role was sent before the search.
        role = {"role": "assistant"} if index else {}
        return [frame(self.envelope.chunk({**role, **answer_delta(answer)}, index=index))]

    def ending(self, outcome: Outcome) -> list[str]:
        envelope = self.envelope
        *others, last = [
            envelope.chunk({}, answer.finish_reason, index=index)
            for index, answer in enumerate(outcome.answers.completions)
        ]
        ending = [frame(chunk) for chunk in (*others, last | {"spar": envelope.spar(outcome)})]
        if self.include_usage:
            ending.append(frame(envelope.usage_chunk(outcome)))
        return [*ending, DONE]

    def failure(self, error: ApiError) -> str:
        return frame(error.body)


router = APIRouter(route_class=JsonRoute)


@router.post(
    "/v1/chat/completions",
    summary="Create a chat completion",
    responses=CHAT,
    openapi_extra=BUDGET_PARAMETER,
)
async def chat_completions(body: ChatRequest, request: JsonRequest) -> Response:
    """OpenAI's endpoint. `refine_budget` sets the budget for refining the answer, and `refine` how it is spent."""
    plan = await plan_request(body, request)
    envelope = Envelope(body.model, plan.trace_id)
    if body.stream:
        return await stream_response(plan, request, ChatStreamFormat(envelope, body.include_usage, body.refine.prompts))
    return await respond(plan, request, envelope.completion)
