"""The interface of an extractor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from spar_core.budget import Budget
from spar_core.checklist.items import Dropped, Item
from spar_core.types import Message


@dataclass(frozen=True, slots=True)
class Extraction:
    """The items that an extractor found, those that it dropped, and why there are none, if its call failed."""

    items: tuple[Item, ...] = ()
    dropped: tuple[Dropped, ...] = ()
    problem: str | None = None


class Extractor(Protocol):
    """Turns a conversation into items. A wrong item is worse than none: it rejects good responses."""

    @property
    def calls(self) -> int:
        """The most model calls of one extraction."""
        ...

    async def extract(self, conversation: Sequence[Message], known: Sequence[Item], *, budget: Budget) -> Extraction:
        """The items beyond the `known` ones; the same conversation gives the same items.

        Model calls are made through `budget`. A failed call is a `problem`, not an error.
        """
        ...
