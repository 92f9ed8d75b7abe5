"""Preference pairs of sampled responses, one judged Yes and one judged No: SPaR's ablation without refinement."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any, ClassVar, Literal

from spar_training.data.preference_pairs import sampled_pairs
from spar_training.methods.base import StageItems, TrainingData, TrainingSet
from spar_training.methods.judged_samples import JudgedSamples
from spar_training.methods.settings import MethodSettings
from spar_training.pipeline.stage import DataStage, Role
from spar_training.runs.folder import Iteration
from spar_training.stages.judge import JudgeResponses
from spar_training.stages.sample import Sample


class SampledSettings(MethodSettings):
    """The method has no settings of its own."""

    kind: Literal["sampled"] = "sampled"


class Sampled(JudgedSamples):
    """Trains the actor on sampled pairs, and the refiner on its judgements."""

    settings: ClassVar[type[MethodSettings]] = SampledSettings
    stage_types: ClassVar[Sequence[type[DataStage[Any]]]] = (Sample, JudgeResponses)
    data_keys: ClassVar[Set[str]] = frozenset({"actor_data", "refiner_data"})
    roles: ClassVar[Mapping[Role, TrainingSet]] = {
        "actor": TrainingSet("dpo", "dpo.jsonl", "no prompt has both a response judged Yes and one judged No"),
        "refiner": TrainingSet("sft", "rft.jsonl", "no judgement was contested"),
    }

    def stages(self, iteration: Iteration) -> Iterator[StageItems]:
        """Sample and judge."""
        yield self.sample_stage(iteration)
        yield self.judge_stage(iteration)

    def training_data(self, iteration: Iteration) -> TrainingData:
        """A pair for each prompt with both verdicts; conversations from judgements."""
        judged = self.judged(iteration)
        return self.combine(iteration, sampled_pairs(judged, seed=self.seed(iteration)), judged, searches=[])
