"""True critiques: the findings of the checks in the form that the refiner learns to write.

A judgement restates each constraint with its evidence and a yes or no, and ends with the verdict. A refinement starts
with what has to change.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from spar_core.checks import Check, Finding

_LONGEST_EVIDENCE: Final = 80


def critique(checks: Sequence[Check], findings: Sequence[Finding]) -> str:
    """Write the judgement of a response; `findings` correspond to `checks`.

    Example:
        1. no commas: comma after "Paris" -> no
        2. at least 3 sentences: 4 sentences -> yes
        Final Judgement: No
    """
    lines = [
        f"{number}. {_on_one_line(check.requirement())}: {_evidence(finding)} -> {'yes' if finding.passed else 'no'}"
        for number, (check, finding) in enumerate(zip(checks, findings, strict=True), start=1)
    ]
    verdict = "Yes" if all(finding.passed for finding in findings) else "No"
    return "\n".join([*lines, f"Final Judgement: {verdict}"])


def refinement(checks: Sequence[Check], findings: Sequence[Finding], refined: str) -> str:
    """Write a refinement: what has to change, then the refined response between its markers."""
    failed = [
        _on_one_line(check.requirement()) for check, finding in zip(checks, findings, strict=True) if not finding.passed
    ]
    return f"To change: {'; '.join(failed)}.\n[[start]]\n{refined}\n[[end]]"


def _evidence(finding: Finding) -> str:
    # A model cannot see where a JSON parser stopped.
    text = "not JSON" if finding.evidence.startswith("not JSON") else finding.evidence
    return _on_one_line(text)


def _on_one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_EVIDENCE else f"{line[: _LONGEST_EVIDENCE - 3]}..."
