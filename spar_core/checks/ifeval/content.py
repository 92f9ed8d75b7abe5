"""Checks on required parts: a postscript, placeholders."""

from __future__ import annotations

import re
from typing import Final

from spar_core.checks.base import Finding
from spar_core.checks.spec import CheckSpec, Kwargs, amount, counted, text, whole

# IFEval permits a space inside the two usual markers.
_POSTSCRIPTS: Final = {
    "P.S.": re.compile(r"p\.\s?s\."),
    "P.P.S": re.compile(r"p\.\s?p\.\s?s"),
}


def _postscript(response: str, kwargs: Kwargs) -> Finding:
    marker = kwargs["postscript_marker"].strip()
    pattern = _POSTSCRIPTS.get(marker) or re.compile(re.escape(marker.lower()))
    found = bool(pattern.search(response.lower()))
    return Finding(found, f"{marker} found" if found else f"no {marker}")


def _placeholders(response: str, kwargs: Kwargs) -> Finding:
    count = sum(map(_pairs, response.split("\n")))
    return Finding(count >= kwargs["num_placeholders"], counted(count, "placeholder"))


def _pairs(line: str) -> int:
    """The number of opening square brackets in a line that are closed in it, each by the next closing one."""
    count = position = 0
    while (start := line.find("[", position)) >= 0 and (end := line.find("]", start)) >= 0:
        count += 1
        position = end + 1
    return count


SPECS: Final = (
    CheckSpec(
        "detectable_content:postscript",
        lambda k: f"a postscript starting with {k['postscript_marker'].strip()}",
        _postscript,
        {"postscript_marker": text},
    ),
    CheckSpec(
        "detectable_content:number_placeholders",
        lambda k: f"{amount(k['num_placeholders'], 'at least', 'placeholder')} in square brackets",
        _placeholders,
        {"num_placeholders": whole},
    ),
)
