"""What a verifiable constraint is.

A check has an IFEval id, IFEval's kwargs, a short statement of what it requires, and a verdict with
evidence for any response. Checks are deterministic and load no model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Finding:
    """One check's verdict on one response. `evidence` says what was found, in a few words.

    Of a `form`, what fails it is of no use to who asked for it, however good it is otherwise.
    """

    passed: bool
    evidence: str
    form: bool = False


class Check(Protocol):
    """One verifiable constraint with its parameters bound."""

    @property
    def id(self) -> str:
        """IFEval's id, e.g. `length_constraints:number_sentences`."""
        ...

    @property
    def kwargs(self) -> Mapping[str, Any]:
        """IFEval's kwargs, without the ones that are None."""
        ...

    def requirement(self) -> str:
        """What is asked, as a short noun or verb phrase: `at least 3 sentences`."""
        ...

    def work(self, response: str) -> int:
        """What `find` has to do, as characters that are searched for one word: some five nanoseconds each."""
        ...

    def find(self, response: str) -> Finding:
        """Verify `response` as it stands (IFEval's strict mode)."""
        ...
