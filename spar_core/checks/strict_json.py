"""JSON as RFC 8259 has it: Python's parser also takes NaN and Infinity, which others do not."""

from __future__ import annotations

import json
from typing import Any


def strict_json(text: str) -> Any:
    """The value that `text` is.

    Raises:
        ValueError: it is no JSON.
        RecursionError: it is nested too deeply.
    """
    return json.loads(text, parse_constant=_refuse)


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no number in JSON")
