"""Write messages as text for a judge, with notes in place of parts that it cannot see."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from spar_core.types import Message

_UNSEEN: Final = {"image_url": "image", "input_audio": "audio", "video_url": "video"}


def readable(message: Message) -> str:
    """A message's text and tool calls; any other part is named and marked as not shown."""
    parts = message.content if message.content is not None else ""
    text = parts if isinstance(parts, str) else "".join(_part(part) for part in parts)
    return "\n".join([*([text] if text else []), *_calls(message.extra)])


def _part(part: Mapping[str, Any]) -> str:
    if isinstance(part.get("text"), str):
        return str(part["text"])
    kind = str(part.get("type", "part"))
    return f"[{_UNSEEN.get(kind, kind)}: not shown here]"


def _calls(extra: Mapping[str, Any]) -> list[str]:
    tools = extra.get("tool_calls")
    calls = [call.get("function") for call in tools if isinstance(call, Mapping)] if isinstance(tools, list) else []
    return [
        f"[calls {call.get('name')}({_arguments(call.get('arguments'))})]"
        for call in (*calls, extra.get("function_call"))
        if isinstance(call, Mapping)
    ]


def _arguments(arguments: object) -> str:
    return arguments if isinstance(arguments, str) else json.dumps(arguments)
