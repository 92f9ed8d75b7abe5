"""SPaR (arXiv 2412.11605): sample, judge, refine a rejected response by tree search, and train on the two.

The paper's ablations are settings: without tree search, `search: {algorithm: iterative, branch: 1, beam: 1,
max_depth: 1, budget: 1, temperature: 0}`; without iteration, `iterations: 1` with all prompts at once; without
refinement, the method `sampled`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any, ClassVar, Literal

from pydantic import Field

from spar_training.data.negatives import Negative, choose_negatives
from spar_training.data.preference_pairs import refined_pairs, repaired_pairs, sampled_pairs
from spar_training.data.repairs.loops import stopped_pairs
from spar_training.data.repairs.responses import is_poor, repaired_responses
from spar_training.data.search_results import Searched, read_searches
from spar_training.methods.base import StageItems, TrainingData, TrainingSet
from spar_training.methods.judged_samples import JudgedSamples, stage_rows
from spar_training.methods.settings import MethodSettings
from spar_training.pipeline.stage import DataStage, Role
from spar_training.runs.folder import Iteration
from spar_training.stages.judge import JudgeResponses
from spar_training.stages.sample import Sample
from spar_training.stages.search import Search


class SparSettings(MethodSettings):
    """What SPaR's method may train on beside its searches.

    With `sampled_pairs`, the actor trains on two responses of each prompt that has both verdicts. If the judge is a
    checklist, up to `repaired_per_prompt` rejected responses of each prompt are also repaired by program, and the
    repairs serve as refinements for both roles. As many responses that repeat themselves are paired with what they said
    before, and no pair prefers a text that repeats itself or says little.
    """

    kind: Literal["spar"] = "spar"
    sampled_pairs: bool = False
    repaired_per_prompt: int = Field(default=0, ge=0)


class Spar(JudgedSamples):
    """Trains the actor on refined pairs, and the refiner on its judgements and refinements."""

    settings: ClassVar[type[MethodSettings]] = SparSettings
    stage_types: ClassVar[Sequence[type[DataStage[Any]]]] = (Sample, JudgeResponses, Search)
    data_keys: ClassVar[Set[str]] = frozenset({"actor_data", "refiner_data"})
    roles: ClassVar[Mapping[Role, TrainingSet]] = {
        "actor": TrainingSet("dpo", "dpo.jsonl", "no response was judged No and then refined until it was judged Yes"),
        "refiner": TrainingSet("sft", "rft.jsonl", "no judgement was contested and no refinement accepted"),
    }

    def stages(self, iteration: Iteration) -> Iterator[StageItems]:
        """Sample, judge, and search from one negative per prompt."""
        yield self.sample_stage(iteration)
        yield self.judge_stage(iteration)
        yield StageItems(self._search(iteration), self.negatives(iteration))

    def training_data(self, iteration: Iteration) -> TrainingData:
        """A pair for each accepted refinement; conversations from judgements and searches."""
        searches, judged = self.searches(iteration), self.judged(iteration)
        settings = SparSettings.model_validate(self.recipe.method.model_dump())
        seed = self.seed(iteration)
        repaired = repaired_responses(judged, per_prompt=settings.repaired_per_prompt, seed=seed)
        pairs = [*refined_pairs(searches), *repaired_pairs(repaired)]
        if settings.sampled_pairs:
            pairs += sampled_pairs(judged, seed=seed)
        if most := settings.repaired_per_prompt:
            pairs = [pair for pair in pairs if not is_poor(pair["chosen"][0]["content"])]
            pairs += stopped_pairs(judged, self.texts(iteration), per_prompt=most, seed=seed)
        return self.combine(iteration, pairs, judged, searches, repaired)

    def negatives(self, iteration: Iteration) -> list[Negative]:
        """The responses to refine."""
        return choose_negatives(self.judged(iteration), seed=self.seed(iteration))

    def searches(self, iteration: Iteration) -> list[Searched]:
        """The finished searches."""
        negatives = {item.id: item for item in self.negatives(iteration)}
        return read_searches(stage_rows(iteration, Search.file), negatives)

    def _search(self, iteration: Iteration) -> Search:
        search = self.recipe.search
        config = search.config(self.recipe.judge.votes)
        return Search(self.judging(), search.sampling(), config, self.seed(iteration))
