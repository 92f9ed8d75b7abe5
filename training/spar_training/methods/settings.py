"""The settings of a training method: the recipe's `method`."""

from __future__ import annotations

from spar_core.validation import StrictModel


class MethodSettings(StrictModel):
    """Subclass it for a method with settings of its own.

    class MySettings(MethodSettings):
        kind: Literal["mine"] = "mine"
        rounds: int = 2
    """

    kind: str
