"""Why a prompt is taken out."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Removal:
    """`reason` is one of a few words, to be counted; `detail` is this prompt's own."""

    reason: str
    detail: str = ""
