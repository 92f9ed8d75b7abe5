"""The verdicts of the interference report: the paired intervals decide, whichever way they point."""

from __future__ import annotations

from pathlib import Path

import pytest

from spar_training.reports.intervals import Interval
from spar_training.reports.page import to_html
from spar_training.reports.result import write_result
from spar_training.studies.interference import prose
from spar_training.studies.interference.report import sections, to_report
from tests.support.interference_result import UP, result

DOWN, OPEN = Interval(-0.2, -0.3, -0.1, 72), Interval(0.01, -0.1, 0.1, 72)


def letters(*, ahead: Interval, length: Interval, case: Interval) -> dict[str, Interval]:
    return {
        "letters/right length/refined - interfering": ahead,
        "letters/right length/interfering - start": length,
        "letters/lower case/interfering - start": case,
    }


@pytest.mark.parametrize(
    ("ahead", "length", "case", "ends"),
    [
        (UP, OPEN, DOWN, ("As in the paper, refined pairs end ahead", "teach capitals and not the length.")),
        (UP, UP, DOWN, ("As in the paper", "teach capitals and the length as well.")),
        (OPEN, UP, OPEN, ("The paper's order is not confirmed", "do not teach capitals and the length as well.")),
        (
            DOWN,
            UP,
            DOWN,
            ("Unlike in the paper, interfering pairs end ahead", "teach capitals and the length as well."),
        ),
    ],
)
def test_letters_verdict(ahead: Interval, length: Interval, case: Interval, ends: tuple[str, str]) -> None:
    verdict = prose.verdict(letters(ahead=ahead, length=length, case=case), "letters")
    assert verdict.startswith(ends[0])
    assert verdict.endswith(ends[1])


@pytest.mark.parametrize(
    ("ahead", "change", "ends"),
    [
        (UP, DOWN, ("As in the paper", "so they do here.")),
        (UP, UP, ("As in the paper", "here they end above it (+20.0 [+10.0, +30.0]).")),
        (OPEN, OPEN, ("The paper's order is not confirmed", "here no change is shown (+1.0 [−10.0, +10.0]).")),
    ],
)
def test_story_verdict(ahead: Interval, change: Interval, ends: tuple[str, str]) -> None:
    figures = {"story/both/refined - interfering": ahead, "story/both/interfering - start": change}
    verdict = prose.verdict(figures, "story")
    assert verdict.startswith(ends[0])
    assert verdict.endswith(ends[1])


def test_the_sections_need_only_the_result_file(tmp_path: Path) -> None:
    write_result(tmp_path / "result.json", result())
    made = sections(tmp_path)
    assert [section.heading for section in made] == [
        f"Refined and interfering pairs: {prose.TITLES[task]}" for task in ("letters", "story")
    ]
    for section in made:
        ends, along = section.tables
        assert {"refined − start", "interfering − start", "refined − interfering"} <= set(ends.header)
        assert along.rows[0][0] == "0"
        assert section.figures
    page = to_html(to_report(result()))
    assert "copies of a letter" in page
    assert "How it was measured" in page
