"""The progress file of a training: one JSON row per logged step, with `step`, `total`, `seconds` and its figures."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from spar_training.storage.files import Row, to_line, write_rows


def read_progress(path: Path) -> Iterator[Row]:
    """The complete lines of a file that may still be written to; none if there is no file yet."""
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8").split("\n")[:-1]:
        yield json.loads(line)


class ProgressWriter(TrainerCallback):  # type: ignore[misc]
    """Writes the file on the first process only. A resumed training continues after its checkpoint."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[str] | None = None
        self._began = time.monotonic()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any
    ) -> None:
        if not state.is_world_process_zero:
            return
        done = [row for row in read_progress(self._path) if row["step"] <= state.global_step]
        write_rows(self._path, done)
        self._file = self._path.open("a", encoding="utf-8")
        self._began = time.monotonic()
        if not done:
            self._write(state, {})

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any
    ) -> TrainerControl:
        # The last step is always logged.
        control.should_log |= state.global_step >= state.max_steps
        return control

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> None:
        if logs and "loss" in logs:
            self._write(state, logs)

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any) -> None:
        self.close()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self, state: TrainerState, figures: Mapping[str, Any]) -> None:
        if self._file is None:
            return
        seconds = round(time.monotonic() - self._began, 3)
        row = {"step": state.global_step, "total": state.max_steps, "seconds": seconds, **figures}
        self._file.write(to_line(row))
        self._file.flush()
