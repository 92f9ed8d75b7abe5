"""Prompts that a benchmark holds too: what is measured must not be trained on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from spar_core.errors import DataError
from spar_training.prompt_evolution.file_formats import data_files, placed_rows
from spar_training.prompt_evolution.load import SeedPrompt, turns_of
from spar_training.prompt_evolution.shingles import ShingleIndex, shingles, words

# The containment from which on a prompt counts as a benchmark's.
NEAR: Final = 0.6
_SHINGLE: Final = 3
# Fewer shared runs than these are a phrase ("what is the best way to"), not a text.
_LEAST_SHARED: Final = 4


class Named(Protocol):
    """A prompt with a name of its own."""

    @property
    def id(self) -> str: ...

    @property
    def text(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Leak:
    """A prompt and the benchmark's item that it is nearest to; `others` is how many items more it is near to.

    `containment` is the share of the smaller text's shingles that the other has too, `jaccard` the share of both
    texts' shingles that both have.
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
        how = "the same as" if self.exact else f"near ({self.containment:.2f})"
        more = f" and {self.others} more" if self.others else ""
        return f"{self.prompt} is {how} {self.item}{more}: {_short(self.text)}"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return f'"{line}"' if len(line) <= 90 else f'"{line[:87]}..."'


class Benchmarks:
    """The prompts of benchmarks, to hold others against."""

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

    def leaks(self, prompts: Iterable[Named], *, least: float = NEAR) -> list[Leak | None]:
        """For each prompt the item that it equals but for case and punctuation, or else the nearest; None for most.

        Near is a containment of `least` or more, either way: a prompt that was grown from an item holds it, and an item
        that was grown from a prompt holds that. So that stock phrases are none, four shared 3-word shingles are needed.
        """
        return [self._leak(prompt, least) for prompt in prompts]

    def worst(self, turns: Sequence[Named], *, least: float = NEAR) -> Leak | None:
        """The leak of a conversation's turns that is most like an item; None when no turn is one."""
        found = [leak for leak in self.leaks(turns, least=least) if leak]
        return max(found, key=lambda leak: (leak.exact, leak.containment, leak.jaccard), default=None)

    def _leak(self, prompt: Named, least: float) -> Leak | None:
        near = self._near(shingles(prompt.text, _SHINGLE), least)
        same = self._exact.get(_plain(prompt.text))
        if same is not None:
            near[same] = (1.0, 1.0)
        if not near:
            return None
        # Of items that hold it whole the one which is most like it, and the first of those.
        nearest = same if same is not None else max(near, key=lambda number: (*near[number], -number))
        item = self._items[nearest]
        return Leak(prompt.id, prompt.text, item.id, item.text, nearest == same, *near[nearest], others=len(near) - 1)

    def _near(self, found: frozenset[int], least: float) -> dict[int, tuple[float, float]]:
        """Containment and Jaccard similarity of the items that are near, by their number."""
        near = {}
        for number, shared in self._index.shared(found).items():
            size, known = len(found), len(self._shingles[number])
            containment = shared / min(size, known)
            if shared >= _LEAST_SHARED and containment >= least:
                near[number] = (containment, shared / (size + known - shared))
        return near


def _plain(text: str) -> str:
    # A text of symbols only has no words to go by.
    return " ".join(words(text)) or text.strip()


def read_benchmarks(paths: Sequence[Path]) -> Benchmarks:
    """The prompts of benchmark files, or of all files in a folder and below it that can be read (`prompt_files`).

    Reads IFEval's and HumanEval's `prompt`, FollowBench's `instruction`, MMLU's `question`, LLMBar's `input` and the
    other shapes of `turns_of`; of a conversation every turn of the user.

    Raises:
        DataError: a path is not there, holds no such file or data of other forms, or a file has no prompts.
    """
    items = [
        item
        for path in paths
        for file in (data_files(path) if path.is_dir() else [path])
        for item in _items(path, file)
    ]
    return Benchmarks(items)


def _items(root: Path, file: Path) -> list[SeedPrompt]:
    # LLMBar's files have one name each in several folders.
    name = str(file.relative_to(root.parent)) if root != file else f"{file.parent.name}/{file.name}"
    items = [SeedPrompt(f"{name}:{place}", text, name) for place, row in placed_rows(file) for text in turns_of(row)]
    if not items:
        raise DataError(f"{file}: no prompts found in it; --against takes a benchmark's JSON, JSONL or CSV files")
    return items


def refuse(leaks: Sequence[Leak], checked: int, *, fix: str = "--drop-leaks removes and counts them") -> None:
    """Stop for these leaks.

    Raises:
        DataError: there are any; lists them, and says what to do.
    """
    if leaks:
        listed = "\n".join(f"  {leak}" for leak in leaks)
        raise DataError(
            f"{len(leaks)} of {checked:,} prompts are in the benchmarks, or nearly:\n{listed}\n"
            f"Nothing was written. {fix}; or take them out of the file"
        )
