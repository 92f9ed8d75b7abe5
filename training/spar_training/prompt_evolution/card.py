"""The data card of evolved prompts: their sources, what was removed and why, and their statistics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from spar_training.prompt_evolution.filters.diversity import self_bleu
from spar_training.prompt_evolution.pipeline import EvolvePipeline
from spar_training.prompt_evolution.shingles import words
from spar_training.reports.page import Table, markdown_table
from spar_training.storage.files import Row, write_json, write_text


def write_card(pipeline: EvolvePipeline, prompts: Sequence[Row], model: str) -> dict[str, Any]:
    """Write `card.json` and `card.md` to the folder; return the contents of `card.json`."""
    settings = pipeline.settings
    texts = [row["messages"][0]["content"] for row in prompts]
    seeds = [seed.text for seed in pipeline.seeds]
    card = {
        "version": version("spar-server"),
        "model": model,
        "seeds": [path.name for path in settings.seeds],
        "benchmarks": [path.name for path in settings.benchmarks],
        "settings": {
            "seed": settings.seed,
            "per_seed": settings.per_seed,
            "limit": settings.limit,
            "sampling": asdict(settings.sampling),
            "filters": asdict(settings.filters),
        },
        "funnel": [asdict(stage) for stage in pipeline.funnel.stages],
        "leaks": [asdict(leak) for leak in pipeline.leaks],
        "prompts": len(prompts),
        "main_groups": _counts(row["main_group"] for row in prompts),
        "other_groups": _counts(group for row in prompts for group in row["other_groups"]),
        "words": {"seeds": _spread(seeds), "prompts": _spread(texts)},
        "self_bleu": {"seeds": self_bleu(seeds), "prompts": self_bleu(texts)},
    }
    write_json(settings.out / "card.json", card)
    write_text(settings.out / "card.md", _markdown(card))
    return card


def _counts(names: Any) -> dict[str, int]:
    return dict(Counter(names).most_common())


def _spread(texts: Sequence[str]) -> dict[str, float]:
    """Minimum, quartiles, maximum and mean of the lengths in words; empty if there are no texts."""
    sizes = sorted(len(words(text)) for text in texts)
    if not sizes:
        return {}
    quarter, half, three, last = (sizes[round(share * (len(sizes) - 1))] for share in (0.25, 0.5, 0.75, 1))
    return {
        "min": sizes[0],
        "quarter": quarter,
        "median": half,
        "three_quarters": three,
        "max": last,
        "mean": round(sum(sizes) / len(sizes), 1),
    }


def _markdown(card: dict[str, Any]) -> str:
    filters = card["settings"]["filters"]
    return "\n".join(
        [
            "# Evolved prompts",
            "",
            f"{card['prompts']:,} prompts, evolved from {', '.join(card['seeds'])} by {card['model']} "
            f"(spar {card['version']}, seed {card['settings']['seed']}). Compared with "
            f"{', '.join(card['benchmarks']) or 'no benchmarks'}; {len(card['leaks'])} leaked prompts were removed.",
            "",
            "## Funnel",
            "",
            markdown_table(Table(("stage", "in", "kept", "removed"), [_stage(stage) for stage in card["funnel"]])),
            "",
            "Near duplicates: Jaccard similarity of 3-word shingles of at least "
            f"{filters['near_duplicate_threshold']}. Diversity: BLEU-4 with an accepted prompt above "
            f"{filters['self_bleu']}. Benchmarks: containment of 3-word shingles of at least "
            f"{filters['contamination_threshold']}. Every removed row is in `filtered.jsonl` with its reason.",
            "",
            "## Constraints",
            "",
            markdown_table(Table(("group", "as main", "additional"), _groups(card))),
            "",
            "## Lengths and diversity",
            "",
            markdown_table(Table(("", *card["words"]["seeds"], "Self-BLEU"), _shapes(card))),
            "",
            "Lengths are in words. Self-BLEU is the mean BLEU-4 of up to 1,000 texts with their nearest other text; "
            "lower is more diverse.",
            "",
        ]
    )


def _stage(stage: dict[str, Any]) -> tuple[str, ...]:
    why = ", ".join(f"{count:,} {reason}" for reason, count in stage["removed"].items())
    return stage["name"], f"{stage['taken']:,}", f"{stage['kept']:,}", why


def _groups(card: dict[str, Any]) -> list[tuple[str, ...]]:
    main, other = card["main_groups"], card["other_groups"]
    return [(name, f"{main.get(name, 0):,}", f"{other.get(name, 0):,}") for name in sorted({*main, *other})]


def _shapes(card: dict[str, Any]) -> list[tuple[str, ...]]:
    return [
        (name, *map(str, spread.values()), f"{card['self_bleu'][name]:.3f}")
        for name, spread in card["words"].items()
        if spread
    ]
