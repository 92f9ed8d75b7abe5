"""Keeping the weights of chosen steps, so that a training can be measured along its way."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from spar_core.errors import ConfigError


class StepKeeper(TrainerCallback):  # type: ignore[misc]
    """Saves the model in `FOLDER/STEP` after each of `steps`. A resumed training saves again what it does again.

    Raises:
        ConfigError: when the training begins, if it has fewer steps.
    """

    def __init__(self, trainer: Any, folder: Path, steps: Sequence[int]) -> None:
        self._trainer = trainer
        self._folder = folder
        self._steps = frozenset(steps)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any
    ) -> None:
        if never := sorted(step for step in self._steps if step > state.max_steps):
            raise ConfigError(
                f"keep_steps: the training has {state.max_steps} steps and never comes to {', '.join(map(str, never))}"
            )

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any) -> None:
        if state.global_step in self._steps:
            # On every process: the weights may be dealt out over them.
            self._trainer.save_model(str(self._folder / str(state.global_step)))
