"""A judge whose votes on a text are drawn by that text, not by its place in a tree."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from spar_core.budget import Budget
from spar_core.checks.base import Check
from spar_core.judging import Judge, Judgement, Vote
from spar_core.seeds import derive_seed
from spar_core.types import Message


@dataclass(frozen=True, slots=True, kw_only=True)
class TextJudge(Judge):
    """Votes as `Judge` does, from random streams that belong to (`seed`, the response).

    Every method, budget and ablation that meets the same text under the same seed hears the same votes: common random
    numbers, so a paired difference holds no noise of judging one text twice. Within one search nothing changes, since
    a search judges a text once.
    """

    seed: int

    async def judge(
        self,
        conversation: Sequence[Message],
        response: str,
        *,
        checks: Sequence[Check] = (),
        seed: int = 0,
        budget: Budget | None = None,
        on_vote: Callable[[Vote], None] | None = None,
    ) -> Judgement:
        # Not super(): a dataclass with slots is another class than the one that super() would look up.
        return await Judge.judge(
            self,
            conversation,
            response,
            checks=checks,
            seed=derive_seed(self.seed, response.strip()),
            budget=budget,
            on_vote=on_vote,
        )
