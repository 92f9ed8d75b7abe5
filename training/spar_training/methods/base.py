"""The protocol of a training method.

An iteration is the stages of its method, one step each, then the training data, then a training of each role. The
method reads and names the files; running, resuming and recording the steps is the loop's part. Start from
`spar_training.methods.judged_samples.JudgedSamples` for a method that samples the actor and lets the refiner judge.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

from spar_training.methods.settings import MethodSettings
from spar_training.pipeline.stage import DataStage, Role
from spar_training.runs.folder import Iteration
from spar_training.runs.recipe import Recipe
from spar_training.storage.files import Row


@dataclass(frozen=True, slots=True)
class StageItems:
    """A stage with the items to run it on."""

    stage: DataStage[Any]
    items: Sequence[Any]


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """The training data of one role: the `kind` of its training, and the name of its `file` in the iteration's folder.

    `empty` completes the error for an empty file: why there is no row.
    """

    kind: Literal["dpo", "sft"]
    file: str
    empty: str


@dataclass(frozen=True, slots=True)
class TrainingData:
    """The rows for each role; `counts` go into `steps.json`, and `card` into `data_card.json`.

    `remedy` is what to do about an empty training set, if the output of the stages shows that.
    """

    rows: Mapping[Role, Sequence[Row]]
    counts: Mapping[str, int]
    card: Mapping[str, Any]
    remedy: str | None = None


class Method(Protocol):
    """A way to turn prompts into training data for both roles."""

    # The model of the recipe's `method`.
    settings: ClassVar[type[MethodSettings]]
    # The classes of all stages that `stages` may yield, in order.
    stage_types: ClassVar[Sequence[type[DataStage[Any]]]]
    # The recipe's keys that `training_data` alone uses: they may change until the data is made.
    data_keys: ClassVar[Set[str]]
    # What each role is trained on.
    roles: ClassVar[Mapping[Role, TrainingSet]]

    def __init__(self, recipe: Recipe) -> None: ...

    def stages(self, iteration: Iteration) -> Iterator[StageItems]:
        """The stages in order. The next one is requested when the output of the last is complete in its file.

        The iteration's `prompts.jsonl` is there from the beginning.

        Raises:
            DataError: a file cannot be used.
        """
        ...

    def training_data(self, iteration: Iteration) -> TrainingData:
        """The training data, read from the output of all stages.

        Raises:
            DataError: a file cannot be used.
        """
        ...
