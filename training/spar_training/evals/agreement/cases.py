"""What is compared: instructions of IFEval with responses, from several sources, the same ones every time."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spar_training.evals.agreement import adversarial, corpus
from spar_training.storage.files import read_rows


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction of IFEval."""

    id: str
    kwargs: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Pair:
    """One comparison. `source` says where the response is from."""

    source: str
    instruction: Instruction
    response: str


def read_instructions(file: Path) -> list[Instruction]:
    """All instructions of IFEval's file, each with its own kwargs."""
    rows = read_rows(file, needs=("instruction_id_list", "kwargs"))
    return [
        Instruction(id, {name: value for name, value in kwargs.items() if value is not None})
        for row in rows
        for id, kwargs in zip(row["instruction_id_list"], row["kwargs"], strict=True)
    ]


def constructed_pairs(instructions: Sequence[Instruction], *, each: int, seed: int) -> Iterator[Pair]:
    """`each` responses built for every instruction: to pass, to fail, near its threshold, and odd ones."""
    for number, instruction in enumerate(instructions):
        rng = random.Random(f"{seed}/{number}")
        for response in adversarial.responses(instruction.id, instruction.kwargs, rng, each):
            yield Pair("constructed", instruction, response)


def text_pairs(
    source: str, found: Sequence[str], instructions: Sequence[Instruction], *, each: int, seed: int
) -> Iterator[Pair]:
    """Texts that were written for something else, each with `each` instructions: all types take their turn."""
    by_type: dict[str, list[Instruction]] = defaultdict(list)
    for instruction in instructions:
        by_type[instruction.id].append(instruction)
    types = sorted(by_type)
    rng = random.Random(f"{seed}/{source}")
    turn = 0
    for text in found:
        for _ in range(each):
            yield Pair(source, rng.choice(by_type[types[turn % len(types)]]), text)
            turn += 1


def damaged(found: Sequence[str], *, seed: int) -> list[str]:
    """The texts with small damages: what a model's slips look like."""
    rng = random.Random(f"{seed}/damaged")
    return [corpus.damage(text, rng) for text in found]
