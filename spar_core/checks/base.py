"""The interface of a verifiable constraint.

A check has an id and kwargs, as in IFEval, a short statement of what it requires, and for any response a verdict with
evidence. Checks are deterministic and load no model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from spar_core.frozen import frozen


@frozen
class Finding:
    """One check's verdict on one response. `evidence` says what was found, in a few words.

    `form` marks a check of the response's format: a response that fails it is unusable, however good it is otherwise.
    """

    passed: bool
    evidence: str
    form: bool = False


class Check(Protocol):
    """One verifiable constraint with its parameters bound."""

    @property
    def id(self) -> str:
        """The id, e.g. IFEval's `length_constraints:number_sentences`."""
        ...

    @property
    def kwargs(self) -> Mapping[str, Any]:
        """The kwargs, without those that are None."""
        ...

    def requirement(self) -> str:
        """The requirement, as a short noun or verb phrase: `at least 3 sentences`."""
        ...

    def work(self, response: str) -> int:
        """The cost of `find`, in characters searched for one word, about five nanoseconds each."""
        ...

    def find(self, response: str) -> Finding:
        """Verify `response` as it stands (IFEval's strict mode)."""
        ...
