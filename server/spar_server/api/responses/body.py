"""The response object of the Responses API, in progress and complete."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from time import time
from typing import Any, Final

from spar_core.types import Completion, FinishReason
from spar_server.api.chat import spar_of
from spar_server.api.responses.request import ResponsesRequest
from spar_server.errors import ApiError
from spar_server.serving.plan import Outcome
from spar_server.serving.usage import usage_of

_INCOMPLETE: Final[Mapping[FinishReason, str]] = {"length": "max_output_tokens", "content_filter": "content_filter"}


@dataclass(frozen=True, slots=True)
class ResponseBody:
    """Builds the bodies of one response. All ids derive from the trace id."""

    request: ResponsesRequest
    trace_id: str
    created: int = field(default_factory=lambda: int(time()))

    @property
    def message_id(self) -> str:
        return f"msg_{self.trace_id}"

    @property
    def reasoning_id(self) -> str:
        return f"rs_{self.trace_id}"

    def started(self) -> dict[str, Any]:
        """The response before there is an answer."""
        return self._response("in_progress", [])

    def failed(self, error: ApiError) -> dict[str, Any]:
        code = "rate_limit_exceeded" if error.status == 429 else "server_error"
        return {**self._response("failed", []), "error": {"code": code, "message": error.message}}

    def finished(
        self, outcome: Outcome, *, reasoning: str | None = None, part: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """The complete response. A stream passes the `reasoning` and `part` that it has sent."""
        answer = outcome.answers.completions[0]
        reasoning = reasoning or answer.extra.get("reasoning")
        message = self.message(part or content_part(answer), answer.finish_reason)
        reason = _INCOMPLETE.get(answer.finish_reason)
        return {
            **self._response(
                "incomplete" if reason else "completed", [*([self.reasoning(reasoning)] if reasoning else []), message]
            ),
            "incomplete_details": {"reason": reason} if reason else None,
            "usage": _usage(outcome),
            "spar": spar_of(outcome, self.trace_id),
        }

    def reasoning(self, text: str | None) -> dict[str, Any]:
        """The reasoning item; in progress if `text` is None."""
        summary = [] if text is None else [{"type": "summary_text", "text": text}]
        return {"id": self.reasoning_id, "type": "reasoning", "status": _status(text), "summary": summary}

    def message(self, part: dict[str, Any] | None, finish: FinishReason = "stop") -> dict[str, Any]:
        """The message item with its only part; in progress if `part` is None."""
        return {
            "id": self.message_id,
            "type": "message",
            "role": "assistant",
            "status": "incomplete" if finish in _INCOMPLETE else _status(part),
            "content": [] if part is None else [part],
        }

    def _response(self, status: str, output: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        request = self.request
        reasoning, text = request.reasoning, request.text
        return {
            "id": f"resp_{self.trace_id}",
            "object": "response",
            "created_at": self.created,
            "status": status,
            "background": False,
            "error": None,
            "incomplete_details": None,
            "instructions": request.instructions,
            "max_output_tokens": request.max_output_tokens,
            "metadata": request.metadata or {},
            "model": request.model,
            "output": list(output),
            "parallel_tool_calls": True,
            "previous_response_id": None,
            "reasoning": {
                "effort": reasoning and reasoning.effort,
                "summary": reasoning and (reasoning.summary or reasoning.generate_summary),
            },
            "store": False,
            "temperature": request.temperature,
            "text": {"format": (text and text.format) or {"type": "text"}},
            "tool_choice": "auto",
            "tools": [],
            "top_p": request.top_p,
            "truncation": "disabled",
            "usage": None,
            "user": request.user,
        }


def _status(value: object) -> str:
    return "in_progress" if value is None else "completed"


def text_part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def refusal_part(refusal: str) -> dict[str, Any]:
    return {"type": "refusal", "refusal": refusal}


def content_part(answer: Completion) -> dict[str, Any]:
    """The answer's text, or the model's refusal."""
    refusal = answer.extra.get("refusal")
    return refusal_part(refusal) if refusal and not answer.text else text_part(answer.text)


def _usage(outcome: Outcome) -> dict[str, Any]:
    """Chat's usage under the Responses API's names."""
    usage = usage_of(outcome)
    return {
        "input_tokens": usage["prompt_tokens"],
        "input_tokens_details": usage["prompt_tokens_details"],
        "output_tokens": usage["completion_tokens"],
        "output_tokens_details": usage["completion_tokens_details"],
        "total_tokens": usage["total_tokens"],
        "refinement": usage["refinement"],
    }
