"""What an evolution of prompts is run with."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from spar_core.types import Sampling
from spar_training.prompt_evolution.contamination import NEAR
from spar_training.prompt_evolution.filters.quality import Bounds


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterSettings:
    """`near` is a Jaccard similarity, `self_bleu` a BLEU and `leak` a containment, each in [0, 1]."""

    bounds: Bounds = field(default_factory=Bounds)
    language: str = "en"
    near: float = 0.7
    self_bleu: float = 0.5
    leak: float = NEAR


@dataclass(frozen=True, slots=True, kw_only=True)
class EvolveSettings:
    """Each of at most `limit` seed prompts is grown `per_seed` times; all of them where it is None."""

    seeds: tuple[Path, ...]
    out: Path
    against: tuple[Path, ...] = ()
    drop_leaks: bool = False
    seed: int = 0
    per_seed: int = 1
    limit: int | None = None
    filters: FilterSettings = field(default_factory=FilterSettings)
    sampling: Sampling = field(default_factory=lambda: Sampling(temperature=0.9, top_p=0.9, max_tokens=1024))
