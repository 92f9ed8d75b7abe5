"""What a validation may cost: its steps, and the characters that patterns are held against."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import re2

# Characters that are matched, or quoted in an error, in one step's time.
CHARACTERS: Final = 1000


class TooMuchWorkError(Exception):
    """A validation was given up."""


class SchemaWork:
    """What is left of one validation's allowance: `steps`, some ten microseconds each.

    A reference that is no path costs `search_steps`, because the library looks for it in the whole schema.
    """

    def __init__(self, steps: int, *, search_steps: int) -> None:
        self._steps = steps
        self._search_steps = search_steps

    def spend(self, steps: int) -> None:
        self._steps -= steps
        if self._steps < 0:
            raise TooMuchWorkError("it takes too much work to check")

    def follow(self, reference: str) -> None:
        self.spend(1 if reference.startswith("#/") else self._search_steps)

    def matches(self, pattern: str, text: str) -> bool:
        """Whether it does, or RE2, which takes linear time, does not know the pattern."""
        self.spend(1 + len(text) // CHARACTERS)
        return (compiled := _compiled(pattern)) is None or compiled.search(text) is not None


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error:
        return None
