"""Build checks by id, and verify a response against several, strictly or loosely."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from spar_core.checks import (
    case,
    combination,
    content,
    form,
    keywords,
    language,
    length,
    punctuation,
    startend,
)
from spar_core.checks.base import Check, Finding
from spar_core.checks.spec import CheckSpec, bind
from spar_core.errors import RequestError

_FAMILIES: Final = (keywords, length, form, content, case, punctuation, startend, combination, language)
_SPECS: Final[dict[str, CheckSpec]] = {spec.id: spec for family in _FAMILIES for spec in family.SPECS}
CHECK_IDS: Final[tuple[str, ...]] = tuple(sorted(_SPECS))


def build_check(id: str, kwargs: Mapping[str, Any]) -> Check:
    """The check of IFEval's type `id` with IFEval's kwargs (None values are ignored).

    Raises:
        RequestError: the id is unknown, or a kwarg is unknown, missing or of the wrong kind.
    """
    if id not in _SPECS:
        near = difflib.get_close_matches(str(id), CHECK_IDS, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(CHECK_IDS)}"
        raise RequestError(f"there is no check {id!r}; {hint}", param="id")
    return bind(_SPECS[id], kwargs)


def verify(checks: Sequence[Check], response: str, *, loose: bool = False) -> tuple[Finding, ...]:
    """Each check's finding on `response`, in order.

    `loose` is IFEval's loose mode: a check passes if it passes on the response or on one of its variants
    without the first line, the last line or both, with and without asterisks. A failed finding's
    evidence is that of the response as it stands.
    """
    if not loose:
        return tuple(check.find(response) for check in checks)
    variants = _variants(response)
    return tuple(_loosely(check, response, variants) for check in checks)


def _loosely(check: Check, response: str, variants: Sequence[str]) -> Finding:
    strict = check.find(response)
    if strict.passed:
        return strict
    return next((found for text in variants if (found := check.find(text)).passed), strict)


def _variants(response: str) -> list[str]:
    """What loose mode tries besides the response as it stands, each text once."""
    lines = response.split("\n")
    cuts = [response, *("\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1]))]
    unstarred = [cut.replace("*", "") for cut in cuts]
    return [text for text in dict.fromkeys((*cuts, *unstarred)) if text != response]
