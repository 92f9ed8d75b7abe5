"""Whether a job's model exists already. Imports no torch, so that the check is cheap."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from spar_core.errors import ConfigError
from spar_training.storage.resume import find_differences, other_settings
from spar_training.trainers.job import OLD_NAMES, Job

LINEAGE: Final = "lineage.json"
LOG: Final = "training_log.json"
PROGRESS: Final = "progress.jsonl"
# Holds the weights of a job's `keep_steps`, one folder per step.
STEPS: Final = "steps"


def is_finished(job: Job) -> bool:
    """Whether `job.out` already holds what this job makes.

    Raises:
        ConfigError: it holds something else.
    """
    if not job.out.exists():
        return False
    try:
        before = recorded_fingerprint(json.loads((job.out / LINEAGE).read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"out: {job.out} exists and was not made by a training; choose another folder") from error
    if differing := find_differences(before, current_names(job.fingerprint_fields())):
        raise other_settings(job.out, differing, "Choose another folder for out, or remove this one")
    return True


def recorded_fingerprint(record: Mapping[str, Any]) -> dict[str, Any]:
    """A job's fingerprint in a lineage or a record of an unfinished training, by the keys' current names.

    Raises:
        KeyError: there is none.
    """
    # Earlier versions called it `essence`.
    return current_names(record["essence"] if "essence" in record else record["fingerprint_fields"])


def current_names(fingerprint_fields: Mapping[str, Any]) -> dict[str, Any]:
    """A fingerprint by the current names of a job's keys."""
    names = {old: new for new, old in OLD_NAMES.items()}
    return {names.get(name, name): value for name, value in fingerprint_fields.items()}
