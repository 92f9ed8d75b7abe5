"""Verifiable constraints: IFEval's 25 instruction types, IFBench's 29 for training, those of packages, functions."""

from spar_core.checks.base import Check, Finding
from spar_core.checks.function import FunctionCheck
from spar_core.checks.registry import CHECKS, IFBENCH_TRAIN_IDS, IFEVAL_IDS, build_check, verify
from spar_core.checks.response_format import format_check

__all__ = [
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
