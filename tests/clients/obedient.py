"""An actor that does what the last message says, so that a client can be put through everything by talking."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from spar_core.backends.scripted import Script
from spar_core.errors import BackendOverloaded, BackendRejected, BackendUnavailable
from spar_core.types import Completion, Message, Sampling, Usage

RETRY_AFTER_S: Final = 1
WEATHER: Final[dict[str, Any]] = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a city",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}


def obedient() -> Script:
    """`weather`, `busy once, <who>`, `busy`, `broken`, `refuse` and `too long` do as they say; else a plain draft."""
    asked: Counter[str] = Counter()

    def reply(messages: Sequence[Message], sampling: Sampling) -> str | Completion | BaseException:
        last = messages[-1]
        asked[last.text] += 1
        busy = BackendOverloaded("upstream answered 429: slow down", status=429, retry_after=RETRY_AFTER_S)
        if last.role == "tool":
            return f"The weather: {last.text}"
        if last.text.startswith("weather") and sampling.extra.get("tools"):
            return _weather_call()
        if last.text.startswith("busy once"):
            return busy if asked[last.text] == 1 else "at last"
        return {
            "busy": busy,
            "broken": BackendUnavailable("upstream answered 500: oh no", status=500),
            "too long": BackendRejected(
                "upstream answered 400: This model's maximum context length is 9 tokens.", status=400
            ),
            "refuse": BackendRejected("upstream answered 400: too many frogs", status=400, param="frogs"),
        }.get(last.text, "a plain draft")

    return reply


def _weather_call() -> Completion:
    function = {"name": "weather", "arguments": json.dumps({"city": "Paris"})}
    call = {"id": "call_1", "type": "function", "function": function}
    return Completion("", "tool_calls", Usage(), {"tool_calls": [call]})
