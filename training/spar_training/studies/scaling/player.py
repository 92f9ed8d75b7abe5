"""Run one arm on one prompt and seed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from spar_core.backends.base import Backend
from spar_core.backends.wrappers.metering import MeteredBackend
from spar_core.backends.wrappers.ordering import OrderedBackend
from spar_core.budget import Budget
from spar_core.checks.base import Check
from spar_core.judge import Judge, Judgement, Vote
from spar_core.prompts import Templates
from spar_core.refiner import Refiner
from spar_core.search import Models, Searcher, SearchResult
from spar_core.search.events import Emit, Event, Expanding, Refined
from spar_core.search.tree import Node, Path
from spar_core.seeds import derive_seed
from spar_core.types import Message, Sampling
from spar_training.evals.world.evaluation import ACTOR_SAMPLING, CALL_SAMPLING
from spar_training.studies.scaling.arms import Arm
from spar_training.studies.scaling.baselines import CHOOSERS, draw_and_judge, sample_seeds
from spar_training.studies.scaling.oracle import Truth, prompt_of
from spar_training.studies.scaling.trial import Trial, samples_trial, to_trial, unjudged_steps
from spar_training.world.prompt import Prompt, Split


@dataclass(frozen=True, slots=True, kw_only=True)
class TextJudge(Judge):
    """A judge whose votes are seeded by (`seed`, the response).

    Every method, budget and ablation that judges the same text with the same seed gets the same votes. These common
    random numbers keep the noise of judging a text twice out of paired differences. Within a search nothing changes,
    since a search judges a text only once.
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
        # Not super(), which fails in a dataclass with slots, since the decorator creates a new class.
        return await Judge.judge(
            self,
            conversation,
            response,
            checks=checks,
            seed=derive_seed(self.seed, response.strip()),
            budget=budget,
            on_vote=on_vote,
        )


@dataclass(frozen=True, slots=True)
class Cell:
    """A prompt of the split with a seed; every arm runs on every cell."""

    split: Split
    index: int
    seed: int

    @property
    def prompt(self) -> Prompt:
        return prompt_of(self.split, self.index)

    @property
    def search_seed(self) -> int:
        return derive_seed(self.seed, self.split, self.index)


@dataclass(frozen=True, slots=True, kw_only=True)
class Backends:
    """The backend of each role. A judge with the arm's votes and threshold is built for each trial."""

    actor: Backend
    judge: Backend
    refiner: Backend


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRunner:
    """Runs arms on cells.

    `models` holds the models by the arm's oracle ("none", ...); `live` are the models of arms that must not use cached
    completions.
    """

    models: dict[str, Backends]
    live: Backends
    templates: Templates
    truth: Truth = field(default_factory=Truth)

    async def run(self, arm: Arm, cell: Cell) -> Trial:
        """Run an arm on a cell.

        Raises:
            BackendError: the draft failed, or a sample of an arm without a search.
        """
        if arm.consensus != "none":
            return await self._sample(arm, cell)
        if arm.judge_all:
            return await self._judge_all(arm, cell)
        started: list[Path] = []
        refinement_tokens: dict[Path, int] = {}

        def on_event(event: Event) -> None:
            match event:
                case Expanding(path):
                    started.append(path)
                case Refined(path, refinement):
                    refinement_tokens[path] = refinement.usage.completion_tokens

        prompt = cell.prompt
        models = self.live if arm.live else self.models[arm.oracle]
        meters = [MeteredBackend(models.judge), MeteredBackend(models.refiner)] if arm.live else []
        if meters:
            models = replace(models, judge=meters[0], refiner=meters[1])
        else:
            models = replace(models, actor=OrderedBackend(models.actor), refiner=OrderedBackend(models.refiner))
        result = await search(arm, cell, prompt, models, self.templates, on_event)
        # A node that was cancelled before it started made no call.
        started += [node.path for node in result.tree if node.path and node.path not in started]
        return to_trial(
            prompt,
            result,
            truth=self.truth,
            index=cell.index,
            seed=cell.seed,
            started=started,
            refinement_tokens=refinement_tokens,
            nested=arm.nested,
            cancelled_tokens=sum(meter.lost_tokens for meter in meters),
        )

    async def _sample(self, arm: Arm, cell: Cell) -> Trial:
        """Draw the same samples as best-of-N, and choose the consensus of the first b + 1 for each budget b."""
        prompt, seeds = cell.prompt, sample_seeds(cell.search_seed, arm.search.budget)
        conversation = (Message("user", prompt.text),)
        actor = self.models["none"].actor
        calls = [actor.complete(conversation, replace(ACTOR_SAMPLING, seed=one)) for one in seeds]
        samples = await asyncio.gather(*calls)
        texts = [sample.text for sample in samples]
        choose = CHOOSERS[arm.consensus]
        best = tuple(choose(texts[: 1 + budget]) for budget in range(len(texts)))
        return Trial(cell.index, cell.seed, unjudged_steps(prompt, samples, self.truth), best)

    async def _judge_all(self, arm: Arm, cell: Cell) -> Trial:
        models = self.models["none"]
        models = replace(models, actor=OrderedBackend(models.actor))
        nodes = await sample_and_judge(arm, cell, models, self.templates)
        return samples_trial(cell.prompt, nodes, truth=self.truth, index=cell.index, seed=cell.seed)


async def sample_and_judge(arm: Arm, cell: Cell, models: Backends, templates: Templates) -> list[Node]:
    """Draw and judge all samples of an arm that judges all of them."""
    return await draw_and_judge(
        (Message("user", cell.prompt.text),),
        actor=models.actor,
        judge=_judge(arm, cell, models, templates),
        sampling=ACTOR_SAMPLING,
        seed=cell.search_seed,
        budget=arm.search.budget,
    )


async def search(
    arm: Arm,
    cell: Cell,
    prompt: Prompt,
    models: Backends,
    templates: Templates,
    on_event: Emit = lambda event: None,
) -> SearchResult:
    """Run the arm's search from the cell's draft; `on_event` receives its events."""
    seed = cell.search_seed
    sampling = Sampling(temperature=0, max_tokens=ACTOR_SAMPLING.max_tokens) if arm.greedy else ACTOR_SAMPLING
    searcher = Searcher(
        Models(
            actor=models.actor,
            judge=_judge(arm, cell, models, templates),
            refiner=Refiner(backend=models.refiner, templates=templates, sampling=CALL_SAMPLING),
        ),
        config=replace(arm.search, seed=seed),
        actor_sampling=replace(sampling, seed=derive_seed(seed, "draft")),
        checks=prompt.checks if arm.checks else (),
    )
    return await searcher.run((Message("user", prompt.text),), emit=on_event)


def _judge(arm: Arm, cell: Cell, models: Backends, templates: Templates) -> TextJudge:
    return TextJudge(
        backend=models.judge,
        templates=templates,
        votes=arm.search.votes,
        threshold=arm.search.threshold,
        early_stop=arm.search.early_vote_stop,
        sampling=CALL_SAMPLING,
        seed=derive_seed(cell.search_seed, "judge"),
    )
