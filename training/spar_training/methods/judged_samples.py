"""The common part of methods that sample the actor's responses and let the refiner vote on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from spar_core.prompts import load_templates
from spar_core.seeds import derive_seed
from spar_core.trace import read_judgement
from spar_training.data.card import card_of
from spar_training.data.negatives import JudgedItem, Negative
from spar_training.data.preference_pairs import capped
from spar_training.data.prompts import PromptRecord, read_prompts
from spar_training.data.refiner_rows import refiner_conversations
from spar_training.data.search_results import Searched
from spar_training.methods.base import StageItems, TrainingData
from spar_training.runs.folder import Iteration
from spar_training.runs.recipe import Recipe
from spar_training.stages.judge import JudgeResponses, Judging, SampledItem
from spar_training.stages.sample import Sample
from spar_training.stages.validity import few_verdicts_remark, usable
from spar_training.storage.files import Row, read_rows


class JudgedSamples:
    """Samples and judgements of an iteration, and the training data that pairs and conversations make."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe

    def seed(self, iteration: Iteration) -> int:
        """The seed of everything random in an iteration."""
        return derive_seed(self.recipe.seed, "iteration", iteration.number)

    def prompts(self, iteration: Iteration) -> list[PromptRecord]:
        """The prompts of an iteration."""
        return read_prompts(iteration.file("prompts.jsonl"))

    def sample_stage(self, iteration: Iteration) -> StageItems:
        """The actor answers each prompt."""
        settings = self.recipe.sample
        stage = Sample(settings.responses, settings.sampling(), self.seed(iteration), settings.greedy)
        return StageItems(stage, self.prompts(iteration))

    def judge_stage(self, iteration: Iteration) -> StageItems:
        """The refiner votes on the responses."""
        stage = JudgeResponses(self.judging(), self.seed(iteration))
        return StageItems(stage, self.sampled(iteration))

    def judging(self) -> Judging:
        """How responses and refinements are judged."""
        settings = self.recipe.judge
        return Judging(settings.kind, self.recipe.templates, settings.votes, settings.sampling())

    def sampled(self, iteration: Iteration) -> list[SampledItem]:
        """The finished samples."""
        by_id = {prompt.id: prompt for prompt in self.prompts(iteration)}
        return [
            SampledItem(by_id[row["id"]], tuple(usable(answer) for answer in row["responses"]))
            for row in stage_rows(iteration, Sample.file)
        ]

    def texts(self, iteration: Iteration) -> dict[str, list[str]]:
        """By prompt, the texts of its finished samples, of those that were cut off as well."""
        return {
            row["id"]: [str(answer["text"]) for answer in row["responses"]]
            for row in stage_rows(iteration, Sample.file)
        }

    def judged(self, iteration: Iteration) -> list[JudgedItem]:
        """The finished judgements, with their responses."""
        by_id = {item.id: item for item in self.sampled(iteration)}
        return [
            JudgedItem(
                by_id[row["id"]].prompt,
                by_id[row["id"]].responses,
                tuple(data and read_judgement(data) for data in row["judgements"]),
            )
            for row in stage_rows(iteration, JudgeResponses.file)
        ]

    def combine(
        self,
        iteration: Iteration,
        pairs: Sequence[Row],
        judged: Sequence[JudgedItem],
        searches: Sequence[Searched],
        repaired: Sequence[tuple[Negative, str]] = (),
    ) -> TrainingData:
        """DPO on `pairs` for the actor, and fine-tuning on its own judgements and refinements for the refiner."""
        seed = self.seed(iteration)
        pairs = capped(pairs, self.recipe.actor_data.max_pairs_in(iteration.number), seed=seed)
        conversations, left_out = refiner_conversations(
            judged,
            searches,
            repaired,
            templates=load_templates(self.recipe.templates),
            caps=self.recipe.refiner_data.caps(),
            seed=seed,
        )
        counts = {"pairs": len(pairs), "conversations": len(conversations)}
        card: dict[str, Any] = card_of(pairs, conversations, left_out)
        judgements = [judgement for item in judged for judgement in item.judgements]
        remedy = few_verdicts_remark(judgements, templates=self.recipe.templates)
        return TrainingData({"actor": pairs, "refiner": conversations}, counts, card, remedy)


def stage_rows(iteration: Iteration, file: str) -> list[Row]:
    """The output of a finished stage."""
    return list(read_rows(iteration.file(file), needs=("id",)))
