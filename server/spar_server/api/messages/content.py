"""The content of the Messages API's messages, as chat messages.

A user's message can hold the results of several tools, each of which is a message of its own in chat.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from spar_core.errors import RequestError

if TYPE_CHECKING:
    from spar_server.api.messages.request import MessageParam

Block = dict[str, Any]
ChatMessages = Iterator[dict[str, Any]]
# Blocks of earlier answers that mean nothing to another model.
_DROPPED: Final = ("thinking", "redacted_thinking")


def system_messages(system: str | Sequence[Block] | None, location: str = "system") -> list[dict[str, Any]]:
    """A system prompt as a chat message, if there is one."""
    if not system:
        return []
    content = system if isinstance(system, str) else [_text(each, f"{location}.{i}") for i, each in enumerate(system)]
    return [{"role": "system", "content": content}]


def chat_messages(messages: Sequence[MessageParam]) -> ChatMessages:
    """Translate the messages.

    Raises:
        RequestError: a block is not valid, or of a type that is not supported; names it.
    """
    for number, message in enumerate(messages):
        location = f"messages.{number}.content"
        if isinstance(message.content, str):
            yield {"role": message.role, "content": message.content}
        elif message.role == "system":
            yield from system_messages(message.content, location)
        elif message.role == "assistant":
            yield _assistant(message.content, location)
        else:
            yield from _user(message.content, location)


def _assistant(blocks: Sequence[Block], location: str) -> dict[str, Any]:
    texts: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    for number, block in enumerate(blocks):
        at = f"{location}.{number}"
        match block.get("type"):
            case "text":
                texts.append(_text(block, at))
            case "tool_use":
                name, arguments = _string(block, "name", at), json.dumps(_object(block, "input", at))
                function = {"name": name, "arguments": arguments}
                calls.append({"id": _string(block, "id", at), "type": "function", "function": function})
            case kind if kind not in _DROPPED:
                raise _unsupported(kind, at, "text, tool_use and thinking")
    content: Any = texts[0]["text"] if len(texts) == 1 else texts or None
    return {"role": "assistant", "content": content, **({"tool_calls": calls} if calls else {})}


def _user(blocks: Sequence[Block], location: str) -> ChatMessages:
    parts: list[dict[str, Any]] = []
    for number, block in enumerate(blocks):
        at = f"{location}.{number}"
        match block.get("type"):
            case "text":
                parts.append(_text(block, at))
            case "image":
                parts.append(_image(block, at))
            case "document":
                parts.append(_document(block, at))
            case "tool_result":
                if parts:
                    raise RequestError(f"{at}: the results of tools must come first in their message", param=at)
                yield _tool_result(block, at)
            case kind:
                raise _unsupported(kind, at, "text, image, document and tool_result")
    if parts:
        yield {"role": "user", "content": parts[0]["text"] if _is_one_text(parts) else parts}
    elif not blocks:
        raise RequestError(f"{location}: is empty; give a text", param=location)


def _is_one_text(parts: Sequence[Mapping[str, Any]]) -> bool:
    return len(parts) == 1 and parts[0]["type"] == "text"


def _tool_result(block: Block, at: str) -> dict[str, Any]:
    content = block.get("content") or ""
    if isinstance(content, list):
        content = "\n".join(_text(_mapping(part, f"{at}.content.{i}"), f"{at}.content.{i}")["text"]
                            for i, part in enumerate(content))  # fmt: skip
    elif not isinstance(content, str):
        raise RequestError(f"{at}.content: must be a string or a list of text blocks", param=f"{at}.content")
    # Chat has no field for this.
    failed = "Error: " if block.get("is_error") is True else ""
    return {"role": "tool", "tool_call_id": _string(block, "tool_use_id", at), "content": f"{failed}{content}"}


def _text(block: Block, at: str) -> dict[str, Any]:
    if block.get("type") != "text":
        raise _unsupported(block.get("type"), at, "text")
    return {"type": "text", "text": _string(block, "text", at)}


def _image(block: Block, at: str) -> dict[str, Any]:
    source = _object(block, "source", at)
    match source.get("type"):
        case "url":
            url = _string(source, "url", f"{at}.source")
        case "base64":
            media, data = (_string(source, name, f"{at}.source") for name in ("media_type", "data"))
            url = f"data:{media};base64,{data}"
        case kind:
            raise _unsupported(kind, f"{at}.source", "base64 and url")
    return {"type": "image_url", "image_url": {"url": url}}


def _document(block: Block, at: str) -> dict[str, Any]:
    source = _object(block, "source", at)
    if source.get("type") != "text":
        raise _unsupported(source.get("type"), f"{at}.source", "text")
    return {"type": "text", "text": _string(source, "data", f"{at}.source")}


def _mapping(value: object, at: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise RequestError(f"{at}: must be an object", param=at)
    return value


def _object(block: Mapping[str, Any], name: str, at: str) -> dict[str, Any]:
    return _mapping(block.get(name), f"{at}.{name}")


def _string(block: Mapping[str, Any], name: str, at: str) -> str:
    value = block.get(name)
    if not isinstance(value, str):
        raise RequestError(f"{at}.{name}: must be a string", param=f"{at}.{name}")
    return value


def _unsupported(kind: object, at: str, known: str) -> RequestError:
    return RequestError(f"{at}.type: {repr(kind)[:40]} is not supported here, only {known}", param=f"{at}.type")
