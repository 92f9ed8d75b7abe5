"""A checklist: what a response is checked for, item by item, and what was left off."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from spar_core.checklist.conflicts import conflict_of
from spar_core.checks import Check

# Who put an item on the list: the request, the rules that recognize wordings, or a model.
Source = Literal["request", "rules", "model"]

# The most items that are extracted from one conversation.
MOST_EXTRACTED: Final = 32
# What is judged if nothing else is on the list.
EVERYTHING: Final = "do everything that the instruction asks for"


@dataclass(frozen=True, slots=True)
class Item:
    """One requirement: a check that code verifies, or words that a model judges if `check` is None."""

    requirement: str
    source: Source
    check: Check | None = None

    @classmethod
    def of(cls, check: Check, source: Source) -> Item:
        return cls(check.requirement(), source, check)


@dataclass(frozen=True, slots=True)
class Dropped:
    """An extracted item that was left off the list, and why."""

    item: Item
    reason: str


@dataclass(frozen=True, slots=True)
class Checklist:
    """The items in order, the request's first, and those that were dropped.

    `problem` says why a model's items are missing, if its call failed.
    """

    items: tuple[Item, ...]
    dropped: tuple[Dropped, ...] = ()
    problem: str | None = None

    @property
    def extracted(self) -> tuple[Item, ...]:
        """The checks that the request did not give itself."""
        return tuple(item for item in self.items if item.check is not None and item.source != "request")

    @property
    def is_everything(self) -> bool:
        """Whether nothing is listed but the instruction as a whole."""
        return [item.requirement for item in self.items] == [EVERYTHING]

    @property
    def in_words(self) -> tuple[Item, ...]:
        return tuple(item for item in self.items if item.check is None)

    def without(self, dropped: Sequence[Dropped]) -> Checklist:
        """The list without items that were dropped later."""
        gone = [each.item for each in dropped]
        return complete([item for item in self.items if item not in gone], (*self.dropped, *dropped), self.problem)


def complete(items: Iterable[Item], dropped: Iterable[Dropped] = (), problem: str | None = None) -> Checklist:
    """A checklist of these items, or of the instruction as a whole if there are none: nothing would be rejected."""
    listed = tuple(items) or (Item(EVERYTHING, "request"),)
    return Checklist(listed, tuple(dropped), problem)


def add_extracted(given: Sequence[Item], extracted: Sequence[Item]) -> tuple[list[Item], list[Dropped]]:
    """The given items and those extracted ones that can be met together with all others.

    Of a given and an extracted item that contradict each other, the given one stays; of two extracted ones neither,
    because one of them is wrong and nothing says which.
    """
    fresh = [item for item in _unique(extracted) if not _known(item, given)][:MOST_EXTRACTED]
    dropped: list[Dropped] = []
    kept: list[Item] = []
    for item in fresh:
        others = [other for other in (*given, *fresh) if other is not item]
        reason = next((reason for other in others if (reason := _contradiction(item, other))), None)
        if reason is None:
            kept.append(item)
        else:
            dropped.append(Dropped(item, reason))
    return [*given, *kept], dropped


def _contradiction(item: Item, other: Item) -> str | None:
    if item.check is None or other.check is None or not (reason := conflict_of(item.check, other.check)):
        return None
    return f'cannot be met together with "{other.requirement}": {reason}'


def _unique(items: Sequence[Item]) -> list[Item]:
    unique: list[Item] = []
    for item in items:
        if not _known(item, unique):
            unique.append(item)
    return unique


def _known(item: Item, items: Sequence[Item]) -> bool:
    if item.check is None:
        plain = _plain(item.requirement)
        return any(_plain(other.requirement) == plain for other in items)
    return any(
        other.check is not None
        and other.check.id == item.check.id
        and dict(other.check.kwargs) == dict(item.check.kwargs)
        for other in items
    )


def _plain(text: str) -> str:
    return "".join(filter(str.isalnum, text.lower()))
