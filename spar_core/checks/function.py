"""A check made of a plain Python function: run tests, compile code, look something up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from spar_core.checks.base import Finding

# What a call counts for, in the unit of `Check.work` (50 ms): enough that it runs in a thread, off the event loop.
_WORK: Final = 10_000_000


@dataclass(frozen=True, slots=True)
class FunctionCheck:
    """`function` takes the response and returns what is wrong with it, or None if nothing is.

        def is_short(response: str) -> str | None:
            return None if len(response) < 80 else f"{len(response)} characters"

        FunctionCheck("fewer than 80 characters", is_short)

    `description` is a short noun phrase. Judge and refiner read it with what the function found: "fewer than 80
    characters: not met; found: 120 characters". The function runs in a thread, several at once, and must return the
    same for the same response.
    """

    description: str
    function: Callable[[str], str | None]
    id: str = "function"
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    def requirement(self) -> str:
        return self.description

    def work(self, response: str) -> int:
        return _WORK

    def find(self, response: str) -> Finding:
        problem = self.function(response)
        return Finding(problem is None, problem or "passed")
