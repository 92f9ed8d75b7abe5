"""The check on commas."""

from __future__ import annotations

import re
from typing import Final

from spar_core.checks.base import Finding
from spar_core.checks.spec import CheckSpec, Kwargs, Test

_WORD: Final = re.compile(r"\w+")
_REACH: Final = 40  # characters before the mark that are searched for a word


def without(mark: str, name: str) -> Test:
    """The test that a mark does not occur; `name` is what a finding calls it."""

    def test(response: str, _: Kwargs) -> Finding:
        place = response.find(mark)
        if place < 0:
            return Finding(True, f"no {name}")
        words = _WORD.findall(response, max(0, place - _REACH), place)
        return Finding(False, f'{name} after "{words[-1]}"' if words else f"{name} at the start")

    return test


SPECS: Final = (CheckSpec("punctuation:no_comma", lambda _: "no commas", without(",", "comma")),)
