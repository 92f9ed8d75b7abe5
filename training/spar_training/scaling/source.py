"""Where the pair that is benched comes from: a folder, or URLs."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from spar_training.scaling.stage import Pair


class Source(Protocol):
    """A pair that can be opened, once for many searches and once to be timed."""

    @property
    def name(self) -> str:
        """What reports call it."""
        ...

    @property
    def identities(self) -> list[str]:
        """What the actor's and the refiner's completions are a function of, besides the call: names for the store."""
        ...

    @property
    def config(self) -> Mapping[str, Any]:
        """What the result's configuration says of it, besides its name."""
        ...

    @property
    def lineage(self) -> Mapping[str, Mapping[str, Any]]:
        """Each role's model, as far as it can be told."""
        ...

    def opened(self, *, searches: int | None) -> AbstractAsyncContextManager[Pair]:
        """The pair: for so many searches at once, as wide as that is fast; with None, as a server has it."""
        ...
