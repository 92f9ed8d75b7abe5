"""Response bodies and chunks in OpenAI's shape, with what the search did in `usage.refinement` and `spar`."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import time
from typing import Any
from uuid import uuid4

from spar_core.search import SearchResult
from spar_core.trace import write_trace
from spar_core.types import Completion, Usage
from spar_server.answering import Plan


@dataclass(frozen=True, slots=True)
class Envelope:
    """What all parts of one response share."""

    model: str
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid4().hex}")
    created: int = field(default_factory=lambda: int(time()))

    def completion(self, plan: Plan, result: SearchResult) -> dict[str, Any]:
        """The whole non-streaming body."""
        answer = result.answer
        extra = dict(answer.extra)
        logprobs = extra.pop("logprobs", None)
        reasoning = extra.pop("reasoning", None)
        # Clients disagree on the name; each reads one of the two.
        thoughts = {"reasoning_content": reasoning, "reasoning": reasoning} if reasoning else {}
        # OpenAI has no content, rather than an empty one, next to tool calls.
        content = answer.text or (None if "tool_calls" in extra else "")
        message = {"role": "assistant", "content": content, "refusal": None, **extra, **thoughts}
        choice = {
            "index": 0,
            "message": message,
            "finish_reason": answer.finish_reason,
            "logprobs": logprobs,
        }
        return {
            "id": self.id,
            "object": "chat.completion",
            "created": self.created,
            "model": self.model,
            "choices": [choice],
            "usage": usage_of(plan, result),
            "spar": self.spar(plan, result),
        }

    def chunk(self, delta: dict[str, Any], finish_reason: str | None = None, *, logprobs: Any = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason, "logprobs": logprobs}
        return {**self._head(), "choices": [choice]}

    def usage_chunk(self, plan: Plan, result: SearchResult) -> dict[str, Any]:
        return {**self._head(), "choices": [], "usage": usage_of(plan, result)}

    def spar(self, plan: Plan, result: SearchResult) -> dict[str, Any]:
        """The top-level extension: the trace id, and the tree if it was asked for."""
        data: dict[str, Any] = {"trace_id": self.id.removeprefix("chatcmpl-")}
        if plan.options.trace != "none":
            data["tree"] = write_trace(result, plan.options.trace)
        return data

    def _head(self) -> dict[str, Any]:
        return {"id": self.id, "object": "chat.completion.chunk", "created": self.created, "model": self.model}


def usage_of(plan: Plan, result: SearchResult) -> dict[str, Any]:
    """Exact usage: the client's prompt once, every generated token, and the account of the search."""
    generated = sum(usage.completion_tokens for usage in result.usage.values())
    answer = result.answer.usage.completion_tokens
    prompt = result.draft.usage.prompt_tokens
    return {
        "prompt_tokens": prompt,
        "completion_tokens": generated,
        "total_tokens": prompt + generated,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": generated - answer},
        "refinement": {
            "budget": plan.config.budget,
            "nodes": result.nodes,
            "depth": result.depth,
            "algorithm": plan.config.algorithm,
            "accepted": result.accepted,
            "improved": result.improved,
            "value": result.value,
            "draft_value": result.draft_value,
            "stop_reason": result.stop_reason,
            "degraded": result.degraded,
            "calls": {role: result.calls.get(role, 0) for role in ("actor", "refiner", "judge")},
            "tokens": {role: _tokens(result.usage.get(role)) for role in ("actor", "refiner", "judge")},
            "duration_ms": round(result.duration_s * 1000, 1),
        },
    }


def _tokens(usage: Usage | None) -> dict[str, int]:
    usage = usage or Usage()
    return {"prompt": usage.prompt_tokens, "completion": usage.completion_tokens}


def answer_delta(answer: Completion) -> dict[str, Any]:
    """The chosen answer as one delta."""
    extra = {name: value for name, value in answer.extra.items() if name not in ("logprobs", "reasoning")}
    if "tool_calls" in extra:
        extra["tool_calls"] = [{"index": index, **call} for index, call in enumerate(extra["tool_calls"])]
    return {"content": answer.text, **extra}
