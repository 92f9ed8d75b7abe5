"""Best-of-N as the field has it: draw all N samples, judge every one, answer with the one of the highest score.

Stiennon et al. 2020 (arXiv 2009.01325), Cobbe et al. 2021 (arXiv 2110.14168). The score is the share of Yes among the
judge's votes. Nothing ends it early, unlike the engine's own `best_of_n`, which stops when a sample is accepted.
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
    """The draft's seed and those of `budget` more samples: the ones that a search by `best_of_n` draws with."""
    return [derive_seed(seed, "draft"), *(derive_seed(seed, number, "draft") for number in range(budget))]


async def draw_all(
    conversation: Sequence[Message], *, actor: Backend, judge: Judge, sampling: Sampling, seed: int, budget: int
) -> list[Node]:
    """The draft and `budget` more samples, at once, each judged as soon as it is there; no judge at budget 0.

    A sample that says what an earlier one says is a duplicate and shares its judgement, as in a search.

    Raises:
        BackendError: a sample could not be had. A vote that fails is a missing vote.
    """
    judging: dict[str, asyncio.Task[Judgement]] = {}

    async def one(number: int) -> tuple[Completion, Judgement | None]:
        completion = await actor.complete(conversation, replace(sampling, seed=number))
        if budget == 0:
            return completion, None
        key = completion.text.strip()
        if key not in judging:
            judging[key] = asyncio.create_task(judge.judge(conversation, completion.text))
        return completion, await judging[key]

    drawing = [asyncio.create_task(one(number)) for number in sample_seeds(seed, budget)]
    try:
        made = await asyncio.gather(*drawing)
    finally:
        for task in (*drawing, *judging.values()):
            task.cancel()
    nodes: list[Node] = []
    for place, (completion, judgement) in enumerate(made):
        path = (place - 1,) if place else ()
        known = any(_said(node) == completion.text.strip() for node in nodes)
        judged = judgement is not None and not judgement.failed
        nodes.append(Node(path, "duplicate" if known else "judged" if judged else "unjudged", completion, judgement))
    return nodes


def best_by_votes(values: Sequence[float | None]) -> int:
    """The place of the highest score, the earliest among equals; one without a score comes last."""
    return max(range(len(values)), key=lambda place: (-1.0 if (value := values[place]) is None else value, -place))


def _said(node: Node) -> str:
    return node.completion.text.strip() if node.completion else ""


Consensus = Literal["none", "majority", "similar"]


def most_common(texts: Sequence[str]) -> int:
    """The place of the most common text, the earliest among equals."""
    counts = Counter(text.strip() for text in texts)
    return max(range(len(texts)), key=lambda place: (counts[texts[place].strip()], -place))


def most_similar(texts: Sequence[str]) -> int:
    """The place of the text whose words overlap most with those of the others, the earliest among equals."""
    bags = [Counter(text.split()) for text in texts]
    scores = [sum(_overlap(bag, other) for other in bags) for bag in bags]
    return max(range(len(texts)), key=lambda place: (scores[place], -place))


def _overlap(one: Counter[str], other: Counter[str]) -> float:
    """F1 of two bags of words."""
    size = one.total() + other.total()
    return 2 * (one & other).total() / size if size else 0.0


CHOOSERS: Final[dict[str, Callable[[Sequence[str]], int]]] = {"majority": most_common, "similar": most_similar}
