"""The check on commas."""

from __future__ import annotations

import re
from typing import Final

from spar_core.checks.base import Finding
from spar_core.checks.spec import CheckSpec, Kwargs

_COMMA: Final = re.compile(r"(\w*)\W?,")


def _no_comma(response: str, _: Kwargs) -> Finding:
    found = _COMMA.search(response)
    return Finding(found is None, f'comma after "{found[1]}"' if found else "none")


SPECS: Final = (CheckSpec("punctuation:no_comma", lambda _: "no commas", _no_comma),)
