"""Preference pairs for DPO on the actor.

Refined pairs are those of SPaR (arXiv 2412.11605): a response judged No against its own accepted refinement, so that
the two differ in little but what the response missed. In repaired pairs a program made the refinement. Sampled pairs
are the usual baseline: two responses to a prompt, one judged Yes and one judged No.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Any

from spar_core.types import Message
from spar_training.data.negatives import JudgedItem, Negative
from spar_training.data.prompts import PromptRecord
from spar_training.data.search_results import Searched
from spar_training.storage.files import Row


def similarity(one: str, other: str) -> float:
    """The share of words in common and in order, 0 to 1: twice the matches over all words (Ratcliff-Obershelp)."""
    return SequenceMatcher(None, one.split(), other.split(), autojunk=False).ratio()


def preference_pair(prompt: PromptRecord, chosen: str, rejected: str, *, kind: str, **provenance: Any) -> Row:
    """The row of a preference pair, as DPO trains on it.

        preference_pair(item.prompt, "A good answer.", "A bad one.", kind="mine", round=2)

    `kind` names what made the pair; `provenance` is kept with the row and read by nothing but reports.
    """
    return {
        "id": prompt.id,
        "prompt": [message.to_openai() for message in prompt.conversation],
        "chosen": [Message("assistant", chosen).to_openai()],
        "rejected": [Message("assistant", rejected).to_openai()],
        "provenance": {"kind": kind, **provenance, "similarity": round(similarity(chosen, rejected), 4)},
    }


def refined_pairs(searches: Sequence[Searched]) -> list[Row]:
    """A pair from each search that found an accepted refinement."""
    return [
        preference_pair(
            search.negative.prompt,
            _text(search.best),
            search.negative.response,
            kind="refined",
            place=search.negative.place,
            depth=search.best.depth,
            nodes=len(search.tree),
            value=search.best.value,
            rejected_value=search.negative.judgement.value,
        )
        for search in searches
        if search.accepted
    ]


def repaired_pairs(repaired: Sequence[tuple[Negative, str]]) -> list[Row]:
    """A pair of each repaired response."""
    return [
        preference_pair(
            negative.prompt,
            text,
            negative.response,
            kind="repaired",
            place=negative.place,
            rejected_value=negative.judgement.value,
        )
        for negative, text in repaired
    ]


def sampled_pairs(judged: Sequence[JudgedItem], *, seed: int) -> list[Row]:
    """A pair from each prompt with responses of both verdicts, drawn at random."""
    pairs: list[Row] = []
    for item in judged:
        good, bad = item.with_verdict(True), item.with_verdict(False)
        if not good or not bad:
            continue
        rng = random.Random(f"{seed}/pair/{item.id}")
        yes, no = rng.choice(good), rng.choice(bad)
        chosen, rejected = item.responses[yes], item.responses[no]
        assert chosen is not None
        assert rejected is not None
        values = [judgement.value if judgement else None for judgement in item.judgements]
        pairs.append(
            preference_pair(
                item.prompt,
                chosen,
                rejected,
                kind="sampled",
                place=no,
                chosen_place=yes,
                value=values[yes],
                rejected_value=values[no],
            )
        )
    return pairs


def capped(rows: Sequence[Row], max_rows: int | None, *, seed: int) -> list[Row]:
    """At most `max_rows` rows, drawn at random, in their order; None means all."""
    if max_rows is None or len(rows) <= max_rows:
        return list(rows)
    drawn = sorted(random.Random(f"{seed}/cap").sample(range(len(rows)), max_rows))
    return [rows[index] for index in drawn]


def _text(node: Any) -> str:
    return str(node.completion.text)
