"""What self-play must bring to be worth its cost, and whether it was shown to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from spar_training.reports.intervals import Interval
from spar_training.studies.self_play.analysis import Findings
from spar_training.studies.self_play.prose import most
from spar_training.studies.self_play.results import Outcomes

Verdict = Literal["met", "missed", "not shown", "no fall shown", "not measured"]

LEAST_GAIN: Final = 0.05
LEAST_REMOVED: Final = 0.5


@dataclass(frozen=True, slots=True)
class Bar:
    """A claim with what was measured. `not shown`, `no fall shown`: the interval holds zero, so it may be chance."""

    claim: str
    measured: str
    verdict: Verdict


def bars(outcomes: Outcomes, findings: Findings) -> list[Bar]:
    """Each bar at the reference's last iteration that was measured."""
    return list(_bars(outcomes, findings))


def _bars(outcomes: Outcomes, findings: Findings) -> Iterator[Bar]:
    last, name = findings.last, outcomes.study.reference.name
    end = findings.point(name, last) if last else None
    gained = end.gains["prompt strict"] if end else None
    yield _bar(f"iteration {last} is at least {100 * LEAST_GAIN:.0f} points above the start", gained, LEAST_GAIN)
    search = findings.search
    added = search.over_draft["prompt strict"] if search else None
    yield _bar(f"the search adds more on top of iteration {last}", added, 0.0)
    yield _removed(f"together they remove at least {100 * LEAST_REMOVED:.0f}% of the start's errors", findings)
    refiner = findings.refiner(name, last) if last else None
    yield _kept(f"the judge's accuracy does not fall by iteration {last}", refiner.accuracy_gain if refiner else None)
    for arm in (arm for arm in outcomes.study.arms[1:] if arm.recipe.method.kind == "sampled"):
        found = findings.last_contrast(arm.name)
        ahead = _negated(found.prompt) if found else None
        at = f" after iteration {found.iteration}" if found else ""
        yield _bar(f"refined pairs beat sampled ones{at}{most(outcomes.study.base_of(arm))}", ahead, 0.0)


def _bar(claim: str, gain: Interval | None, least: float) -> Bar:
    if gain is None or not gain.n:
        return Bar(claim, "–", "not measured")
    return Bar(claim, gain.signed(), _verdict(gain, least))


def _verdict(gain: Interval, least: float) -> Verdict:
    """A gain must be above zero beyond chance, and its mean large enough."""
    if gain.low <= 0 <= gain.high:
        return "not shown"
    return "met" if gain.low > 0 and gain.mean >= least else "missed"


def _removed(claim: str, findings: Findings) -> Bar:
    removed = findings.search.errors_removed if findings.search else None
    if removed is None or not removed.n:
        return Bar(claim, "–", "not measured")
    if removed.low <= 0 <= removed.high:
        return Bar(claim, f"{removed.percent()} %", "not shown")
    return Bar(claim, f"{removed.percent()} %", "met" if removed.mean >= LEAST_REMOVED else "missed")


def _kept(claim: str, change: Interval | None) -> Bar:
    """No fall is what is claimed: a lower mean within chance is no fall shown, and no proof of none either."""
    if change is None or not change.n:
        return Bar(claim, "–", "not measured")
    if change.mean >= 0:
        return Bar(claim, change.signed(), "met")
    return Bar(claim, change.signed(), "missed" if change.high < 0 else "no fall shown")


def _negated(gain: Interval) -> Interval:
    return Interval(-gain.mean, -gain.high, -gain.low, gain.n)
