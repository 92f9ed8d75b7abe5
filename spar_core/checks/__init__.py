"""Verifiable constraints: IFEval's 25 instruction types with its ids and kwargs, those of packages, and functions."""

from spar_core.checks.base import Check, Finding
from spar_core.checks.function import FunctionCheck
from spar_core.checks.registry import CHECKS, IFEVAL_IDS, build_check, verify
from spar_core.checks.response_format import format_check

__all__ = ["CHECKS", "IFEVAL_IDS", "Check", "Finding", "FunctionCheck", "build_check", "format_check", "verify"]
