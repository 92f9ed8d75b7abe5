"""The one step that all strategies share: make a node, judge it, add it to the tree.

A strategy is given an `Expansion` and calls `refine_all(branches(node))` or `sample_all(...)`; it reads `config`,
`budget.nodes_left`, `tree`, `degraded` and `tokens_exhausted` to decide what to do next.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Final

from spar_core.backends.base import Backend
from spar_core.backends.context import bind_trace
from spar_core.budget import Budget, TokensExhausted
from spar_core.checks.base import Check
from spar_core.errors import BackendError
from spar_core.judge import Judgement, ResponseJudge
from spar_core.refiner import Refiner
from spar_core.search import events
from spar_core.search.config import SearchConfig
from spar_core.search.tree import Node, Outcome, Path, Tree
from spar_core.seeds import derive_seed
from spar_core.types import Completion, Message, Sampling

# Refinements are sampled at this temperature by default. Near 0 fresh drafts would all be the first one.
_LEAST_TEMPERATURE: Final = 0.7

# The node that the current task makes. A budget's calls do not name it, because a judge may be anyone's code.
_NODE: ContextVar[Path] = ContextVar("spar_node", default=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Models:
    """The three roles of a search: `actor` drafts, `judge` votes on responses, `refiner` improves them."""

    actor: Backend
    judge: ResponseJudge
    refiner: Refiner


class Expansion:
    """One running search: its tree, its budget and its models."""

    def __init__(
        self,
        *,
        conversation: Sequence[Message],
        models: Models,
        config: SearchConfig,
        actor_sampling: Sampling,
        checks: Sequence[Check],
        budget: Budget,
        emit: events.Emit,
    ) -> None:
        self.conversation = conversation
        self.config = config
        self.budget = budget
        self.tree: Tree
        self.judgements = 0
        self.degraded = False
        # Whether a call was not made for lack of tokens, or because of the bound on the cost.
        self.tokens_exhausted = False
        self._models = models
        self._actor_sampling = actor_sampling
        self._checks = checks
        self._emit = emit
        # Not a method: in a cycle with its budget, a finished search would wait for the garbage collector.
        budget.on_call = lambda call: emit(events.Called(_NODE.get(), call))
        # The judgements of each text by the turns of the nodes that have it; the earliest turn's counts.
        self._known: dict[str, dict[int, asyncio.Future[Judgement | None]]] = defaultdict(dict)
        self._turns = itertools.count()

    async def plant(self, draft: Completion, judgement: Judgement | None) -> Node:
        """Judge the draft, unless its judgement is known, and make it the tree's root."""
        turn = next(self._turns)
        if judgement is None:
            judgement = await self._judgement((), turn, draft.text)
        else:
            self._pending(turn, draft.text).set_result(judgement)
        root = Node((), "judged" if judgement else "unjudged", draft, judgement)
        self.tree = Tree(root)
        return root

    def branches(self, node: Node) -> list[tuple[Node, int]]:
        """`branch` more children of a node, for `refine_all`."""
        first = self.tree.children(node.path)
        return [(node, number) for number in range(first, first + self.config.branch)]

    async def refine_all(self, branches: Sequence[tuple[Node, int]]) -> list[Node]:
        """Refine several nodes at once; each branch is a parent and the number of its new child.

        Branches beyond the budget's nodes are left out. With `stop="first"` the first accepted node cancels the
        others. The new nodes come in the order of `branches`.
        """
        paths = [(*parent.path, number) for parent, number in branches]
        return await self._expand(paths, [parent for parent, _ in branches])

    async def sample_all(self, numbers: Sequence[int]) -> list[Node]:
        """Sample fresh drafts from the actor at once, as children of the root."""
        return await self._expand([(number,) for number in numbers], [None] * len(numbers))

    async def _expand(self, paths: Sequence[Path], parents: Sequence[Node | None]) -> list[Node]:
        jobs = [
            (path, parent, next(self._turns))
            for path, parent in zip(paths, parents, strict=True)
            if self.budget.take_node()
        ]
        tasks: list[asyncio.Task[Node]] = []

        def cancel_losers(done: asyncio.Task[Node]) -> None:
            if not done.cancelled() and done.exception() is None and done.result().accepted:
                for task in tasks:
                    task.cancel()

        try:
            async with asyncio.TaskGroup() as group:
                for number, (path, parent, turn) in enumerate(jobs):
                    task = group.create_task(self._add_node(path, parent, turn, 2 * (len(jobs) - number)))
                    if self.config.stop == "first":
                        task.add_done_callback(cancel_losers)
                    tasks.append(task)
        finally:
            for path, _, turn in jobs:
                if path in self.tree:
                    self._resolve_duplicate(self.tree[path], turn)
                else:
                    self.tree.add(Node(path, "cancelled"))
        return [self.tree[path] for (path, *_), task in zip(jobs, tasks, strict=True) if not task.cancelled()]

    def _resolve_duplicate(self, node: Node, turn: int) -> None:
        """Of nodes with the same text the first in turn counts as judged, whichever call finished first."""
        if node.completion is None or node.judgement is None:
            return
        judged = self._known[node.completion.text.strip()]
        first = min(other for other, future in judged.items() if future.done() and future.result() is not None)
        outcome: Outcome = "judged" if first == turn else "duplicate"
        self.tree.replace(replace(node, outcome=outcome, judgement=judged[first].result()))

    async def _add_node(self, path: Path, parent: Node | None, turn: int, shares: int) -> Node:
        """Make, judge and record one node; a failed model call is a failed node."""
        bind_trace(node=path)
        try:
            node = await self._make(path, parent, turn, shares)
        except BackendError as error:
            self.degraded = True
            node = Node(path, "failed", problem=f"{type(error).__name__}: {error}")
        except TokensExhausted as error:
            self.tokens_exhausted = True
            node = Node(path, "failed", problem=str(error))
        self.tree.add(node)
        return node

    async def _make(self, path: Path, parent: Node | None, turn: int, shares: int) -> Node:
        # Each node is made in a task of its own.
        _NODE.set(path)
        completion = await (self._sample(path, shares) if parent is None else self._refine(path, parent, shares))
        if isinstance(completion, str):
            return Node(path, "failed", problem=completion)
        if completion.calls_tools:
            # There is no text to judge, and a draft that answered in text stands.
            return Node(path, "unjudged", completion)
        judgement = await self._judgement(path, turn, completion.text)
        return Node(path, "judged" if judgement else "unjudged", completion, judgement)

    async def _sample(self, path: Path, shares: int) -> Completion:
        self._emit(events.Expanding(path, None))
        sampling = _varied(self._actor_sampling).seeded(derive_seed(self.config.seed, *path, "draft"))
        return await self.budget.complete("actor", self._models.actor, self.conversation, sampling, shares=shares)

    async def _refine(self, path: Path, parent: Node, shares: int) -> Completion | str:
        """The refined response as a completion, or why there is none."""
        assert parent.completion is not None
        assert parent.judgement is not None
        critique = parent.judgement.critique
        assert critique is not None
        self._emit(events.Expanding(path, critique))
        refinement = await self._models.refiner.refine(
            self.conversation,
            parent.completion.text,
            critique,
            seed=derive_seed(self.config.seed, *path, "refine"),
            budget=self.budget,
            shares=shares,
        )
        self._emit(events.Refined(path, refinement))
        text = _truncate_at_stop(refinement.text or "", self._actor_sampling.stop)
        return Completion(text, "stop", refinement.usage) if text else refinement.failure or "empty"

    async def _judgement(self, path: Path, turn: int, response: str) -> Judgement | None:
        """The judgement of a response; a text that an earlier node has is not judged again.

        A later node's judgement is never used: the tree must not depend on which of two calls was faster.
        """
        judged = self._known[response.strip()]
        while earlier := [other for other in judged if other < turn]:
            # A cancelled judge must not cancel the node that waits for its verdict.
            with suppress(asyncio.CancelledError):
                return await asyncio.shield(judged[min(earlier)])
            if (task := asyncio.current_task()) and task.cancelling():
                raise asyncio.CancelledError
        pending = self._pending(turn, response)
        try:
            judgement = await self._vote(path, response)
        except BaseException:
            pending.cancel()
            del judged[turn]
            raise
        pending.set_result(judgement)
        return judgement

    def _pending(self, turn: int, response: str) -> asyncio.Future[Judgement | None]:
        """A judgement that later nodes with this text wait for."""
        pending: asyncio.Future[Judgement | None] = asyncio.get_running_loop().create_future()
        self._known[response.strip()][turn] = pending
        return pending

    async def _vote(self, path: Path, response: str) -> Judgement | None:
        judgement = await self._models.judge.judge(
            self.conversation,
            response,
            checks=self._checks,
            seed=derive_seed(self.config.seed, *path, "judge"),
            budget=self.budget,
            on_vote=lambda vote: self._emit(events.Voted(path, vote)),
        )
        self.degraded = self.degraded or any(vote.error is not None for vote in judgement.votes)
        if judgement.failed:
            return None
        if not judgement.votes and judgement.abstained:
            self.tokens_exhausted = True
            return None
        self.judgements += bool(judgement.votes)
        self._emit(events.Judged(path, response, judgement))
        return judgement


def _truncate_at_stop(text: str, stops: Sequence[str]) -> str:
    """`text` up to the first stop string, which would have ended the actor's answer as well."""
    ends = [end for stop in stops if stop and (end := text.find(stop)) >= 0]
    return text[: min(ends)] if ends else text


def _varied(sampling: Sampling) -> Sampling:
    """The sampling of a fresh draft: the first draft's, at a temperature at which it differs from that."""
    if sampling.temperature is None or sampling.temperature >= _LEAST_TEMPERATURE:
        return sampling
    return replace(sampling, temperature=_LEAST_TEMPERATURE)
