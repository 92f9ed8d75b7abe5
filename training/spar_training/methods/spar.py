"""The data stages of one iteration, from prompts to searches, each finished before the next."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from spar_core.errors import DataError
from spar_core.seeds import derive_seed
from spar_core.trace import read_judgement
from spar_training.data.negatives import Judged, choose_negatives
from spar_training.data.prompts import PromptRecord, read_prompts, write_prompts
from spar_training.data.search_results import Searched, read_searches
from spar_training.pipeline.executors.base import Executor
from spar_training.pipeline.progress import item_progress
from spar_training.pipeline.runner import Policy, Progress, failed_file
from spar_training.pipeline.session import ModelSession, Served
from spar_training.pipeline.stage import Stage
from spar_training.runs.folder import Iteration
from spar_training.runs.prompts import fresh_prompts
from spar_training.runs.recipe import Recipe
from spar_training.stages.judge import JudgeResponses, Sampled
from spar_training.stages.sample import Sample
from spar_training.stages.search import Search
from spar_training.stages.validity import unparseable_votes_error, unusable_answers_error, usable
from spar_training.storage.files import Row, read_rows


@dataclass(frozen=True, kw_only=True)
class Collected:
    """What the data stages found."""

    judged: list[Judged]
    searches: list[Searched]


@dataclass(frozen=True, kw_only=True)
class DataStages:
    """One iteration's. `served` opens the model of a role for as long as a stage calls it."""

    recipe: Recipe
    iteration: Iteration
    executor: Executor
    served: Served

    async def run(self) -> Collected:
        """Do what is not done yet; everything is read back from the files.

        Raises:
            DataError: no answer of the actor is whole, no vote of the refiner has a verdict, or a file cannot be used.
        """
        async with ModelSession(self.served) as models:
            return await self._collect(models)

    async def _collect(self, models: ModelSession) -> Collected:
        prompts = self._prompts()
        sampled = self._sampled(prompts, await self._stage(models, self._sample(), prompts, "samples.jsonl"))
        rows = await self._stage(models, self._judge(), sampled, "judgements.jsonl", live=_accepted_samples())
        judged = self._judged(sampled, rows)
        if self.recipe.actor_data.pairs == "sampled":
            return Collected(judged=judged, searches=[])
        negatives = choose_negatives(judged, seed=self._seed)
        found = await self._stage(models, self._search(), negatives, "searches.jsonl", live=_accepted_searches())
        return Collected(judged=judged, searches=read_searches(found, {item.id: item for item in negatives}))

    @property
    def _seed(self) -> int:
        return derive_seed(self.recipe.seed, "iteration", self.iteration.number)

    def _prompts(self) -> list[PromptRecord]:
        path = self.iteration.file("prompts.jsonl")
        if "prompts" not in self.iteration.steps():
            with self.iteration.step("prompts") as counts:
                prompts = fresh_prompts(self.recipe, self.iteration.number)
                write_prompts(path, prompts)
                counts["prompts"] = len(prompts)
        return read_prompts(path)

    async def _stage(
        self,
        models: ModelSession,
        stage: Stage[Any],
        items: list[Any],
        file: str,
        live: Callable[[Progress], str] | None = None,
    ) -> list[Row]:
        path = self.iteration.file(file)
        if stage.name in self.iteration.steps():
            return list(read_rows(path, needs=("id",)))
        policy = Policy(in_flight=self.recipe.in_flight)
        with self.iteration.step(stage.name) as counts, item_progress(self._label(stage), live=live) as tell:
            model = await models.of(stage.role)
            rows = await self.executor.run(stage, items, model=model, out=path, policy=policy, on_progress=tell)
            if problem := self._useless(stage, rows):
                # Out of the way: once the cause is mended, all is asked again.
                kept = path.rename(path.with_suffix(".useless.jsonl"))
                raise DataError(f"{kept}: {problem}. Mend that and run again")
            counts |= {"items": len(items), "failed": len(list(read_rows(failed_file(path)))), **_counted(stage, rows)}
        return rows

    def _useless(self, stage: Stage[Any], rows: list[Row]) -> str | None:
        """Why nothing can be made of what a model said, and what mends it; None where something can."""
        if stage.name == "sample":
            return unusable_answers_error(rows, max_tokens=self.recipe.sample.max_tokens)
        if stage.name == "judge":
            return unparseable_votes_error(
                rows, templates=self.recipe.templates, max_tokens=self.recipe.judge.max_tokens
            )
        return None

    def _label(self, stage: Stage[Any]) -> str:
        return f"iteration {self.iteration.number}, {stage.name}"

    def _sample(self) -> Sample:
        settings = self.recipe.sample
        return Sample(settings.responses, settings.sampling(), self._seed)

    def _judge(self) -> JudgeResponses:
        settings = self.recipe.judge
        return JudgeResponses(self.recipe.templates, settings.votes, settings.sampling(), self._seed)

    def _search(self) -> Search:
        judge, search = self.recipe.judge, self.recipe.search
        return Search(
            self.recipe.templates,
            judge.votes,
            judge.sampling(),
            search.sampling(),
            search.config(judge.votes),
            self._seed,
        )

    def _sampled(self, prompts: list[PromptRecord], rows: list[Row]) -> list[Sampled]:
        by_id = {prompt.id: prompt for prompt in prompts}
        return [Sampled(by_id[row["id"]], tuple(usable(answer) for answer in row["responses"])) for row in rows]

    def _judged(self, sampled: list[Sampled], rows: list[Row]) -> list[Judged]:
        by_id = {item.id: item for item in sampled}
        return [
            Judged(
                by_id[row["id"]].prompt,
                by_id[row["id"]].responses,
                tuple(data and read_judgement(data) for data in row["judgements"]),
            )
            for row in rows
        ]


def _counted(stage: Stage[Any], rows: list[Row]) -> dict[str, Any]:
    if stage.name == "sample":
        answers = [answer for row in rows for answer in row["responses"]]
        return {
            "responses": len(answers),
            "empty_or_cut_off": sum(usable(answer) is None for answer in answers),
            "completion_tokens": sum(answer["usage"]["completion_tokens"] for answer in answers),
        }
    if stage.name == "judge":
        judgements = [read_judgement(data) for row in rows for data in row["judgements"] if data]
        votes = [vote for judgement in judgements for vote in judgement.votes]
        return {
            "judgements": len(judgements),
            "accepted": sum(judgement.accepted for judgement in judgements),
            "contested": sum(bool(judgement.yes and judgement.no) for judgement in judgements),
            "abstained": sum(judgement.abstained for judgement in judgements),
            "votes": len(votes),
            "votes_without_verdict": sum(vote.verdict is None for vote in votes),
            "completion_tokens": sum(vote.usage.completion_tokens for vote in votes),
        }
    return {
        "accepted": sum(row["trace"]["accepted"] for row in rows),
        "nodes": sum(len(row["trace"]["nodes"]) - 1 for row in rows),
        "failed_refinements": sum(node["outcome"] == "failed" for row in rows for node in row["trace"]["nodes"]),
    }


def _accepted_samples() -> Callable[[Progress], str]:
    return _live_share(lambda row: [read_judgement(data).accepted for data in row["judgements"] if data])


def _accepted_searches() -> Callable[[Progress], str]:
    return _live_share(lambda row: [row["trace"]["accepted"]])


def _live_share(verdicts: Callable[[Row], list[bool]]) -> Callable[[Progress], str]:
    """The share accepted so far, of those finished in this run."""
    total = accepted = 0

    def told(progress: Progress) -> str:
        nonlocal total, accepted
        if progress.row is not None:
            found = verdicts(progress.row)
            total, accepted = total + len(found), accepted + sum(found)
        return f"{accepted / total:.1%} accepted" if total else ""

    return told
