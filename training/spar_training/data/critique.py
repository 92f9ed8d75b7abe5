"""True critiques: what code found about each requirement, in the form that the refiner learns to write.

A judgement restates each requirement with its evidence and a yes or no, and ends with the verdict. A refinement starts
with what has to change.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

_LONGEST_EVIDENCE: Final = 80


class Found(NamedTuple):
    """What was found about one requirement."""

    requirement: str
    evidence: str
    passed: bool


def critique(found: Sequence[Found]) -> str:
    """Write the judgement of a response.

    Example:
        1. no commas: comma after "Paris" -> no
        2. at least 3 sentences: 4 sentences -> yes
        Final Judgement: No
    """
    lines = [
        f"{number}. {_on_one_line(one.requirement)}: {_evidence(one)} -> {'yes' if one.passed else 'no'}"
        for number, one in enumerate(found, start=1)
    ]
    verdict = "Yes" if all(one.passed for one in found) else "No"
    return "\n".join([*lines, f"Final Judgement: {verdict}"])


def refinement(found: Sequence[Found], refined: str) -> str:
    """Write a refinement: what has to change, then the refined response between its markers."""
    failed = [_on_one_line(one.requirement) for one in found if not one.passed]
    return f"To change: {'; '.join(failed)}.\n[[start]]\n{refined}\n[[end]]"


def _evidence(found: Found) -> str:
    # A model cannot see where a JSON parser stopped.
    text = "not JSON" if found.evidence.startswith("not JSON") else found.evidence
    return _on_one_line(text)


def _on_one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_EVIDENCE else f"{line[: _LONGEST_EVIDENCE - 3]}..."
