"""Verifiable constraints: IFEval's instruction types, IFBench's for training, those of packages, and functions."""

from spar_core.checks.base import Check, Finding
from spar_core.checks.function import FunctionCheck
from spar_core.checks.registry import BUILT_IN_IDS, CHECKS, IFBENCH_TRAIN_IDS, IFEVAL_IDS, build_check, verify
from spar_core.checks.response_format import format_check

__all__ = [
    "BUILT_IN_IDS",
    "CHECKS",
    "IFBENCH_TRAIN_IDS",
    "IFEVAL_IDS",
    "Check",
    "Finding",
    "FunctionCheck",
    "build_check",
    "format_check",
    "verify",
]
