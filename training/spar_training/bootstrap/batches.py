"""Batches of rows of similar length, padded on the right, in an order that depends only on the seed."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import torch

from spar_training.bootstrap.recipe import Stage, TaskName
from spar_training.bootstrap.tasks import Row, Tasks

# Rows are drawn this many at a time, then sorted by length; enough to need little padding.
_POOL_ROWS: Final = 512
_ROUND: Final = 16
_USUAL_LENGTH: Final[dict[TaskName, float]] = {"copy": 48.0, "actor": 72.0, "refiner": 120.0, "own": 120.0}


@dataclass(frozen=True)
class Batch:
    """`ids`: int64 (rows, length). `source`: flat positions whose next token is a target.

    `targets`: those tokens; `weights`: their weights in the loss.
    """

    ids: torch.Tensor
    source: torch.Tensor
    targets: torch.Tensor
    weights: torch.Tensor

    @property
    def tokens(self) -> int:
        return self.ids.numel()


def collate(rows: Sequence[Row], *, pad: int) -> Batch:
    """Pad rows on the right; with causal attention no real token attends to the padding."""
    longest = max(len(ids) for ids, _ in rows)
    length = (longest + _ROUND - 1) // _ROUND * _ROUND
    ids = torch.full((len(rows), length), pad, dtype=torch.long)
    wanted: list[tuple[int, float]] = []
    for number, (tokens, weights) in enumerate(rows):
        ids[number, : len(tokens)] = torch.tensor(tokens)
        wanted += [(number * length + place - 1, weight) for place, weight in enumerate(weights) if weight]
    source = torch.tensor([position for position, _ in wanted])
    return Batch(ids, source, ids.view(-1)[source + 1], torch.tensor([weight for _, weight in wanted]))


def pool_batches(tasks: Tasks, stage: Stage, *, seed: int, pad: int, pool: int, tokens: int) -> list[Batch]:
    """The batches of pool number `pool` of a stage that has seen `tokens` so far.

    They depend only on the arguments, so a resumed run sees the same batches as an uninterrupted one.
    """
    rng = random.Random(f"{seed}-{stage.name}-{pool}")
    # Shares are in tokens, and the tasks' rows differ in length.
    weights = {task: share / _USUAL_LENGTH[task] for task, share in stage.shares(tokens).items()}
    drawn = rng.choices(list(weights), list(weights.values()), k=_POOL_ROWS)
    rows = sorted((tasks.row(task, "train", rng.getrandbits(40)) for task in drawn), key=lambda row: len(row[0]))
    groups = list(_groups(rows, stage.batch_tokens))
    rng.shuffle(groups)
    return [collate(group, pad=pad) for group in groups]


def _groups(rows: Sequence[Row], batch_tokens: int) -> Iterator[list[Row]]:
    group: list[Row] = []
    for row in rows:
        length = (len(row[0]) + _ROUND - 1) // _ROUND * _ROUND
        if group and length * (len(group) + 1) > batch_tokens:
            yield group
            group = []
        group.append(row)
    if group:
        yield group
