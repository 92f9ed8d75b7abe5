"""Checks on marks that must not be used."""

from __future__ import annotations

from typing import Final

from spar_core.checks.ifeval.punctuation import without
from spar_core.checks.spec import CheckSpec

SPECS: Final = (
    CheckSpec("ifbench-train:punctuation_dot", lambda _: "no full stops or other dots", without(".", "dot")),
    CheckSpec(
        "ifbench-train:punctuation_exclamation", lambda _: "no exclamation marks", without("!", "exclamation mark")
    ),
)
