"""Save the weights of chosen steps, so that the progress of a training can be measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from spar_core.errors import ConfigError


class StepKeeper(TrainerCallback):  # type: ignore[misc]
    """Saves the model to `FOLDER/STEP` after each of `steps`. A resumed training saves repeated steps again.

    Raises:
        ConfigError: at the start of the training, if it has fewer steps.
    """

    def __init__(self, trainer: Any, folder: Path, steps: Sequence[int]) -> None:
        self._trainer = trainer
        self._folder = folder
        self._steps = frozenset(steps)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any
    ) -> None:
        if never := sorted(step for step in self._steps if step > state.max_steps):
            steps = ", ".join(map(str, never))
            raise ConfigError(f"keep_steps: the training has only {state.max_steps} steps and never reaches {steps}")

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any) -> None:
        if state.global_step in self._steps:
            # On every process, since the weights may be sharded over them.
            self._trainer.save_model(str(self._folder / str(state.global_step)))
