"""A third party's training method; in its own module, so that a server does not import the training package."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any, ClassVar, Literal

from spar_training.methods.base import StageItems, TrainingData, TrainingSet
from spar_training.methods.judged_samples import JudgedSamples
from spar_training.methods.settings import MethodSettings
from spar_training.pipeline.stage import DataStage, Role
from spar_training.runs.folder import Iteration
from spar_training.stages.sample import Sample


class FirstAnswersSettings(MethodSettings):
    """`answers` is the number of responses per prompt to train on."""

    kind: Literal["acme_first_answers"] = "acme_first_answers"
    answers: int = 1


class FirstAnswers(JudgedSamples):
    """Fine-tunes both models on the actor's first answers."""

    settings: ClassVar[type[MethodSettings]] = FirstAnswersSettings
    stage_types: ClassVar[Sequence[type[DataStage[Any]]]] = (Sample,)
    data_keys: ClassVar[Set[str]] = frozenset({"actor_data"})
    roles: ClassVar[Mapping[Role, TrainingSet]] = {
        "actor": TrainingSet("sft", "answers.jsonl", "no answer"),
        "refiner": TrainingSet("sft", "answers.jsonl", "no answer"),
    }

    def stages(self, iteration: Iteration) -> Iterator[StageItems]:
        yield self.sample_stage(iteration)

    def training_data(self, iteration: Iteration) -> TrainingData:
        settings = self.recipe.method
        assert isinstance(settings, FirstAnswersSettings)
        rows = [{"id": item.id, "answers": item.responses[: settings.answers]} for item in self.sampled(iteration)]
        return TrainingData({"actor": rows, "refiner": rows}, {"rows": len(rows)}, {})
