"""The rows that a run trains on: capped, balanced, and counted.

A refiner's refinement row holds a judgement that says No; to each comes a judgement that says Yes. Refined texts are
judged under other constraints too, so that what repairs leave behind is no sign of an answer that passes.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from spar_core.prompts import Templates
from spar_training.bootstrap.verifiers.prompts import ConstrainedPrompt
from spar_training.bootstrap.verifiers.recipe import VerifierRecipe
from spar_training.bootstrap.verifiers.rows import (
    Answer,
    Example,
    actor_row,
    examples,
    judgement_row,
    refinement_row,
)
from spar_training.storage.files import Row

# Far from the places of sampled answers.
_REFINED_PLACE = 1000


@dataclass(frozen=True, slots=True)
class RowSets:
    """The rows of a role, and what they were made of."""

    rows: list[Row]
    card: dict[str, Any]


def actor_rows(prompts: Sequence[ConstrainedPrompt], answers: Sequence[Answer], recipe: VerifierRecipe) -> RowSets:
    """One passing answer to each prompt: the base's own words where they pass, else repaired; at most the cap."""
    made = list(examples(prompts, answers, crossed=recipe.crossed, seed=recipe.seed))
    best: dict[str, Row] = {}
    by: Counter[str] = Counter()
    for example in sorted(made, key=lambda one: (not one.passed, one.id)):
        if example.asked and example.prompt.id not in best and (row := actor_row(example)) is not None:
            best[example.prompt.id] = row
            by["own words" if example.passed else example.by] += 1
    rows = _drawn(best.values(), recipe.rows.answers, seed=recipe.seed)
    return RowSets(rows, {"examples": len(made), "prompts": len(best), "by": dict(by), "rows": len(rows)})


def refiner_rows(
    prompts: Sequence[ConstrainedPrompt], answers: Sequence[Answer], recipe: VerifierRecipe, templates: Templates
) -> RowSets:
    """Refinements, and as many judgements that say Yes; none of a judge's prompt twice."""
    first = list(examples(prompts, answers, crossed=recipe.crossed, seed=recipe.seed))
    again = list(examples(prompts, _refined_answers(first), crossed=recipe.crossed, seed=recipe.seed))
    refinements = [row for one in (*first, *again) if (row := refinement_row(one, templates)) is not None]
    refinements = _drawn(_once(refinements), recipe.rows.refinements, seed=recipe.seed)
    own = [row for one in first if one.passed and (row := judgement_row(one, templates, of="answer")) is not None]
    repaired = [row for one in first if (row := judgement_row(one, templates, of="refined")) is not None]
    accepted = [
        *_drawn(_once(own), len(refinements) // 2, seed=recipe.seed),
        *_drawn(_once(repaired), len(refinements), seed=recipe.seed),
    ]
    accepted = _once(accepted)[: len(refinements)]
    card = {
        "examples": len(first) + len(again),
        "passed": sum(one.passed for one in first),
        "refinements": len(refinements),
        "judgements": {"No": len(refinements), "Yes": len(accepted)},
        "constraints": dict(Counter(c.id for one in first for c in one.prompt.constraints).most_common()),
    }
    rows = [*refinements, *accepted]
    random.Random(f"{recipe.seed}/order").shuffle(rows)
    return RowSets(rows, card)


def _refined_answers(made: Iterable[Example]) -> list[Answer]:
    """Refined texts as answers, to be held against other constraints of their task."""
    return [
        Answer(one.prompt.id, _REFINED_PLACE + number, one.refined, False)
        for number, one in enumerate(made)
        if one.refined is not None
    ]


def _once(rows: Iterable[Row]) -> list[Row]:
    """Of the rows that begin with the same prompt the first."""
    return list({row["messages"][0]["content"]: row for row in reversed(list(rows))}.values())[::-1]


def _drawn(rows: Iterable[Row], most: int, *, seed: int) -> list[Row]:
    found = list(rows)
    random.Random(f"{seed}/drawn").shuffle(found)
    return found[:most]
