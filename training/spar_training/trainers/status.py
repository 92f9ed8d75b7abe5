"""Whether a job's model is there already. Loads no torch, so that asking costs nothing."""

from __future__ import annotations

import json
from typing import Final

from spar_core.errors import ConfigError
from spar_training.trainers.job import Job

LINEAGE: Final = "lineage.json"
LOG: Final = "training_log.json"
PROGRESS: Final = "progress.jsonl"
# Where the weights of a job's `keep_steps` are, each step's a folder of its own.
STEPS: Final = "steps"


def is_finished(job: Job) -> bool:
    """Whether `job.out` already holds what this job makes.

    Raises:
        ConfigError: it holds something else.
    """
    if not job.out.exists():
        return False
    try:
        fingerprint_fields = json.loads((job.out / LINEAGE).read_text(encoding="utf-8"))["fingerprint_fields"]
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"out: {job.out} is there and was not made by a training; choose another folder") from error
    if fingerprint_fields != job.fingerprint_fields():
        keys = sorted(key for key, value in job.fingerprint_fields().items() if fingerprint_fields.get(key) != value)
        raise ConfigError(
            f"out: {job.out} was made by another job (it differs in {', '.join(keys)}); choose another folder or "
            "remove it"
        )
    return True
