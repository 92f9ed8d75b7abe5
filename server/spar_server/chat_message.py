"""A chat message as it comes in: a role, and something said."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from spar_core.types import Message

# What an assistant's message may hold in place of content.
_SAID_OTHERWISE: Final = ("tool_calls", "function_call", "refusal", "audio", "reasoning_content", "reasoning")
# The parts whose text is read here, each under the key of its type. What other parts hold is the upstream's to check.
_TEXTS: Final = ("text", "refusal")


class ChatMessage(BaseModel):
    """A message of any role; keys besides role and content reach the upstream unchanged."""

    model_config = ConfigDict(extra="allow")

    role: Literal["developer", "system", "user", "assistant", "tool", "function"]
    content: str | list[dict[str, Any]] | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        content = self.content
        if isinstance(content, str):
            return self
        if not content:
            if not self._may_be_empty():
                raise _wrong(("content",), "is needed: a string or a list of parts")
            return self
        for number, part in enumerate(content):
            _check_part(part, number)
        return self

    def _may_be_empty(self) -> bool:
        """OpenAI takes no content from a function that returned nothing, and next to what is said in another way."""
        extra = self.model_extra or {}
        return self.role == "function" or (self.role == "assistant" and any(map(extra.get, _SAID_OTHERWISE)))

    def to_core(self) -> Message:
        return Message(self.role, self.content, self.model_extra or {})


def _check_part(part: Mapping[str, Any], number: int) -> None:
    kind = part.get("type")
    if not isinstance(kind, str):
        raise _wrong(("content", number, "type"), "must be a string, as in {'type': 'text', 'text': '...'}")
    if kind in _TEXTS and not isinstance(part.get(kind), str):
        raise _wrong(("content", number, kind), "must be a string")


def _wrong(place: tuple[int | str, ...], message: str) -> ValidationError:
    """The complaint about one place inside a message, which alone would be about the whole of it."""
    problem = InitErrorDetails(type=PydanticCustomError("message", "{told}", {"told": message}), loc=place, input=None)
    return ValidationError.from_exception_data("ChatMessage", [problem])
