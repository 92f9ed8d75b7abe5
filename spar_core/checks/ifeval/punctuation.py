"""The check on commas."""

from __future__ import annotations

import re
from typing import Final

from spar_core.checks.base import Finding
from spar_core.checks.spec import CheckSpec, Kwargs

_WORD: Final = re.compile(r"\w+")
_REACH: Final = 40  # characters before the comma that are searched for a word


def _no_comma(response: str, _: Kwargs) -> Finding:
    comma = response.find(",")
    if comma < 0:
        return Finding(True, "no comma")
    words = _WORD.findall(response, max(0, comma - _REACH), comma)
    return Finding(False, f'comma after "{words[-1]}"' if words else "comma at the start")


SPECS: Final = (CheckSpec("punctuation:no_comma", lambda _: "no commas", _no_comma),)
