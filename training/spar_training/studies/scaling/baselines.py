"""Baselines that choose among samples: best-of-N by the judge's score, and consensus without a judge.

Standard best-of-N (Stiennon et al. 2020, arXiv 2009.01325; Cobbe et al. 2021, arXiv 2110.14168) draws N samples, judges
every one, and answers with the one of the highest score, here the share of Yes among the judge's votes. Unlike the
search strategy `best_of_n`, it does not stop when a sample is accepted. Consensus takes the most common text or the one
that is most similar to the others.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, Literal

from spar_core.backends.base import Backend
from spar_core.judge import Judge, Judgement
from spar_core.search.tree import Node
from spar_core.seeds import derive_seed
from spar_core.types import Completion, Message, Sampling


def sample_seeds(seed: int, budget: int) -> list[int]:
    """Return the seeds of the draft and of `budget` more samples, the same as those of a search by `best_of_n`."""
    return [derive_seed(seed, "draft"), *(derive_seed(seed, number, "draft") for number in range(budget))]


async def draw_and_judge(
    conversation: Sequence[Message], *, actor: Backend, judge: Judge, sampling: Sampling, seed: int, budget: int
) -> list[Node]:
    """Draw the draft and `budget` more samples concurrently, and judge each when it is complete; none at budget 0.

    A sample with the same text as an earlier one is a duplicate and shares its judgement, as in a search.

    Raises:
        BackendError: a sample failed. A failed vote counts as missing.
    """
    judging: dict[str, asyncio.Task[Judgement]] = {}

    async def draw(sample_seed: int) -> tuple[Completion, Judgement | None]:
        completion = await actor.complete(conversation, replace(sampling, seed=sample_seed))
        if budget == 0:
            return completion, None
        key = completion.text.strip()
        if key not in judging:
            judging[key] = asyncio.create_task(judge.judge(conversation, completion.text))
        return completion, await judging[key]

    drawing = [asyncio.create_task(draw(sample_seed)) for sample_seed in sample_seeds(seed, budget)]
    try:
        samples = await asyncio.gather(*drawing)
    finally:
        for task in (*drawing, *judging.values()):
            task.cancel()
    nodes: list[Node] = []
    for index, (completion, judgement) in enumerate(samples):
        path = (index - 1,) if index else ()
        known = any(_text(node) == completion.text.strip() for node in nodes)
        judged = judgement is not None and not judgement.failed
        nodes.append(Node(path, "duplicate" if known else "judged" if judged else "unjudged", completion, judgement))
    return nodes


def best_by_votes(values: Sequence[float | None]) -> int:
    """Return the index of the highest score, the first among equals; samples without a score come last."""
    return max(range(len(values)), key=lambda index: (-1.0 if (value := values[index]) is None else value, -index))


def _text(node: Node) -> str:
    return node.completion.text.strip() if node.completion else ""


Consensus = Literal["none", "majority", "similar"]


def most_common(texts: Sequence[str]) -> int:
    """Return the index of the most common text, the first among equals."""
    counts = Counter(text.strip() for text in texts)
    return max(range(len(texts)), key=lambda index: (counts[texts[index].strip()], -index))


def most_similar(texts: Sequence[str]) -> int:
    """Return the index of the text whose words overlap most with those of the others, the first among equals."""
    bags = [Counter(text.split()) for text in texts]
    scores = [sum(_overlap(bag, other) for other in bags) for bag in bags]
    return max(range(len(texts)), key=lambda index: (scores[index], -index))


def _overlap(one: Counter[str], other: Counter[str]) -> float:
    """Return the F1 of two bags of words."""
    size = one.total() + other.total()
    return 2 * (one & other).total() / size if size else 0.0


CHOOSERS: Final[dict[str, Callable[[Sequence[str]], int]]] = {"majority": most_common, "similar": most_similar}
