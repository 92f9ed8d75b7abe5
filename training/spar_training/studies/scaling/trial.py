"""The outcome of one arm on one prompt and seed, for every budget up to the largest.

With every sibling awaited, a strategy decides by what it has seen, and its budget only cuts it off: the tree of budget
b is the first b nodes of a larger budget's tree, in the order in which they were begun. So one search tells them all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from spar_core.search import SearchResult
from spar_core.search.ranking import rank
from spar_core.search.tree import Node, Path, Tree
from spar_core.types import Completion
from spar_training.studies.scaling.baselines import best_by_votes
from spar_training.studies.scaling.oracle import Truth
from spar_training.world.prompt import Prompt


@dataclass(frozen=True, slots=True)
class Step:
    """The draft or one node: what the verifiers and the judge say of it, and what it cost.

    `made_tokens` are those of its draft or refinement, `vote_tokens` those of its judgement's `votes`: none for a
    duplicate, which shares another's.
    """

    outcome: str
    value: float | None
    accepted: bool
    strict: bool
    loose: bool
    made_tokens: int
    votes: int
    vote_tokens: int


@dataclass(frozen=True, slots=True)
class Spent:
    """Model calls and generated tokens; `judge_tokens` and `judge_calls` are the votes' part of them."""

    calls: int
    tokens: int
    judge_calls: int
    judge_tokens: int
    nodes: int


@dataclass(frozen=True, slots=True)
class Trial:
    """`steps[0]` is the draft, the others are the nodes in the order in which they were begun.

    `best[b]` is the step that answers when b nodes may be expanded. `lost_calls` and `lost_tokens` are those of
    cancelled calls. A trial that is not `nested` tells its own budget's outcome only.
    """

    index: int
    seed: int
    steps: tuple[Step, ...]
    best: tuple[int, ...]
    lost_calls: int = 0
    lost_tokens: int = 0
    nested: bool = True

    def answer(self, budget: int) -> Step:
        """What is answered. At budget 0 that is the draft, whose judgement is known here but was not asked for."""
        return self.steps[self.best[-1 if not self.nested else min(budget, len(self.best) - 1)]]

    def spent(self, budget: int) -> Spent:
        """What it cost: at budget 0 one draft and no votes."""
        steps = self.steps[: 1 + budget] if self.nested else self.steps
        judge_calls = sum(step.votes for step in steps) if budget else 0
        judge_tokens = sum(step.vote_tokens for step in steps) if budget else 0
        made = sum(step.made_tokens for step in steps)
        return Spent(
            calls=sum(step.outcome != "cancelled" for step in steps) + judge_calls + self.lost_calls,
            tokens=made + judge_tokens + self.lost_tokens,
            judge_calls=judge_calls,
            judge_tokens=judge_tokens,
            nodes=len(steps) - 1,
        )

    def row(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> Trial:
        steps = tuple(Step(**step) for step in row["steps"])
        return cls(
            row["index"],
            row["seed"],
            steps,
            tuple(row["best"]),
            row["lost_calls"],
            row["lost_tokens"],
            row["nested"],
        )


def to_trial(
    prompt: Prompt,
    result: SearchResult,
    *,
    truth: Truth,
    index: int,
    seed: int,
    begun: Sequence[Path],
    made: Mapping[Path, int],
    nested: bool,
    cancelled_tokens: int = 0,
) -> Trial:
    """A finished search as a trial.

    `begun` are its nodes' paths in order, `made` the tokens of each refinement, `cancelled_tokens` what calls had said
    before they were cancelled.
    """
    nodes = {node.path: node for node in result.tree}
    order = [nodes[()], *(nodes[path] for path in begun)]
    steps = tuple(_step(prompt, node, made.get(node.path), truth) for node in order)
    tree = Tree(order[0])
    best = [0]
    for node in order[1:]:
        tree.add(node)
        winner = rank([tree])[0]
        best.append(next(place for place, other in enumerate(order) if other is winner))
    counted = Trial(index, seed, steps, tuple(best)).spent(max(1, result.nodes))
    # Votes on a node that was then cancelled are on the account, but on no node.
    calls = sum(result.calls.values()) - counted.calls
    tokens = sum(usage.completion_tokens for usage in result.usage.values()) - counted.tokens
    return Trial(index, seed, steps, tuple(best), calls, tokens + cancelled_tokens, nested)


def drawn_trial(prompt: Prompt, nodes: Sequence[Node], *, truth: Truth, index: int, seed: int) -> Trial:
    """Samples that were all drawn and judged, in their order, as a trial: the first b + 1 of them are budget b's."""
    steps = tuple(_step(prompt, node, None, truth) for node in nodes)
    values = [step.value for step in steps]
    return Trial(index, seed, steps, tuple(best_by_votes(values[: 1 + budget]) for budget in range(len(steps))))


def sampled_steps(prompt: Prompt, samples: Sequence[Completion], truth: Truth) -> tuple[Step, ...]:
    """Samples that nobody judges; the outcome of one that says what an earlier one says is "duplicate"."""
    seen: set[str] = set()
    steps: list[Step] = []
    for sample in samples:
        text = sample.text.strip()
        strict, loose = truth.of(prompt, sample.text)
        steps.append(
            Step(
                outcome="duplicate" if text in seen else "unjudged",
                value=None,
                accepted=False,
                strict=strict,
                loose=loose,
                made_tokens=sample.usage.completion_tokens,
                votes=0,
                vote_tokens=0,
            )
        )
        seen.add(text)
    return tuple(steps)


def _step(prompt: Prompt, node: Node, refinement_tokens: int | None, truth: Truth) -> Step:
    strict, loose = truth.of(prompt, node.completion.text if node.completion else "")
    sampled = node.completion.usage.completion_tokens if node.completion else 0
    # A duplicate shares the votes of the response that it equals.
    votes = node.judgement.votes if node.judgement and node.outcome != "duplicate" else ()
    return Step(
        outcome=node.outcome,
        value=node.value,
        accepted=node.accepted,
        strict=strict,
        loose=loose,
        made_tokens=sampled if refinement_tokens is None else refinement_tokens,
        votes=len(votes),
        vote_tokens=sum(vote.usage.completion_tokens for vote in votes),
    )
