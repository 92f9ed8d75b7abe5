"""Run training jobs in separate processes, so that a crash does not end the caller and no memory stays allocated.

model = train(load_job(Path("job.json")), on_progress=TrainingLines("actor", print))
"""

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
from spar_training.trainers.checkpoints import newest_complete
from spar_training.trainers.job import Job
from spar_training.trainers.progress import read_progress
from spar_training.trainers.status import PROGRESS, is_finished

FAILURE: Final = "failure.json"
# The exit status of a training that found the disk full.
NO_ROOM: Final = os.EX_IOERR
# Set for a process that must end when its standard input closes, since its launcher is gone.
LEASH: Final = "SPAR_TRAINING_LEASH"
# glibc keeps the gaps that batches of different lengths leave in its heap, gigabytes in an hour on a CPU. Large blocks
# outside of it go back to the system at once, and huge pages make up for the page faults.
_RETURNED_MEMORY: Final = {
    "MALLOC_MMAP_THRESHOLD_": str(4 * 2**20),
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}
_POLL_S: Final = 0.2
_LOG_LINES: Final = 15

OnProgress = Callable[[Row], None]


def train(job: Job, *, on_progress: OnProgress | None = None, launcher: Sequence[str] | None = None) -> Path:
    """Train, or resume an earlier call, and return the finished model's folder.

    `on_progress` is called once per logged step with the step's row of `progress.jsonl` (`step`, `total`, `seconds` and
    figures such as `loss`), starting with the steps of earlier calls, even if nothing is left to do.
    `launcher` precedes the module's name in the command, by default this Python; `("accelerate", "launch",
    "--config_file", FILE, "-m")` trains on all devices that FILE names.

    Raises:
        ConfigError: the job cannot be run as it is.
        DataError: the data cannot be trained on.
        TrainingError: the training's process ended without a model; quotes the last lines of its log.
    """
    if is_finished(job):
        _report_new(job.out / PROGRESS, -1, on_progress)
        # Left by a training that was killed just after it had moved the model.
        shutil.rmtree(job.work, ignore_errors=True)
        return job.out
    job.work.mkdir(parents=True, exist_ok=True)
    job_file = job.work / "job.json"
    write_json(job_file, job.model_dump(mode="json", exclude_unset=True))
    (job.work / FAILURE).unlink(missing_ok=True)
    if newest_complete(job.work / "checkpoints") is None:
        # It starts over, perhaps as another job, so earlier progress does not belong to it.
        (job.work / PROGRESS).unlink(missing_ok=True)
    log = job.work / "train.log"
    command = [*(launcher or (sys.executable, "-m")), "spar_training.trainers", str(job_file)]
    if shutil.which(command[0]) is None:
        raise ConfigError(f"launcher: command not found: {command[0]}; install it, or give its path")
    with (
        log.open("a", encoding="utf-8") as out,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=out, stderr=subprocess.STDOUT, env=_environment(job)
        ) as process,
    ):
        try:
            last_step = _follow(process, job.work / PROGRESS, on_progress)
        finally:
            if process.poll() is None:
                process.terminate()
            process.wait()
    if process.returncode and not is_finished(job):
        raise _failure(job, process.returncode, log)
    _report_new(job.out / PROGRESS, last_step, on_progress)
    return job.out


def no_room(job: Job) -> str:
    """The error message of a training that found the disk full."""
    return f"{job.work}: cannot be written (the disk is full); make room: the same job resumes from its last checkpoint"


def _environment(job: Job) -> dict[str, str]:
    # The process must import the same packages as this one, installed or not.
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
    return {**_RETURNED_MEMORY, **os.environ, **more}


def _follow(process: subprocess.Popen[bytes], progress: Path, on_progress: OnProgress | None) -> int:
    """Report progress until the process ends; returns the last step that was reported."""
    last_step = -1
    while process.poll() is None:
        try:
            process.wait(_POLL_S)
        except subprocess.TimeoutExpired:
            last_step = _report_new(progress, last_step, on_progress)
    return last_step


def _report_new(progress: Path, last_step: int, on_progress: OnProgress | None) -> int:
    """Report the steps after `last_step`; returns the last step that is reported now."""
    if on_progress is None:
        return last_step
    for row in read_progress(progress):
        if row["step"] > last_step:
            on_progress(row)
            last_step = int(row["step"])
    return last_step


def _failure(job: Job, code: int, log: Path) -> SparError:
    """The error that ended the process, from the file it left or from its log."""
    file = job.work / FAILURE
    if file.exists():
        failure: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        kind: type[SparError] = getattr(errors, failure["error"])
        return kind(failure["message"])
    if code == NO_ROOM:
        return DataError(no_room(job))
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:]
    how = f"was killed by signal {-code}" if code < 0 else f"ended with status {code}"
    return TrainingError(
        f"{job.work}: the training {how}; the same job resumes from its last checkpoint. {log} ends with:\n"
        + "\n".join(lines)
    )
