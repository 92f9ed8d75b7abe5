"""Checks on the structure of the whole response: repeating the prompt, giving two responses."""

from __future__ import annotations

from typing import Final

from spar_core.checks.base import Finding
from spar_core.checks.spec import CheckSpec, Kwargs, counted, text

_SEPARATOR: Final = "******"


def _repeat(response: str, kwargs: Kwargs) -> Finding:
    repeated = response.strip().lower().startswith(kwargs["prompt_to_repeat"].strip().lower())
    return Finding(repeated, "repeated first" if repeated else f'starts "{response.strip()[:40]}"')


def _two_responses(response: str, _: Kwargs) -> Finding:
    parts = response.split(_SEPARATOR)
    if any(not part.strip() for part in parts[1:-1]):
        return Finding(False, "an empty response between separators")
    filled = [part.strip() for part in parts if part.strip()]
    return Finding(
        len(filled) == 2 and filled[0] != filled[1],
        counted(len(filled), "response") if len(set(filled)) == len(filled) else "the same response twice",
    )


SPECS: Final = (
    CheckSpec(
        "combination:repeat_prompt",
        lambda k: f'first repeat, word for word, "{k["prompt_to_repeat"].strip()}"',
        _repeat,
        {"prompt_to_repeat": text},
    ),
    CheckSpec(
        "combination:two_responses",
        lambda _: f"two different responses separated by {_SEPARATOR}",
        _two_responses,
    ),
)
