"""The cases of the comparison: IFEval instructions with responses from several sources, the same in every run."""

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
class Case:
    """An instruction with a response to check; `source` says where the response comes from."""

    source: str
    instruction: Instruction
    response: str


def read_instructions(file: Path) -> list[Instruction]:
    """Read all instructions of IFEval's file, each with its kwargs."""
    rows = read_rows(file, needs=("instruction_id_list", "kwargs"))
    return [
        Instruction(id, {name: value for name, value in kwargs.items() if value is not None})
        for row in rows
        for id, kwargs in zip(row["instruction_id_list"], row["kwargs"], strict=True)
    ]


def constructed_cases(instructions: Sequence[Instruction], *, each: int, seed: int) -> Iterator[Case]:
    """Yield `each` responses built for every instruction: see `adversarial`."""
    for number, instruction in enumerate(instructions):
        rng = random.Random(f"{seed}/{number}")
        for response in adversarial.responses(instruction.id, instruction.kwargs, rng, each):
            yield Case("constructed", instruction, response)


def text_cases(
    source: str, texts: Sequence[str], instructions: Sequence[Instruction], *, each: int, seed: int
) -> Iterator[Case]:
    """Yield texts written for other purposes, each with `each` instructions; the types take turns."""
    by_type: dict[str, list[Instruction]] = defaultdict(list)
    for instruction in instructions:
        by_type[instruction.id].append(instruction)
    types = sorted(by_type)
    rng = random.Random(f"{seed}/{source}")
    turn = 0
    for text in texts:
        for _ in range(each):
            yield Case(source, rng.choice(by_type[types[turn % len(types)]]), text)
            turn += 1


def damage_texts(texts: Sequence[str], *, seed: int) -> list[str]:
    """Damage the texts slightly, as a model's slips would."""
    rng = random.Random(f"{seed}/damaged")
    return [corpus.damage(text, rng) for text in texts]
