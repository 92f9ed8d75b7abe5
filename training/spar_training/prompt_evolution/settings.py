"""The settings of a prompt evolution."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from spar_core.types import Sampling
from spar_training.prompt_evolution.contamination import CONTAMINATION_THRESHOLD
from spar_training.prompt_evolution.filters.quality import Bounds


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterSettings:
    """The filters' thresholds, each in [0, 1].

    `near_duplicate_threshold` is a Jaccard similarity, `self_bleu` a BLEU and `contamination_threshold` a containment.
    """

    bounds: Bounds = field(default_factory=Bounds)
    language: str = "en"
    near_duplicate_threshold: float = 0.7
    self_bleu: float = 0.5
    contamination_threshold: float = CONTAMINATION_THRESHOLD


@dataclass(frozen=True, slots=True, kw_only=True)
class EvolveSettings:
    """The inputs of an evolution; each of up to `limit` seed prompts (None for all) is evolved `per_seed` times."""

    seeds: tuple[Path, ...]
    out: Path
    benchmarks: tuple[Path, ...] = ()
    drop_leaks: bool = False
    seed: int = 0
    per_seed: int = 1
    limit: int | None = None
    filters: FilterSettings = field(default_factory=FilterSettings)
    sampling: Sampling = field(default_factory=lambda: Sampling(temperature=0.9, top_p=0.9, max_tokens=1024))
