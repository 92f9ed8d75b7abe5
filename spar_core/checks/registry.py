"""Build checks by id, and verify a response against several, strictly or loosely.

A set of checks is a file or a folder here with its `SPECS`, and its name in `_SETS`; in a folder, each family of checks
is one file. Another package registers a `CheckSpec` by the entry point `spar.checks`, under the spec's id.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from spar_core.checks import ifbench_train, ifeval
from spar_core.checks.base import Check, Finding
from spar_core.checks.response_format import RESPONSE_FORMAT
from spar_core.checks.spec import CheckSpec, bind
from spar_core.errors import ConfigError, RequestError
from spar_core.plugins import Registry

_SETS: Final = (ifeval, ifbench_train)
# The ids of IFEval's types, those of IFBench's types for training, and those of all sets.
IFEVAL_IDS: Final[tuple[str, ...]] = tuple(sorted(spec.id for spec in ifeval.SPECS))
IFBENCH_TRAIN_IDS: Final[tuple[str, ...]] = tuple(sorted(spec.id for spec in ifbench_train.SPECS))
BUILT_IN_IDS: Final[tuple[str, ...]] = tuple(id for each in _SETS for id in sorted(spec.id for spec in each.SPECS))
CHECKS: Final[Registry[CheckSpec]] = Registry(
    "spar.checks", {spec.id: spec for each in _SETS for spec in each.SPECS}, kind="check"
)
# The most work of one verification, about a second, in the unit of `Check.work`.
MOST_WORK: Final = 200_000_000
# The longest response that is verified, in characters; no model that answers in text writes as much.
_LONGEST: Final = 1_000_000
_TOO_MUCH: Final = "too much work to verify; ask for fewer words or checks, or a shorter response"


def build_check(id: str, kwargs: Mapping[str, Any]) -> Check:
    """The check with this id, built in or a package's, and its kwargs; None values are ignored.

        build_check("length_constraints:number_words", {"relation": "at least", "num_words": 20})

    Raises:
        RequestError: the id is unknown, or a kwarg is unknown, missing or of the wrong kind.
        ConfigError: a package's check cannot be loaded, or has another id than its entry point.
    """
    if id not in CHECKS:
        raise RequestError(CHECKS.unknown(str(id)), param="id")
    spec = CHECKS[id]
    if spec.id != id:
        raise ConfigError(f"the entry point {id!r} of {CHECKS.group} names a check with the id {spec.id!r}; use one id")
    return bind(spec, kwargs)


def verify(checks: Sequence[Check], response: str, *, loose: bool = False) -> tuple[Finding, ...]:
    """Each check's finding on `response`, in order.

    `loose` is IFEval's loose mode: a check passes if it passes on the response or on a variant without the first line,
    the last line or both, with and without asterisks. The evidence of a failed finding is that of the response as it
    stands.

    Work is bounded to about a second: a response of over a million characters fails every check unread, and so do the
    checks beyond the bound.
    """
    if not loose:
        return tuple(_within_limits(checks, response))
    variants = _variants(response)
    return tuple(_loosely(check, response, variants) for check in checks)


def work_of(checks: Sequence[Check], response: str) -> int:
    """The most work of `verify`, in the unit of `Check.work`."""
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
    """The other texts that loose mode tries, each once."""
    lines = response.split("\n")
    cuts = [response, *("\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1]))]
    unstarred = [cut.replace("*", "") for cut in cuts]
    return [text for text in dict.fromkeys((*cuts, *unstarred)) if text != response]
