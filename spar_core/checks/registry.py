"""Build checks by id, and verify a response against several, strictly or loosely."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from spar_core.checks import case, combination, content, keywords, language, layout, length, punctuation, startend
from spar_core.checks.base import Check, Finding
from spar_core.checks.response_format import RESPONSE_FORMAT
from spar_core.checks.spec import CheckSpec, bind
from spar_core.errors import RequestError

_FAMILIES: Final = (keywords, length, layout, content, case, punctuation, startend, combination, language)
_SPECS: Final[dict[str, CheckSpec]] = {spec.id: spec for family in _FAMILIES for spec in family.SPECS}
# About a second, in the unit of `Check.work`.
MOST_WORK: Final = 200_000_000
# Of a response, in characters; no model that answers in text writes as much.
_LONGEST: Final = 1_000_000
_TOO_MUCH: Final = "too much work to verify; ask for fewer words or checks, or a shorter response"
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

    What would take more than a second fails without being looked at: a response of over a million characters, and the
    checks for which the others have left no time.
    """
    if not loose:
        return tuple(_within_limits(checks, response))
    variants = _variants(response)
    return tuple(_loosely(check, response, variants) for check in checks)


def work_of(checks: Sequence[Check], response: str) -> int:
    """What `verify` has to do at the most, in the unit of `Check.work`."""
    return min(MOST_WORK, sum(check.work(response) for check in checks))


def _within_limits(checks: Sequence[Check], response: str) -> Iterator[Finding]:
    left = MOST_WORK if len(response) <= _LONGEST else 0
    for check in checks:
        work = check.work(response)
        if work <= left:
            left -= work
            yield check.find(response)
        else:
            yield Finding(False, _TOO_MUCH, form=check.id == RESPONSE_FORMAT)


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
