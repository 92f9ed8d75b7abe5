"""The synthetic tasks, one per file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from spar_training.studies.interference.tasks.base import ARMS, Arm, Task, TaskPrompt
from spar_training.studies.interference.tasks.letters import Letters
from spar_training.studies.interference.tasks.story import Story

TASKS: Final[Mapping[str, Task]] = {"letters": Letters(), "story": Story()}

__all__ = ["ARMS", "TASKS", "Arm", "Task", "TaskPrompt"]
