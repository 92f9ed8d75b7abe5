"""True critiques: what the checks found, in the form that the refiner is trained to write.

A judgement goes through the constraints one by one, each restated with its evidence and a yes or no, and ends in the
verdict. A refinement begins with what has to change.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from spar_core.checks import Check, Finding

_LONGEST_EVIDENCE: Final = 80


def critique(checks: Sequence[Check], findings: Sequence[Finding]) -> str:
    """The judgement of a response; `findings` belong to `checks` one by one.

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
    """A refiner's reply: what failed and so has to change, then the refined response between its markers."""
    failed = [
        _on_one_line(check.requirement()) for check, finding in zip(checks, findings, strict=True) if not finding.passed
    ]
    return f"To change: {'; '.join(failed)}.\n[[start]]\n{refined}\n[[end]]"


def _evidence(finding: Finding) -> str:
    # Where in a text a JSON parser stopped is nothing that a model can find by reading.
    text = "not JSON" if finding.evidence.startswith("not JSON") else finding.evidence
    return _on_one_line(text)


def _on_one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_EVIDENCE else f"{line[: _LONGEST_EVIDENCE - 3]}..."
