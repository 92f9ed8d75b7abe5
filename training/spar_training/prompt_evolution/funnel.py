"""The funnel of filters: how many prompts each stage removed, which ones, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from spar_training.prompt_evolution.filters.quality import Removal
from spar_training.storage.files import Row


class Candidate(Protocol):
    """A prompt in the funnel."""

    @property
    def id(self) -> str: ...

    @property
    def text(self) -> str: ...


C = TypeVar("C", bound=Candidate)


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage of the funnel: `taken` prompts in, `kept` prompts out, and the number `removed` by reason."""

    name: str
    taken: int
    kept: int
    removed: dict[str, int]

    def __str__(self) -> str:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in self.removed.items())
        return f"{self.name}: {self.kept:,} of {self.taken:,}{f' ({reasons})' if reasons else ''}"


class Funnel:
    """Collects the stages and every removed prompt. `on_stage` receives each stage when it is done."""

    def __init__(self, on_stage: Callable[[Stage], None] = lambda stage: None) -> None:
        self.stages: list[Stage] = []
        self.removed: list[Row] = []
        self._on_stage = on_stage

    def sift(self, name: str, prompts: Sequence[C], removals: Sequence[Removal | None]) -> list[C]:
        """Return the prompts whose entry in `removals` is None, in order."""
        remaining: list[C] = []
        reasons: Counter[str] = Counter()
        for prompt, removal in zip(prompts, removals, strict=True):
            if removal is None:
                remaining.append(prompt)
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
        self.stages.append(Stage(name, len(prompts), len(remaining), dict(reasons.most_common())))
        self._on_stage(self.stages[-1])
        return remaining
