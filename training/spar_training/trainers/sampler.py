"""The order in which rows are trained on: at random, rows of about one length in a batch to pad little.

An epoch's order is a function of the seed and the epoch's number, so that a resumed training takes the very batches
that an uninterrupted one takes.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Final

from torch.utils.data import Sampler

_BATCHES_SORTED_TOGETHER: Final = 50


class LengthGrouped(Sampler[int]):
    """Row numbers, each once an epoch. Rows are shuffled, sorted by length within stretches of 50 batches, and these
    stretches' batches shuffled again. `batch` rows, over all devices, make one step.
    """

    def __init__(self, lengths: Sequence[int], *, batch: int, seed: int) -> None:
        self._lengths = lengths
        self._batch = batch
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer before each epoch."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        rng = random.Random(f"{self._seed}-{self._epoch}")
        order = list(range(len(self._lengths)))
        rng.shuffle(order)
        stretch = self._batch * _BATCHES_SORTED_TOGETHER
        batches = [
            batch
            for at in range(0, len(order), stretch)
            for batch in self._batches(sorted(order[at : at + stretch], key=self._lengths.__getitem__))
        ]
        # A batch that is not full comes last: elsewhere it would shift all that follow it.
        whole = [batch for batch in batches if len(batch) == self._batch]
        rng.shuffle(whole)
        for batch in [*whole, *(batch for batch in batches if len(batch) < self._batch)]:
            yield from batch

    def _batches(self, rows: Sequence[int]) -> list[Sequence[int]]:
        return [rows[at : at + self._batch] for at in range(0, len(rows), self._batch)]
