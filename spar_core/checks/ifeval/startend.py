"""Checks on how the response starts and ends."""

from __future__ import annotations

from typing import Final

from spar_core.checks.base import Finding
from spar_core.checks.spec import CheckSpec, Kwargs, text


def _ending(response: str, kwargs: Kwargs) -> Finding:
    phrase = kwargs["end_phrase"].strip().lower()
    body = response.strip().strip('"').lower()
    return Finding(body.endswith(phrase), f'ends "{response.strip()[-len(phrase) :]}"')


def _quotation(response: str, _: Kwargs) -> Finding:
    body = response.strip()
    passed = len(body) > 1 and body[0] == '"' and body[-1] == '"'
    return Finding(passed, f"starts with {body[0]} and ends with {body[-1]}")


SPECS: Final = (
    CheckSpec(
        "startend:end_checker",
        lambda k: f'end with the phrase "{k["end_phrase"].strip()}"',
        _ending,
        {"end_phrase": text},
    ),
    CheckSpec("startend:quotation", lambda _: "wrapped in double quotation marks", _quotation),
)
