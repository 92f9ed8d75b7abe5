"""The outcome of one arm on one prompt and seed, for every budget up to the largest.

If all siblings are awaited, a strategy's decisions depend only on the nodes so far, and the budget only ends the
search: the tree of budget b consists of the first b nodes of a larger budget's tree, in the order in which they were
started. So one search covers all budgets.
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
    """The draft or a node, with the verdicts of the verifiers and the judge, and its cost.

    `made_tokens` are the tokens of the draft or refinement, `vote_tokens` those of the judgement's `votes`; a duplicate
    has none, since it shares the judgement of another node.
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
class Cost:
    """Model calls and generated tokens; `judge_calls` and `judge_tokens` are the part of the votes."""

    calls: int
    tokens: int
    judge_calls: int
    judge_tokens: int
    nodes: int


@dataclass(frozen=True, slots=True)
class Trial:
    """The outcome of an arm on a cell. `steps[0]` is the draft, then come the nodes in the order of their start.

    `best[b]` is the index of the step that answers at budget b. `lost_calls` and `lost_tokens` are those of cancelled
    calls. A trial that is not `nested` covers its own budget only.
    """

    index: int
    seed: int
    steps: tuple[Step, ...]
    best: tuple[int, ...]
    lost_calls: int = 0
    lost_tokens: int = 0
    nested: bool = True

    def answer(self, budget: int) -> Step:
        """Return the step that answers. At budget 0 that is the draft, whose judgement is known but not paid for."""
        return self.steps[self.best[-1 if not self.nested else min(budget, len(self.best) - 1)]]

    def cost(self, budget: int) -> Cost:
        """Return the cost of the answer; at budget 0 that of one draft without votes."""
        steps = self.steps[: 1 + budget] if self.nested else self.steps
        judge_calls = sum(step.votes for step in steps) if budget else 0
        judge_tokens = sum(step.vote_tokens for step in steps) if budget else 0
        text_tokens = sum(step.made_tokens for step in steps)
        return Cost(
            calls=sum(step.outcome != "cancelled" for step in steps) + judge_calls + self.lost_calls,
            tokens=text_tokens + judge_tokens + self.lost_tokens,
            judge_calls=judge_calls,
            judge_tokens=judge_tokens,
            nodes=len(steps) - 1,
        )

    def row(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Trial:
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
    started: Sequence[Path],
    refinement_tokens: Mapping[Path, int],
    nested: bool,
    cancelled_tokens: int = 0,
) -> Trial:
    """Convert a finished search to a trial.

    `started` holds the nodes' paths in order of their start, `refinement_tokens` the tokens of each refinement, and
    `cancelled_tokens` the tokens that cancelled calls had generated.
    """
    nodes = {node.path: node for node in result.tree}
    order = [nodes[()], *(nodes[path] for path in started)]
    steps = tuple(_step(prompt, node, refinement_tokens.get(node.path), truth) for node in order)
    tree = Tree(order[0])
    best = [0]
    for node in order[1:]:
        tree.add(node)
        winner = rank([tree])[0]
        best.append(next(index for index, other in enumerate(order) if other is winner))
    counted = Trial(index, seed, steps, tuple(best)).cost(max(1, result.nodes))
    # Votes on a node that was cancelled later are in the search's account, but not in any node.
    calls = sum(result.calls.values()) - counted.calls
    tokens = sum(usage.completion_tokens for usage in result.usage.values()) - counted.tokens
    return Trial(index, seed, steps, tuple(best), calls, tokens + cancelled_tokens, nested)


def samples_trial(prompt: Prompt, nodes: Sequence[Node], *, truth: Truth, index: int, seed: int) -> Trial:
    """Convert judged samples, in order, to a trial: the first b + 1 of them are those of budget b."""
    steps = tuple(_step(prompt, node, None, truth) for node in nodes)
    values = [step.value for step in steps]
    return Trial(index, seed, steps, tuple(best_by_votes(values[: 1 + budget]) for budget in range(len(steps))))


def unjudged_steps(prompt: Prompt, samples: Sequence[Completion], truth: Truth) -> tuple[Step, ...]:
    """Convert samples to steps without a judgement; a sample with the text of an earlier one is a "duplicate"."""
    seen: set[str] = set()
    steps: list[Step] = []
    for sample in samples:
        text = sample.text.strip()
        strict, loose = truth.verdicts(prompt, sample.text)
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
    strict, loose = truth.verdicts(prompt, node.completion.text if node.completion else "")
    sampled = node.completion.usage.completion_tokens if node.completion else 0
    # A duplicate shares the votes of the node with the same text.
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
