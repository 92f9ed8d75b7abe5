"""What the verifiers say of a text, asked once: arms that share a tree's beginning ask again and again."""

from __future__ import annotations

from functools import lru_cache

from spar_training.evals.world import passes
from spar_training.world.example import draw_example
from spar_training.world.prompt import Prompt, Split


class Truth:
    """Verdicts by prompt and text."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], tuple[bool, bool]] = {}

    def of(self, prompt: Prompt, text: str) -> tuple[bool, bool]:
        """Whether `text` meets all constraints, strictly and loosely. Nothing said meets none."""
        if not text:
            return (False, False)
        key = (prompt.text, text)
        if key not in self._known:
            strict = passes(prompt, text)
            self._known[key] = (strict, strict or passes(prompt, text, loose=True))
        return self._known[key]


@lru_cache(maxsize=4096)
def prompt_of(split: Split, index: int) -> Prompt:
    """The split's prompt. Finding one that can be answered takes milliseconds, and every arm asks for it."""
    return draw_example(split, index).prompt
