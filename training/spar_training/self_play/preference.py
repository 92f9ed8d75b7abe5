"""What the actor's training pairs are like, by the verifiers. They are measured by; no pair was chosen by them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean

from spar_core.checks import Check, verify
from spar_training.evals.intervals import Interval, interval
from spar_training.files import Row, read_rows
from spar_training.records import read_prompts
from spar_training.runs import Iteration


@dataclass(frozen=True, slots=True, kw_only=True)
class PairRow:
    """One pair. `chosen_right` and `rejected_wrong` are None where the prompt has no checks."""

    prompt: str
    similarity: float
    chosen_words: int
    rejected_words: int
    chosen_right: bool | None
    rejected_wrong: bool | None


def read_pairs(iteration: Iteration) -> list[PairRow]:
    """The pairs of an iteration whose data step is finished.

    Raises:
        DataError: a file is missing or damaged; names it.
    """
    verifiers = {prompt.id: prompt.verifiers() for prompt in read_prompts(iteration.file("prompts.jsonl"))}
    rows = read_rows(iteration.file("dpo.jsonl"), needs=("id", "chosen", "rejected", "provenance"))
    return [_pair(row, verifiers.get(str(row["id"]), ())) for row in rows]


def _pair(row: Row, checks: tuple[Check, ...]) -> PairRow:
    chosen, rejected = (str(row[side][-1]["content"]) for side in ("chosen", "rejected"))
    return PairRow(
        prompt=str(row["id"]),
        similarity=float(row["provenance"]["similarity"]),
        chosen_words=len(chosen.split()),
        rejected_words=len(rejected.split()),
        chosen_right=_passes(checks, chosen) if checks else None,
        rejected_wrong=not _passes(checks, rejected) if checks else None,
    )


def _passes(checks: tuple[Check, ...], text: str) -> bool:
    return all(finding.passed for finding in verify(checks, text))


@dataclass(frozen=True, slots=True, kw_only=True)
class PairsMade:
    """The pairs of an iteration, of all its seeds: means with intervals, lengths in words.

    `counts` is how many each seed has. `both` is the share whose chosen side is right and whose rejected one is wrong.
    """

    arm: str
    iteration: int
    counts: Mapping[int, int]
    similarity: Interval
    chosen_right: Interval
    rejected_wrong: Interval
    both: Interval
    chosen_words: float
    rejected_words: float


def pairs_made(arm: str, iteration: int, by_seed: Mapping[int, Sequence[PairRow]]) -> PairsMade:
    """Of an iteration that has at least one pair. Seeds have prompts of their own, so each pair stands for itself."""
    pairs = [pair for rows in by_seed.values() for pair in rows]
    told = [pair for pair in pairs if pair.chosen_right is not None and pair.rejected_wrong is not None]
    return PairsMade(
        arm=arm,
        iteration=iteration,
        counts={seed: len(rows) for seed, rows in by_seed.items()},
        similarity=interval([pair.similarity for pair in pairs]),
        chosen_right=interval([float(bool(pair.chosen_right)) for pair in told]),
        rejected_wrong=interval([float(bool(pair.rejected_wrong)) for pair in told]),
        both=interval([float(bool(pair.chosen_right and pair.rejected_wrong)) for pair in told]),
        chosen_words=mean(pair.chosen_words for pair in pairs),
        rejected_words=mean(pair.rejected_words for pair in pairs),
    )
