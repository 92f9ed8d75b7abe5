"""The message object of the Messages API."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from spar_core.types import Completion, FinishReason
from spar_server.api.chat import spar_of
from spar_server.api.messages.request import MessagesRequest
from spar_server.serving.plan import Outcome
from spar_server.serving.usage import usage_of

# Which stop sequence ended an answer is not known, so `stop_sequence` is never a reason.
STOP_REASONS: Final[Mapping[FinishReason, str]] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}


@dataclass(frozen=True, slots=True)
class MessageBody:
    """Builds the bodies of one message, whose id derives from the trace id."""

    request: MessagesRequest
    trace_id: str

    def started(self) -> dict[str, Any]:
        """The message before there is an answer."""
        return {
            "id": f"msg_{self.trace_id}",
            "type": "message",
            "role": "assistant",
            "model": self.request.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": 0, "output_tokens": 0},
        }

    def finished(self, outcome: Outcome) -> dict[str, Any]:
        """The complete message."""
        answer = outcome.answers.completions[0]
        thoughts = answer.extra.get("reasoning") if self.request.shows_thinking else None
        content = [
            *([{"type": "thinking", "thinking": thoughts, "signature": ""}] if thoughts else []),
            *([text_block(answer.text)] if answer.text or not answer.calls_tools else []),
            *(tool_block(call) for call in answer.extra.get("tool_calls") or ()),
        ]
        return {**self.started(), "content": content, **self.ending(outcome), "usage": message_usage(outcome)}

    def ending(self, outcome: Outcome) -> dict[str, Any]:
        """What is only known at the end, apart from the usage."""
        return {
            "stop_reason": stop_reason(outcome.answers.completions[0]),
            "stop_sequence": None,
            "spar": spar_of(outcome, self.trace_id),
        }


def stop_reason(answer: Completion) -> str:
    return "tool_use" if answer.calls_tools else STOP_REASONS[answer.finish_reason]


def text_block(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def tool_block(call: Mapping[str, Any]) -> dict[str, Any]:
    """A tool call of chat as a block. Arguments that are not a JSON object are kept under `arguments`."""
    function = call["function"]
    return {"type": "tool_use", "id": call["id"], "name": function["name"], "input": _input(function["arguments"])}


def _input(arguments: str) -> dict[str, Any]:
    try:
        value = json.loads(arguments or "{}")
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {"arguments": arguments}


def message_usage(outcome: Outcome) -> dict[str, Any]:
    """Chat's usage under the Messages API's names, where cached tokens are not part of the input's."""
    usage = usage_of(outcome)
    prompt, cached = usage["prompt_tokens"], usage["prompt_tokens_details"]["cached_tokens"]
    return {
        "input_tokens": None if prompt is None else prompt - (cached or 0),
        "cache_creation_input_tokens": None,
        "cache_read_input_tokens": cached,
        "output_tokens": usage["completion_tokens"],
        "refinement": usage["refinement"],
    }
