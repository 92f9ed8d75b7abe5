"""The training rows of a run: capped, balanced and counted.

A refinement row contains a No judgement; each is matched by a Yes judgement. Refined texts are also judged under other
constraints, which they fail, so that traces of a repair do not reveal the verdict.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from spar_core.prompts import Templates
from spar_training.bootstrap.verifiers.data.rows import (
    Answer,
    Example,
    actor_row,
    examples,
    judgement_row,
    refinement_row,
)
from spar_training.bootstrap.verifiers.prompts.constrained import ConstrainedPrompt
from spar_training.bootstrap.verifiers.recipe import VerifierRecipe
from spar_training.storage.files import Row

# Beyond the places of sampled answers.
_REFINED_PLACE = 1000


@dataclass(frozen=True, slots=True)
class RowSets:
    """The rows of one role, and their statistics."""

    rows: list[Row]
    card: dict[str, Any]


def actor_rows(prompts: Sequence[ConstrainedPrompt], answers: Sequence[Answer], recipe: VerifierRecipe) -> RowSets:
    """Build one passing answer per prompt, up to the cap: the model's own words if they pass, otherwise repaired."""
    made = list(examples(prompts, answers, crossed=recipe.crossed, seed=recipe.seed))
    best: dict[str, Row] = {}
    by: Counter[str] = Counter()
    for example in sorted(made, key=lambda one: (not one.passed, one.id)):
        if example.own_prompt and example.prompt.id not in best and (row := actor_row(example)) is not None:
            best[example.prompt.id] = row
            by["own words" if example.passed else example.by] += 1
    rows = _drawn(best.values(), recipe.rows.answers, seed=recipe.seed)
    return RowSets(rows, {"examples": len(made), "prompts": len(best), "by": dict(by), "rows": len(rows)})


def refiner_rows(
    prompts: Sequence[ConstrainedPrompt], answers: Sequence[Answer], recipe: VerifierRecipe, templates: Templates
) -> RowSets:
    """Build refinements and equally many Yes judgements, each with a different judge prompt."""
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
    """Refined texts as answers, to be judged under other constraints of their task."""
    return [
        Answer(one.prompt.id, _REFINED_PLACE + number, one.refined, False)
        for number, one in enumerate(made)
        if one.refined is not None
    ]


def _once(rows: Iterable[Row]) -> list[Row]:
    """Keep the first of the rows with the same prompt."""
    return list({row["messages"][0]["content"]: row for row in reversed(list(rows))}.values())[::-1]


def _drawn(rows: Iterable[Row], limit: int, *, seed: int) -> list[Row]:
    found = list(rows)
    random.Random(f"{seed}/drawn").shuffle(found)
    return found[:limit]
