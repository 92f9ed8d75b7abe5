"""The actor's own answers to training prompts, for the judge to learn from what actors really write.

The file has one JSON line per answer, in the order of the prompts. An interrupted collection resumes where it stopped.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch

from spar_core.backends.local import LocalBackend, LocalEngine
from spar_core.checks import verify
from spar_core.seeds import derive_seed
from spar_core.types import Message, Sampling
from spar_training.world.example import draw_example

# Far from the indices that training rows are drawn from, below 2**40.
_FIRST_INDEX: Final = 2**41
_AT_ONCE: Final = 256


@dataclass(frozen=True, slots=True)
class OwnAnswer:
    """An answer to the training prompt `index`, and whether it passes every check."""

    index: int
    text: str
    passed: bool


def collect_answers(file: Path, model: Path, *, prompts: int, temperature: float, seed: int) -> None:
    """Have the model in the folder `model` answer `prompts` training prompts; append the missing answers to `file`."""
    done = _complete_lines(file)
    if done >= prompts:
        return
    threads = torch.get_num_threads()
    engine = LocalEngine(model, max_slots=64)
    backend = LocalBackend(engine, "actor")

    async def answer(index: int) -> OwnAnswer:
        prompt = draw_example("train", index).prompt
        sampling = Sampling(temperature=temperature, max_tokens=160, seed=derive_seed(seed, "own", index))
        text = (await backend.complete([Message("user", prompt.text)], sampling)).text
        return OwnAnswer(index, text, all(finding.passed for finding in verify(prompt.checks, text)))

    async def chunk(start: int) -> list[OwnAnswer]:
        indices = range(_FIRST_INDEX + start, _FIRST_INDEX + min(start + _AT_ONCE, prompts))
        return await asyncio.gather(*[answer(index) for index in indices])

    try:
        with file.open("a", encoding="utf-8") as out:
            for start in range(done, prompts, _AT_ONCE):
                lines = [
                    json.dumps({"index": own.index, "text": own.text, "passed": own.passed}) + "\n"
                    for own in asyncio.run(chunk(start))
                ]
                out.write("".join(lines))
                out.flush()
    finally:
        engine.close()
        # The engine sets this for the whole process, to suit such a small model.
        torch.set_num_threads(threads)


def _complete_lines(file: Path) -> int:
    """The number of answers in `file`; removes an incomplete last line, which a killed process leaves."""
    if not file.exists():
        return 0
    with file.open("rb+") as out:
        data = out.read()
        end = data.rfind(b"\n") + 1
        out.truncate(end)
    return data.count(b"\n")


def read_answers(file: Path) -> list[OwnAnswer]:
    """The answers in `file`; none if it does not exist."""
    if not file.exists():
        return []
    return [OwnAnswer(**json.loads(line)) for line in file.read_text(encoding="utf-8").splitlines()]
