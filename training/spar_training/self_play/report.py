"""A study's report as plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from spar_training.reports.page import Report, Section, Table
from spar_training.self_play.ablation_section import ablation_section
from spar_training.self_play.bars import Bar, bars
from spar_training.self_play.contrast_section import contrast_sections
from spar_training.self_play.findings import Findings
from spar_training.self_play.method_section import method_section, missing_section
from spar_training.self_play.outcomes import Outcomes
from spar_training.self_play.progress_section import progress_section
from spar_training.self_play.wording import summary


def to_report(
    outcomes: Outcomes, findings: Findings, *, config: Mapping[str, Any], extra: Sequence[Section] = ()
) -> Report:
    """The report; a part that was not run is left out, and said to be missing. `extra` stands before the method."""
    found = bars(outcomes, findings)
    sections = [
        _bars_section(found),
        progress_section(outcomes, findings),
        *contrast_sections(outcomes, findings),
        ablation_section(outcomes, findings),
        *extra,
        missing_section(outcomes),
        method_section(outcomes, config),
    ]
    return Report("Self-play", summary(outcomes, findings), [section for section in sections if section])


def _bars_section(found: Sequence[Bar]) -> Section:
    text = (
        "Accuracies are strict, by prompt. `not shown` means that the interval holds zero, so that the difference may "
        "be chance."
    )
    return Section(
        "What was to be shown",
        text,
        [Table(["claim", "measured", "verdict"], [[b.claim, b.measured, b.verdict] for b in found])],
    )
