"""The criteria that self-play must meet to be worth its cost, and whether the study shows that it does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from spar_training.reports.intervals import Interval
from spar_training.studies.self_play.analysis import Findings
from spar_training.studies.self_play.prose import cap_suffix
from spar_training.studies.self_play.results import Outcomes

Verdict = Literal["met", "missed", "not shown", "no fall shown", "not measured"]

MIN_GAIN: Final = 0.05
MIN_ERRORS_REMOVED: Final = 0.5


@dataclass(frozen=True, slots=True)
class Criterion:
    """A claim with its measurement. `not shown` and `no fall shown`: the interval contains zero."""

    claim: str
    measured: str
    verdict: Verdict


def criteria(outcomes: Outcomes, findings: Findings) -> list[Criterion]:
    """Evaluate each criterion at the reference's last measured iteration."""
    return list(_criteria(outcomes, findings))


def _criteria(outcomes: Outcomes, findings: Findings) -> Iterator[Criterion]:
    last, name = findings.last, outcomes.study.reference.name
    end = findings.point(name, last) if last else None
    gain = end.gains["prompt strict"] if end else None
    yield _gain_criterion(f"iteration {last} is at least {100 * MIN_GAIN:.0f} points above the start", gain, MIN_GAIN)
    search = findings.search
    added = search.over_draft["prompt strict"] if search else None
    yield _gain_criterion(f"the search improves further on iteration {last}", added, 0.0)
    yield _errors_removed_criterion(
        f"together they remove at least {100 * MIN_ERRORS_REMOVED:.0f}% of the errors at the start", findings
    )
    refiner = findings.refiner(name, last) if last else None
    yield _no_fall_criterion(
        f"the judge's accuracy does not fall by iteration {last}", refiner.accuracy_gain if refiner else None
    )
    for arm in (arm for arm in outcomes.study.arms[1:] if arm.recipe.method.kind == "sampled"):
        found = findings.last_contrast(arm.name)
        ahead = _negated(found.prompt) if found else None
        at = f" after iteration {found.iteration}" if found else ""
        yield _gain_criterion(
            f"refined pairs beat sampled ones{at}{cap_suffix(outcomes.study.base_of(arm))}", ahead, 0.0
        )


def _gain_criterion(claim: str, gain: Interval | None, least: float) -> Criterion:
    if gain is None or not gain.n:
        return Criterion(claim, "–", "not measured")
    return Criterion(claim, gain.signed(), _verdict(gain, least))


def _verdict(gain: Interval, least: float) -> Verdict:
    """A gain must be significantly above zero, and its mean large enough."""
    if gain.low <= 0 <= gain.high:
        return "not shown"
    return "met" if gain.low > 0 and gain.mean >= least else "missed"


def _errors_removed_criterion(claim: str, findings: Findings) -> Criterion:
    removed = findings.search.errors_removed if findings.search else None
    if removed is None or not removed.n:
        return Criterion(claim, "–", "not measured")
    if removed.low <= 0 <= removed.high:
        return Criterion(claim, f"{removed.percent()} %", "not shown")
    return Criterion(claim, f"{removed.percent()} %", "met" if removed.mean >= MIN_ERRORS_REMOVED else "missed")


def _no_fall_criterion(claim: str, change: Interval | None) -> Criterion:
    """The claim is that there is no fall; a lower mean within the interval shows neither a fall nor its absence."""
    if change is None or not change.n:
        return Criterion(claim, "–", "not measured")
    if change.mean >= 0:
        return Criterion(claim, change.signed(), "met")
    return Criterion(claim, change.signed(), "missed" if change.high < 0 else "no fall shown")


def _negated(gain: Interval) -> Interval:
    return Interval(-gain.mean, -gain.high, -gain.low, gain.n)
