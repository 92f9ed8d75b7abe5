"""What an attack measured, and the bar that it must stay under."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Outcome:
    """One figure of one attack. `detail` says what exceeded the bar, where a number does not."""

    attack: str
    figure: float
    unit: str
    bar: float
    detail: str = ""

    @property
    def passed(self) -> bool:
        return self.figure <= self.bar

    def row(self) -> str:
        """The outcome as a line of the table."""
        figure, bar = f"{self.figure:,.1f} {self.unit}", f"{self.bar:,.1f} {self.unit}"
        line = f"  {'ok  ' if self.passed else 'FAIL'}  {self.attack:<64} {figure:>16}  at most {bar:>14}"
        return line if self.passed or not self.detail else f"{line}\n        {self.detail}"


def none_of(attack: str, found: Sequence[str]) -> Outcome:
    """An outcome that passes only where nothing was found; `found` names what was."""
    return Outcome(attack, len(found), "found", 0, "; ".join(found)[:1500])
