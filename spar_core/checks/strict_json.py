"""JSON as RFC 8259 has it: Python's parser also takes NaN and Infinity, which others do not."""

from __future__ import annotations

import json
from typing import Any, Final

# Some twenty milliseconds.
_MOST_HELD: Final = 100_000


def strict_json(text: str) -> Any:
    """The value that `text` is.

    Raises:
        ValueError: it is no JSON.
        RecursionError: it is nested too deeply.
    """
    refuse_crowded(text)
    return json.loads(text, parse_constant=_refuse)


def refuse_crowded(text: str) -> None:
    """Raises ValueError where a text has so many lists, objects and keys that reading it would hold up the process."""
    if text.count("[") + text.count("{") + text.count(":") > _MOST_HELD:
        raise ValueError(f"more than {_MOST_HELD} lists, objects and keys")


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no number in JSON")
