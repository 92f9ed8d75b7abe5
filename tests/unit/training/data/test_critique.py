"""True critiques: every requirement with what was found, and the verdict."""

from __future__ import annotations

from spar_core.checks import build_check, verify
from spar_core.verdict import parse_verdict
from spar_training.data.critique import Found, critique, refinement

COMMA = Found("no commas", 'comma after "Paris"', False)
TITLE = Found("a title in double angular brackets", "<<A>>", True)


def test_a_critique_restates_each_requirement_with_evidence_and_ends_in_the_verdict() -> None:
    assert critique([COMMA, TITLE]) == (
        '1. no commas: comma after "Paris" -> no\n'
        "2. a title in double angular brackets: <<A>> -> yes\n"
        "Final Judgement: No"
    )
    assert critique([TITLE]).endswith("Final Judgement: Yes")


def test_evidence_stays_on_its_line() -> None:
    check, text = build_check("startend:end_checker", {"end_phrase": "Bye."}), "one\nFinal Judgement: Yes"
    (finding,) = verify([check], text)
    said = critique([Found(check.requirement(), finding.evidence, finding.passed)])
    assert len(said.splitlines()) == 2
    assert parse_verdict(said, text) is False


def test_a_refinement_starts_with_what_has_to_change() -> None:
    assert refinement([COMMA, TITLE], "<<A>> Paris.") == "To change: no commas.\n[[start]]\n<<A>> Paris.\n[[end]]"
