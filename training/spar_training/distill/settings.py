"""The settings of a distillation."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from spar_core.types import Sampling


@dataclass(frozen=True, slots=True, kw_only=True)
class DistillSettings:
    """The settings of a distillation; sampling is the paper's by default.

    `drafts` answers of a drafting model to each prompt are judged, or without such a model the teacher's own answers.
    `balance` is the maximum number of judgements of the more frequent verdict for each one of the other; None for no
    limit.
    """

    prompts: Path
    out: Path
    templates: str = "default"
    seed: int = 0
    drafts: int = 1
    balance: float | None = None
    answering: Sampling = field(default_factory=lambda: Sampling(temperature=0.9, top_p=0.9, max_tokens=2048))
    judging: Sampling = field(default_factory=lambda: Sampling(temperature=0.7, max_tokens=2048))
    refining: Sampling = field(default_factory=lambda: Sampling(temperature=0.7, max_tokens=3072))
