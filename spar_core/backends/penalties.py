"""OpenAI's penalties for tokens that an answer already has, for engines in this process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from spar_core.errors import BackendRejected

PENALTIES: Final = ("presence_penalty", "frequency_penalty")


@dataclass(frozen=True, slots=True)
class Penalties:
    """What a token's logit loses if the answer has it at all, and for each time that the answer has it."""

    presence: float = 0.0
    frequency: float = 0.0

    def __bool__(self) -> bool:
        return bool(self.presence or self.frequency)

    def deductions(self, generated: Sequence[int]) -> tuple[list[int], list[float]]:
        """The tokens that were generated, and what the logit of each loses."""
        counts = Counter(generated)
        return list(counts), [self.presence + self.frequency * count for count in counts.values()]


def read_penalties(extra: Mapping[str, Any]) -> Penalties:
    """The penalties of a request.

    Raises:
        BackendRejected: one is not a number from -2 to 2; names the field.
    """
    return Penalties(*(_penalty(extra, name) for name in PENALTIES))


def _penalty(extra: Mapping[str, Any], name: str) -> float:
    value = extra.get(name)
    if value is None:
        return 0.0
    if isinstance(value, bool) or not isinstance(value, int | float) or not -2 <= value <= 2:
        raise BackendRejected(f"{name} must be a number from -2 to 2", status=400, param=name)
    return float(value)
