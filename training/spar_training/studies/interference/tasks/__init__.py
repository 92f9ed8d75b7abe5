"""The synthetic tasks, one a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from spar_training.studies.interference.tasks.base import ARMS, Arm, Asked, Task
from spar_training.studies.interference.tasks.letters import Letters
from spar_training.studies.interference.tasks.story import Story

TASKS: Final[Mapping[str, Task]] = {"letters": Letters(), "story": Story()}

__all__ = ["ARMS", "TASKS", "Arm", "Asked", "Task"]
