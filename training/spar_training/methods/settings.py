"""The settings of a training method: the recipe's `method`."""

from __future__ import annotations

from pydantic import Field

from spar_core.validation import StrictModel


class MethodSettings(StrictModel):
    """Subclass it for a method with settings of its own.

    class MySettings(MethodSettings):
        kind: Literal["mine"] = "mine"
        rounds: int = 2
    """

    kind: str = Field(description="name of a method; without `method`, it is `spar`")
