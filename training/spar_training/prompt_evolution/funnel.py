"""The way of prompts through filter after filter: how many each took out and why, and which."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from spar_training.prompt_evolution.filters.quality import Removal
from spar_training.storage.files import Row


class Candidate(Protocol):
    """A prompt on its way."""

    @property
    def id(self) -> str: ...

    @property
    def text(self) -> str: ...


C = TypeVar("C", bound=Candidate)


@dataclass(frozen=True, slots=True)
class Stage:
    """`taken` prompts came in, `kept` went on, and `removed` says how many were taken out for which reason."""

    name: str
    taken: int
    kept: int
    removed: dict[str, int]

    def __str__(self) -> str:
        why = ", ".join(f"{count:,} {reason}" for reason, count in self.removed.items())
        return f"{self.name}: {self.kept:,} of {self.taken:,}{f' ({why})' if why else ''}"


class Funnel:
    """Collects the stages and every prompt that was removed. `tell` hears of each stage as it is done."""

    def __init__(self, tell: Callable[[Stage], None] = lambda stage: None) -> None:
        self.stages: list[Stage] = []
        self.removed: list[Row] = []
        self._tell = tell

    def sift(self, name: str, prompts: Sequence[C], removals: Sequence[Removal | None]) -> list[C]:
        """The prompts without a removal, one for each prompt, in order."""
        kept: list[C] = []
        reasons: Counter[str] = Counter()
        for prompt, removal in zip(prompts, removals, strict=True):
            if removal is None:
                kept.append(prompt)
                continue
            reasons[removal.reason] += 1
            self.removed.append(
                {
                    "id": prompt.id,
                    "stage": name,
                    "reason": removal.reason,
                    "detail": removal.detail,
                    "text": prompt.text,
                }
            )
        self.stages.append(Stage(name, len(prompts), len(kept), dict(reasons.most_common())))
        self._tell(self.stages[-1])
        return kept
