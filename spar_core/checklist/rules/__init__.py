"""Recognize common wordings of IFEval's constraints, without a model: exact kwargs, and silence in case of doubt."""

from spar_core.checklist.rules.passage import LONGEST_READ
from spar_core.checklist.rules.recognize import recognize

__all__ = ["LONGEST_READ", "recognize"]
