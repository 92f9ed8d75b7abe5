"""Contamination: find prompts that are also in a benchmark, so that models are not trained on what is measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from spar_core.errors import DataError
from spar_training.prompt_evolution.file_formats import data_files, placed_rows
from spar_training.prompt_evolution.load import SeedPrompt, turns_of
from spar_training.prompt_evolution.shingles import ShingleIndex, shingles, words

# The default containment from which a prompt counts as a benchmark's.
CONTAMINATION_THRESHOLD: Final = 0.6
_SHINGLE: Final = 3
# Fewer shared shingles are a phrase ("what is the best way to"), not a text.
_MIN_SHARED: Final = 4


class Named(Protocol):
    """A prompt with an id."""

    @property
    def id(self) -> str: ...

    @property
    def text(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Leak:
    """A prompt and the nearest item of a benchmark; `others` is the number of further items that are near.

    `containment` is the share of the smaller text's shingles that the other text also has, `jaccard` the share of all
    shingles that both texts have.
    """

    prompt: str
    text: str
    item: str
    item_text: str
    exact: bool
    containment: float
    jaccard: float
    others: int

    def __str__(self) -> str:
        relation = "the same as" if self.exact else f"near ({self.containment:.2f})"
        more = f" and {self.others} more" if self.others else ""
        return f"{self.prompt} is {relation} {self.item}{more}: {_short(self.text)}"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return f'"{line}"' if len(line) <= 90 else f'"{line[:87]}..."'


class Benchmarks:
    """The prompts of benchmarks, to compare others with."""

    def __init__(self, items: Sequence[SeedPrompt]) -> None:
        self._items = items
        self._shingles = [shingles(item.text, _SHINGLE) for item in items]
        self._index = ShingleIndex()
        self._exact: dict[str, int] = {}
        for number, item in enumerate(items):
            self._index.add(number, self._shingles[number])
            self._exact.setdefault(_plain(item.text), number)

    def __len__(self) -> int:
        return len(self._items)

    @property
    def sources(self) -> Counter[str]:
        """The number of prompts from each file."""
        return Counter(item.source for item in self._items)

    def leaks(self, prompts: Iterable[Named], *, threshold: float = CONTAMINATION_THRESHOLD) -> list[Leak | None]:
        """Return each prompt's leak, or None if it is not in a benchmark.

        A prompt leaks if it equals an item except for case and punctuation, or if their containment is at least
        `threshold` in either direction, since an evolved prompt contains its original. At least four shared 3-word
        shingles are needed, so that stock phrases do not count.
        """
        return [self._leak(prompt, threshold) for prompt in prompts]

    def worst(self, turns: Sequence[Named], *, threshold: float = CONTAMINATION_THRESHOLD) -> Leak | None:
        """Return the leak among a conversation's turns that is most similar to an item; None if there is none."""
        found = [leak for leak in self.leaks(turns, threshold=threshold) if leak]
        return max(found, key=lambda leak: (leak.exact, leak.containment, leak.jaccard), default=None)

    def _leak(self, prompt: Named, threshold: float) -> Leak | None:
        near = self._near(shingles(prompt.text, _SHINGLE), threshold)
        same = self._exact.get(_plain(prompt.text))
        if same is not None:
            near[same] = (1.0, 1.0)
        if not near:
            return None
        # Among items with the same containment the most similar one, and the first of those.
        nearest = same if same is not None else max(near, key=lambda number: (*near[number], -number))
        item = self._items[nearest]
        return Leak(prompt.id, prompt.text, item.id, item.text, nearest == same, *near[nearest], others=len(near) - 1)

    def _near(self, found: frozenset[int], threshold: float) -> dict[int, tuple[float, float]]:
        """Return the containment and Jaccard similarity of the items that are near, by their number."""
        near = {}
        for number, shared in self._index.shared(found).items():
            size, known = len(found), len(self._shingles[number])
            containment = shared / min(size, known)
            if shared >= _MIN_SHARED and containment >= threshold:
                near[number] = (containment, shared / (size + known - shared))
        return near


def _plain(text: str) -> str:
    # A text of symbols has no words to compare.
    return " ".join(words(text)) or text.strip()


def read_benchmarks(paths: Sequence[Path]) -> Benchmarks:
    """Read the prompts of benchmark files, or of all data files in and below a folder.

    Reads IFEval's and HumanEval's `prompt`, FollowBench's `instruction`, MMLU's `question`, LLMBar's `input` and the
    other shapes of `turns_of`; of a conversation, every user turn.

    Raises:
        DataError: a path is missing, has no data files or data in other formats, or a file has no prompts.
    """
    items = [
        item
        for path in paths
        for file in (data_files(path) if path.is_dir() else [path])
        for item in _items(path, file)
    ]
    return Benchmarks(items)


def _items(root: Path, file: Path) -> list[SeedPrompt]:
    # LLMBar's files have the same name in several folders.
    name = str(file.relative_to(root.parent)) if root != file else f"{file.parent.name}/{file.name}"
    items = [SeedPrompt(f"{name}:{place}", text, name) for place, row in placed_rows(file) for text in turns_of(row)]
    if not items:
        raise DataError(f"{file}: no prompts found; --benchmark takes a benchmark's JSON, JSONL or CSV files")
    return items


def refuse(leaks: Sequence[Leak], checked: int, *, fix: str = "--drop-leaks removes and counts them") -> None:
    """Refuse to continue if there are leaks.

    Raises:
        DataError: there are leaks; lists them, and says what to do.
    """
    if leaks:
        listed = "\n".join(f"  {leak}" for leak in leaks)
        raise DataError(
            f"{len(leaks)} of {checked:,} prompts are in the benchmarks, or nearly:\n{listed}\n"
            f"Nothing was written. {fix}; or take them out of the file"
        )
