"""What a rule is: a function that finds one kind of constraint in a sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from spar_core.checklist.rules.passage import Passage, Sentence

# A check's id and kwargs.
Found = tuple[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Rule:
    """`find` is called with sentences whose plain form has one of the `triggers`, because patterns are slow to try."""

    find: Callable[[Sentence, Passage], Iterable[Found]]
    triggers: tuple[str, ...]

    def applies(self, sentence: Sentence) -> bool:
        return any(trigger in sentence.plain for trigger in self.triggers)
