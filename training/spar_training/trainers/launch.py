"""Run training jobs as processes of their own: a training that crashes leaves its caller alive, and its memory free."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import spar_core
import spar_training
from spar_core import errors
from spar_core.errors import ConfigError, DataError, SparError, TrainingError
from spar_training.storage.files import Row, write_json
from spar_training.trainers.checkpoints import newest_whole
from spar_training.trainers.job import Job
from spar_training.trainers.progress import read_progress
from spar_training.trainers.status import PROGRESS, is_finished

FAILURE: Final = "failure.json"
# The status of a process that found the disk full.
NO_ROOM: Final = os.EX_IOERR
# Set for a process that must end when its standard input does: when whoever launched it is gone.
LEASH: Final = "SPAR_TRAINING_LEASH"
_POLL_S: Final = 0.2
_LOG_LINES: Final = 15

Tell = Callable[[Row], None]


def train(job: Job, *, tell: Tell | None = None, launcher: Sequence[str] | None = None) -> Path:
    """Train and return the finished model's folder; goes on where an earlier call was stopped.

    `tell` hears each logged step once (see `told`), those of earlier calls first, also when nothing is left to do.
    `launcher` is what comes before the module's name, by default this Python; `("accelerate", "launch",
    "--config_file", FILE, "-m")` trains on all that FILE names.

    Raises:
        ConfigError: the job cannot be run as it is.
        DataError: the data cannot be trained on.
        TrainingError: the training's process ended without a model; tells its last lines.
    """
    if is_finished(job):
        _tell_on(job.out / PROGRESS, -1, tell)
        # Left by one that was killed just after it had moved the model.
        shutil.rmtree(job.work, ignore_errors=True)
        return job.out
    job.work.mkdir(parents=True, exist_ok=True)
    given = job.work / "job.json"
    write_json(given, job.model_dump(mode="json", exclude_unset=True))
    (job.work / FAILURE).unlink(missing_ok=True)
    if newest_whole(job.work / "checkpoints") is None:
        # It begins anew, maybe as another job: what an earlier call told is not of it.
        (job.work / PROGRESS).unlink(missing_ok=True)
    log = job.work / "train.log"
    command = [*(launcher or (sys.executable, "-m")), "spar_training.trainers", str(given)]
    if shutil.which(command[0]) is None:
        raise ConfigError(f"launcher: {command[0]} is no command here; install it, or say where it is")
    with (
        log.open("a", encoding="utf-8") as out,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=out, stderr=subprocess.STDOUT, env=_environment(job)
        ) as process,
    ):
        try:
            told = _follow(process, job.work / PROGRESS, tell)
        finally:
            if process.poll() is None:
                process.terminate()
            process.wait()
    if process.returncode and not is_finished(job):
        raise _failure(job, process.returncode, log)
    _tell_on(job.out / PROGRESS, told, tell)
    return job.out


def no_room(job: Job) -> str:
    """What to say of a training that found the disk full."""
    return f"{job.work}: cannot be written (the disk is full); make room: the same job goes on from its last checkpoint"


def _environment(job: Job) -> dict[str, str]:
    # The process must find the packages that this one uses, installed or not.
    roots = {str(Path(package.__path__[0]).parent) for package in (spar_core, spar_training)}
    known = os.environ.get("PYTHONPATH")
    more = {
        "PYTHONPATH": os.pathsep.join([*sorted(roots), *([known] if known else [])]),
        LEASH: "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TQDM_DISABLE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "TENSORBOARD_LOGGING_DIR": str(job.work / "tensorboard"),
    }
    if Path(job.model).is_dir():
        more["HF_HUB_OFFLINE"] = "1"
    if job.threads:
        more["OMP_NUM_THREADS"] = str(job.threads)
    return {**os.environ, **more}


def _follow(process: subprocess.Popen[bytes], progress: Path, tell: Tell | None) -> int:
    """Wait for the end; the last step that was told."""
    told = -1
    while process.poll() is None:
        try:
            process.wait(_POLL_S)
        except subprocess.TimeoutExpired:
            told = _tell_on(progress, told, tell)
    return told


def _tell_on(progress: Path, told: int, tell: Tell | None) -> int:
    """Tell what comes after step `told`; the last step that is told now."""
    if tell is None:
        return told
    for row in read_progress(progress):
        if row["step"] > told:
            tell(row)
            told = int(row["step"])
    return told


def _failure(job: Job, code: int, log: Path) -> SparError:
    """What the process left behind as the error that it is."""
    told = job.work / FAILURE
    if told.exists():
        left: dict[str, Any] = json.loads(told.read_text(encoding="utf-8"))
        kind: type[SparError] = getattr(errors, left["error"])
        return kind(left["message"])
    if code == NO_ROOM:
        return DataError(no_room(job))
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:]
    how = f"was killed by signal {-code}" if code < 0 else f"ended with status {code}"
    return TrainingError(
        f"{job.work}: the training {how}; the same job goes on from its last checkpoint. {log} ends in:\n"
        + "\n".join(lines)
    )
