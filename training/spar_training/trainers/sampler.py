"""Order rows for training: at random, but with rows of similar length in a batch, so that little is padding.

The order depends on the seed and the epoch's number alone, so a resumed training sees exactly the batches of an
uninterrupted one.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Final

from torch.utils.data import Sampler

_BATCHES_SORTED_TOGETHER: Final = 50


class LengthGrouped(Sampler[int]):
    """Yields each row number once per epoch. Rows are shuffled, sorted by length within chunks of 50 batches, and then
    the batches are shuffled. A batch is the `batch` rows of one step, over all devices.
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
        # An incomplete batch comes last: elsewhere it would shift all that follow.
        full = [batch for batch in batches if len(batch) == self._batch]
        rng.shuffle(full)
        for batch in [*full, *(batch for batch in batches if len(batch) < self._batch)]:
            yield from batch

    def _batches(self, rows: Sequence[int]) -> list[Sequence[int]]:
        return [rows[at : at + self._batch] for at in range(0, len(rows), self._batch)]
