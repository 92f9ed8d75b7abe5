"""Draw the prompts of each iteration, never the same twice, and those of evaluations."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, islice
from typing import Final

from spar_core.errors import DataError
from spar_core.types import Message
from spar_training.data.prompts import PromptRecord, read_prompts
from spar_training.runs.recipe import Recipe
from spar_training.runs.start import prompts_file
from spar_training.world.example import draw_example
from spar_training.world.prompt import Split

# Far from the indices that the bootstrap draws its rows and answers from.
_FIRST_INDEX: Final = 2**42
# More than a run needs, so that runs with different seeds have different prompts.
_PER_SEED: Final = 2**24


def fresh_prompts(recipe: Recipe, iteration: int) -> list[PromptRecord]:
    """The prompts of an iteration, counted from 1.

    Raises:
        ConfigError: the file does not exist.
        DataError: the file has too few prompts, or a malformed row.
    """
    wanted = recipe.prompts.per_iteration
    first = (iteration - 1) * wanted
    file = prompts_file(recipe)
    if file is None:
        return list(islice(_of_world(recipe), first, first + wanted))
    prompts = read_prompts(file)
    if len(prompts) < first + wanted:
        raise DataError(
            f"{file}: has {len(prompts)} prompts; iteration {iteration} needs those up to "
            f"{first + wanted}; add prompts or lower prompts.per_iteration"
        )
    return prompts[first : first + wanted]


def evaluation_prompts(recipe: Recipe) -> list[PromptRecord]:
    """The prompts that a recipe measures its pairs on; empty if it measures nothing.

    Raises:
        DataError: the file is missing, has a row that is malformed or has no checks, or has too few prompts.
    """
    wanted = recipe.evaluation
    if wanted.benchmark == "none":
        return []
    if wanted.file is None:
        return [world_prompt(wanted.split, index) for index in range(wanted.prompts)]
    prompts = read_prompts(wanted.file)[: wanted.prompts]
    if len(prompts) < wanted.prompts:
        raise DataError(f"{wanted.file}: has {len(prompts)} prompts; evaluation.prompts is {wanted.prompts}")
    if unchecked := [prompt.id for prompt in prompts if not prompt.checks]:
        raise DataError(f"{wanted.file} ({unchecked[0]!r}): has no checks to measure by; add some")
    return prompts


def _of_world(recipe: Recipe) -> Iterator[PromptRecord]:
    for index in count(_FIRST_INDEX + recipe.seed * _PER_SEED):
        prompt = world_prompt("train", index)
        if len(prompt.checks) >= recipe.prompts.constraints:
            yield prompt


def world_prompt(split: Split, index: int) -> PromptRecord:
    """The world's prompt with an index, and its checks."""
    prompt = draw_example(split, index).prompt
    checks = tuple({"id": check.id, "kwargs": dict(check.kwargs)} for check in prompt.checks)
    return PromptRecord(f"{split}-{index}", (Message("user", prompt.text),), checks)
