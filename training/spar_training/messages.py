"""A prompt's messages as they stand in a data file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from spar_core.types import Message

_ROLES: Final = ("system", "user", "assistant")


def read_messages(value: object) -> tuple[Message, ...]:
    """The messages of a prompt, the last of them the user's: text, or parts that are all text. Other keys are kept.

    Raises:
        ValueError: names the place, e.g. `messages[1].content`, and what must be there.
    """
    if not isinstance(value, list) or not value:
        raise ValueError("messages: must be a list of chat messages that is not empty")
    messages = tuple(_message(f"messages[{place}]", one) for place, one in enumerate(value))
    if messages[-1].role != "user":
        raise ValueError("messages: the last one must be the user's, who asks for the answer")
    return messages


def _message(place: str, value: object) -> Message:
    if not isinstance(value, Mapping):
        raise ValueError(f"{place}: must be an object with a role and a content")
    if value.get("role") not in _ROLES:
        raise ValueError(f"{place}.role: must be {', '.join(_ROLES[:-1])} or {_ROLES[-1]}, is {value.get('role')!r}")
    content = value.get("content")
    if isinstance(content, list):
        for number, part in enumerate(content):
            if not isinstance(part, Mapping) or part.get("type") != "text" or not isinstance(part.get("text"), str):
                raise ValueError(f"{place}.content[{number}]: must be a text part, as only text is trained on")
    elif not isinstance(content, str):
        raise ValueError(f"{place}.content: must be text, or a list of text parts")
    extra = {key: kept for key, kept in value.items() if key not in ("role", "content")}
    message = Message(value["role"], content, extra)
    if not message.text.strip():
        raise ValueError(f"{place}.content: must be text that is not empty")
    return message
