"""A request of the Responses API, and its translation into a chat request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from spar_core.errors import RequestError
from spar_server.schemas import BUDGET_DESCRIPTION, AtLeast0, ChatRequest, Count, Effort, Flag, Number, RefineOptions

_STATELESS: Final = "this server stores no responses; send the whole conversation as input"
_TEXT_ONLY: Final = "only text input and output is supported here; /v1/chat/completions supports tools"
# Unsupported fields, with the values that are harmless and the reason for refusing others.
_REFUSED: Final[Mapping[str, tuple[tuple[object, ...], str]]] = {
    "previous_response_id": ((None,), _STATELESS),
    "conversation": ((None,), _STATELESS),
    "store": ((None, False), _STATELESS),
    "background": ((None, False), _STATELESS),
    "prompt": ((None,), _STATELESS),
    "context_management": ((None, []), _STATELESS),
    "tools": ((None, []), _TEXT_ONLY),
    "tool_choice": ((None, "auto", "none"), _TEXT_ONLY),
    "max_tool_calls": ((None,), _TEXT_ONLY),
    "include": ((None, []), "additional output is not supported"),
    "top_logprobs": ((None, 0), "only /v1/chat/completions supports logprobs"),
    "truncation": ((None, "disabled"), "input that is too long is refused, never truncated"),
    "moderation": ((None,), "moderation is not supported"),
}
# Field names of chat completions, with their names in the Responses API.
_CHAT_FIELDS: Final[Mapping[str, str]] = {
    "messages": "input",
    "max_tokens": "max_output_tokens",
    "max_completion_tokens": "max_output_tokens",
    "reasoning_effort": "reasoning.effort",
    "response_format": "text.format",
    "verbosity": "text.verbosity",
}
_NOT_HERE: Final = ("n", "logprobs", "logit_bias", "functions", "function_call", "modalities", "audio")
# Field names in errors about the translated request, with the client's own names.
FIELD_NAMES: Final[Mapping[str, str]] = {"response_format.json_schema": "text.format", "response_format": "text.format"}
# Fields without any effect here.
_IGNORED: Final = ("parallel_tool_calls",)


class TextOptions(BaseModel):
    """`text`: the format of the answer."""

    model_config = ConfigDict(extra="forbid")

    format: dict[str, Any] | None = None
    verbosity: Literal["low", "medium", "high"] | None = None


class ReasoningOptions(BaseModel):
    """`reasoning`: an effort sets the budget; a streamed search reports its progress as the summary."""

    model_config = ConfigDict(extra="forbid")

    effort: Effort | None = None
    summary: Literal["auto", "concise", "detailed"] | None = None
    generate_summary: Literal["auto", "concise", "detailed"] | None = None


class ResponsesStreamOptions(BaseModel):
    """`include_obfuscation` is accepted, but padding against traffic analysis is not sent."""

    model_config = ConfigDict(extra="forbid")

    include_obfuscation: Flag | None = None


class ResponsesRequest(BaseModel):
    """`POST /v1/responses`. `refine_budget` and `refine` are this server's extensions, as in chat."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "example": {
                "model": "spar-small",
                "instructions": "Do not use commas.",
                "input": "Tell me about the river. Include the word lamp.",
                "refine_budget": 8,
            }
        },
    )

    model: str
    input: str | list[dict[str, Any]] = Field(min_length=1)
    instructions: str | None = None
    stream: Flag | None = None
    stream_options: ResponsesStreamOptions | None = None
    temperature: Number | None = Field(default=None, ge=0, le=2)
    top_p: Number | None = Field(default=None, gt=0, le=1)
    max_output_tokens: Count | None = None
    text: TextOptions | None = None
    reasoning: ReasoningOptions | None = None
    metadata: dict[str, str] | None = Field(default=None, max_length=16)
    user: str | None = None
    refine_budget: AtLeast0 | None = Field(default=None, description=BUDGET_DESCRIPTION)
    refine: RefineOptions | None = None

    def to_chat(self) -> ChatRequest:
        """Translate into a chat request.

        Raises:
            RequestError: a field is not supported; names it.
            RequestValidationError: a forwarded field is not valid in a chat request.
        """
        extra = self.model_extra or {}
        _check_extra(extra)
        if self.refine is not None and self.refine.events:
            raise RequestError(
                "refine.events: only streams of /v1/chat/completions and /v1/refine have events", param="refine.events"
            )
        reasoning, text = self.reasoning or ReasoningOptions(), self.text or TextOptions()
        system = [{"role": "system", "content": self.instructions}] if self.instructions else []
        chat = {
            **{name: value for name, value in extra.items() if name not in (*_REFUSED, *_IGNORED)},
            "model": self.model,
            "messages": [*system, *_messages(self.input)],
            "temperature": self.temperature,
            "top_p": self.top_p,
            "max_completion_tokens": self.max_output_tokens,
            "reasoning_effort": reasoning.effort,
            "response_format": _response_format(text.format),
            "verbosity": text.verbosity,
            "user": self.user,
            "store": False if extra.get("store") is False else None,
            "refine_budget": self.refine_budget,
            "refine": self.refine,
            "stream": self.stream,
        }
        try:
            return ChatRequest.model_validate({name: value for name, value in chat.items() if value is not None})
        except ValidationError as error:
            raise RequestValidationError(error.errors()) from error


def _check_extra(extra: Mapping[str, Any]) -> None:
    for name, value in extra.items():
        if name in _REFUSED and value not in _REFUSED[name][0]:
            raise RequestError(f"{name}: not supported: {_REFUSED[name][1]}", param=name)
        if name in _CHAT_FIELDS and value is not None:
            raise RequestError(f"{name}: a field of /v1/chat/completions; here it is {_CHAT_FIELDS[name]}", param=name)
        if name in _NOT_HERE and value is not None:
            raise RequestError(f"{name}: a field of /v1/chat/completions that /v1/responses does not have", param=name)


def _messages(items: str | list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The input as chat messages. Reasoning items that a client sends back are dropped."""
    if isinstance(items, str):
        return [{"role": "user", "content": items}]
    messages = [
        _message(item, f"input.{number}") for number, item in enumerate(items) if item.get("type") != "reasoning"
    ]
    if not messages:
        raise RequestError("input: has no message", param="input")
    return messages


def _message(item: Mapping[str, Any], location: str) -> dict[str, Any]:
    kind = item.get("type", "message")
    if kind != "message":
        raise RequestError(f"{location}.type: {_quoted(kind)} is not supported: {_TEXT_ONLY}", param=f"{location}.type")
    role = item.get("role")
    if role not in ("user", "assistant", "system", "developer"):
        raise RequestError(f"{location}.role: must be user, assistant, system or developer", param=f"{location}.role")
    content = item.get("content")
    if isinstance(content, str):
        return {"role": role, "content": content}
    if not isinstance(content, list):
        raise RequestError(f"{location}.content: must be a string or a list of parts", param=f"{location}.content")
    texts = [_text(part, f"{location}.content.{number}") for number, part in enumerate(content)]
    parts = [{"type": "text", "text": text} for text in texts]
    return {"role": role, "content": texts[0] if len(texts) == 1 else parts}


def _text(part: object, location: str) -> str:
    if not isinstance(part, dict):
        raise RequestError(f"{location}: must be an object", param=location)
    kind = part.get("type")
    if kind not in ("input_text", "output_text", "text", "refusal"):
        raise RequestError(
            f"{location}.type: {_quoted(kind)} is not supported here; use input_text, or /v1/chat/completions",
            param=f"{location}.type",
        )
    name = "refusal" if kind == "refusal" else "text"
    if not isinstance(part.get(name), str):
        raise RequestError(f"{location}.{name}: must be a string", param=f"{location}.{name}")
    return str(part[name])


def _quoted(value: object) -> str:
    return repr(value)[:40]


def _response_format(form: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Nest a JSON schema as the chat API does; the Responses API has it flat."""
    if form is None or form.get("type") != "json_schema":
        return None if form is None else dict(form)
    return {"type": "json_schema", "json_schema": {name: value for name, value in form.items() if name != "type"}}
