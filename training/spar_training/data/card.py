"""The card of training data: its figures, as JSON and as a page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import mean, median
from typing import Any

from spar_training.reports.page import Table, markdown_table
from spar_training.storage.files import Row


def card_of(pairs: Sequence[Row], conversations: Sequence[Row], left_out: Mapping[str, int]) -> dict[str, Any]:
    """Counts, lengths in words, and the similarity of the two sides of the pairs."""
    similarities = [pair["provenance"]["similarity"] for pair in pairs]
    return {
        "pairs": len(pairs),
        "similarity_within_pairs": _spread(similarities),
        "chosen_words": _spread([_words(pair["chosen"]) for pair in pairs]),
        "rejected_words": _spread([_words(pair["rejected"]) for pair in pairs]),
        "depth_of_chosen": dict(sorted(Counter(pair["provenance"].get("depth", 0) for pair in pairs).items())),
        "conversations": len(conversations),
        "conversations_by_kind": dict(sorted(Counter(row["kind"] for row in conversations).items())),
        "conversation_words": _spread([_words(row["messages"]) for row in conversations]),
        "left_out": dict(sorted(left_out.items())),
    }


def card_markdown(card: Mapping[str, Any], steps: Mapping[str, Mapping[str, Any]]) -> str:
    """The card as a Markdown page: the counts of each step, then the data."""
    counted = Table(("step", "counts"), [(name, _format(counts)) for name, counts in steps.items()])
    data = Table(("data", ""), [(key.replace("_", " "), _format(value)) for key, value in card.items()])
    return "\n\n".join(("# Training data of this iteration", markdown_table(counted), markdown_table(data))) + "\n"


def _format(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {item:,}" for key, item in value.items()) or "none"
    return f"{value:,}"


def _spread(values: Sequence[float]) -> dict[str, float]:
    if not values:
        return {}
    return {
        "least": round(min(values), 3),
        "median": round(median(values), 3),
        "mean": round(mean(values), 3),
        "most": round(max(values), 3),
    }


def _words(turns: Sequence[Mapping[str, str]]) -> int:
    return sum(len(turn["content"].split()) for turn in turns)
