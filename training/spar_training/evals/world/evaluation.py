"""Measure a pair on the synthetic world by verifiers: the judge, one refinement, and what a budget buys.

Every prompt is drafted once, with the paper's sampling for actors. The draft is the answer at budget 0, and the search
starts from the same draft, so that the comparison is paired and the draft's sampling noise cancels out. The judge's
verdict never counts as quality.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace

from spar_core.backends.base import Backend
from spar_core.checks import verify
from spar_core.judge import Judge, Judgement
from spar_core.prompts import Templates
from spar_core.refiner import Refiner
from spar_core.search import Models, SearchConfig, Searcher, SearchResult
from spar_core.seeds import derive_seed
from spar_core.types import Completion, Message, Sampling
from spar_training.evals.judge.accuracy import judged_right
from spar_training.reports.intervals import Interval, cluster_interval, difference_interval, interval, mean_interval
from spar_training.world.example import draw_example
from spar_training.world.prompt import Prompt, Split

ACTOR_SAMPLING = Sampling(temperature=0.9, top_p=0.9, max_tokens=256)
CALL_SAMPLING = Sampling(temperature=0.7, max_tokens=256)
_PROMPTS_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one prompt: the texts, the judgement, and whether the checks pass."""

    prompt: Prompt
    draft: Completion
    greedy_passed: bool
    judgement: Judgement
    refined: str | None
    result: SearchResult

    @property
    def draft_passed(self) -> bool:
        return passes(self.prompt, self.draft.text)

    @property
    def answer_passed(self) -> bool:
        return passes(self.prompt, self.result.answer.text)


def passes(prompt: Prompt, text: str, *, loose: bool = False) -> bool:
    """Whether every check of the prompt passes, as in prompt-level accuracy."""
    return all(finding.passed for finding in verify(prompt.checks, text, loose=loose))


@dataclass(frozen=True, kw_only=True)
class WorldEval:
    """One evaluation: a pair, a split of the world's prompts, a budget and a seed."""

    actor: Backend
    refiner: Backend
    templates: Templates
    split: Split
    prompts: int
    budget: int
    seed: int

    async def run(self, on_progress: Callable[[int], None]) -> list[Outcome]:
        """Return the outcome of every prompt, in order. `on_progress` receives the number of finished prompts."""
        slots = asyncio.Semaphore(_PROMPTS_AT_ONCE)
        done = 0

        async def run_prompt(index: int) -> Outcome:
            nonlocal done
            async with slots:
                outcome = await self._outcome(index)
            done += 1
            on_progress(done)
            return outcome

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(run_prompt(index)) for index in range(self.prompts)]
        return [task.result() for task in tasks]

    async def _outcome(self, index: int) -> Outcome:
        prompt = draw_example(self.split, index).prompt
        seed = derive_seed(self.seed, self.split, index)
        conversation = (Message("user", prompt.text),)
        draft = await self.actor.complete(conversation, replace(ACTOR_SAMPLING, seed=derive_seed(seed, "draft")))
        greedy = await self.actor.complete(conversation, Sampling(temperature=0, max_tokens=256))
        config = SearchConfig(budget=self.budget, seed=seed)
        judge = Judge(backend=self.refiner, templates=self.templates, early_stop=False, sampling=CALL_SAMPLING)
        refiner = Refiner(backend=self.refiner, templates=self.templates, sampling=CALL_SAMPLING)
        judgement = await judge.judge(conversation, draft.text, seed=derive_seed(seed, "judge"))
        refined = None
        if not passes(prompt, draft.text) and not judgement.accepted and judgement.critique:
            once = await refiner.refine(conversation, draft.text, judgement.critique, seed=derive_seed(seed, "once"))
            refined = once.text or ""
        voting = Judge(backend=self.refiner, templates=self.templates, sampling=CALL_SAMPLING)
        models = Models(actor=self.actor, judge=voting, refiner=refiner)
        result = await Searcher(models, config, ACTOR_SAMPLING).run(conversation, draft=draft)
        return Outcome(prompt, draft, passes(prompt, greedy.text), judgement, refined, result)


@dataclass(frozen=True, slots=True)
class Figures:
    """The evaluation's figures, as fractions of 1."""

    judge_balanced: Interval
    judge_on_good: Interval
    judge_on_bad: Interval
    parse_failures: Interval
    refinement_success: Interval
    draft_strict: Interval
    draft_loose: Interval
    greedy_strict: Interval
    searched_strict: Interval
    searched_loose: Interval
    gain_strict: Interval
    gain_over_greedy: Interval
    nodes: float
    tokens_per_answer: float


def figures(outcomes: list[Outcome]) -> Figures:
    """Compute the figures of the outcomes with 95% intervals; the gains are paired."""
    judged = [{"good": o.draft_passed, "accepted": o.judgement.accepted, "value": o.judgement.value} for o in outcomes]
    on_good, on_bad = (
        interval([float(judged_right(row)) for row in judged if row["good"] is good]) for good in (True, False)
    )
    unread = [[float(vote.verdict is None) for vote in o.judgement.votes] for o in outcomes]
    draft = [float(o.draft_passed) for o in outcomes]
    greedy = [float(o.greedy_passed) for o in outcomes]
    answer = [float(o.answer_passed) for o in outcomes]
    spent = [sum(usage.completion_tokens for usage in o.result.usage.values()) for o in outcomes]
    return Figures(
        judge_balanced=mean_interval([on_good, on_bad]),
        judge_on_good=on_good,
        judge_on_bad=on_bad,
        parse_failures=cluster_interval(unread),
        refinement_success=interval([float(passes(o.prompt, o.refined)) for o in outcomes if o.refined is not None]),
        draft_strict=interval(draft),
        draft_loose=interval([float(passes(o.prompt, o.draft.text, loose=True)) for o in outcomes]),
        greedy_strict=interval(greedy),
        searched_strict=interval(answer),
        searched_loose=interval([float(passes(o.prompt, o.result.answer.text, loose=True)) for o in outcomes]),
        gain_strict=difference_interval([a - d for a, d in zip(answer, draft, strict=True)]),
        gain_over_greedy=difference_interval([a - g for a, g in zip(answer, greedy, strict=True)]),
        nodes=sum(o.result.nodes for o in outcomes) / len(outcomes),
        tokens_per_answer=sum(spent) / len(outcomes),
    )
