"""Measure a pair of a self-play run in its world: the actor alone, the judge, one refinement, and the search.

Judges and refiners of all iterations see the same responses, the first pair's drafts, so that they can be compared;
the actor and the search are measured on the pair's own. Verifiers decide; the judge's opinion stands beside.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from spar_core.backends.base import Backend
from spar_core.checks import verify
from spar_core.prompts import load_templates
from spar_core.refiner import Refiner
from spar_core.search import PAPER_DEPTH, Models, SearchConfig, Searcher
from spar_core.seeds import derive_seed
from spar_core.types import Completion, Sampling, Usage
from spar_training.data.prompts import PromptRecord
from spar_training.evals.world.evaluation import ACTOR_SAMPLING, CALL_SAMPLING
from spar_training.inference.client import open_backend
from spar_training.pipeline.progress import item_progress
from spar_training.pipeline.runner import Policy, run_items
from spar_training.stages.judge import voting
from spar_training.storage.files import Row, read_rows

_VOTES = 5


@dataclass(frozen=True, slots=True)
class Drafted:
    """A prompt with a response to it."""

    prompt: PromptRecord
    response: str

    @property
    def id(self) -> str:
        return self.prompt.id


@dataclass(frozen=True, kw_only=True)
class PairEval:
    """Results go to `folder`, an item a row. `reference` is the folder of the first pair's evaluation.

    `answering` samples the actor's answers, `calling` votes and refinements. Drafts of the first `judged` prompts are
    judged and refined; None is all. With a `budget` of 0 there is no search.
    """

    folder: Path
    reference: Path
    templates: str
    prompts: Sequence[PromptRecord]
    judged: int | None
    budget: int
    seed: int
    answering: Sampling = ACTOR_SAMPLING
    calling: Sampling = CALL_SAMPLING
    in_flight: int = 192

    async def run(self, *, actor: Path, refiner: Path, label: str) -> dict[str, float | None]:
        """The figures, as shares of 1; None is one of nothing, such as the bad drafts mended where none is bad."""
        prompts = self.prompts
        async with AsyncExitStack() as stack:
            drafts_by = await stack.enter_async_context(open_backend(str(actor), in_flight=self.in_flight))
            judges_by = await stack.enter_async_context(open_backend(str(refiner), in_flight=self.in_flight))

            async def draft(item: PromptRecord) -> Row:
                return await self._draft(item, drafts_by)

            async def judge(item: Drafted) -> Row:
                return await self._judge(item, judges_by)

            async def search(item: Drafted) -> Row:
                return await self._search(item, drafts_by, judges_by)

            drafted = _drafted(prompts, await self._items(prompts, draft, "drafts", label))
            first = _drafted(prompts[: self.judged], list(read_rows(self.reference / "drafts.jsonl")))
            await self._items(first, judge, "judged", label)
            if self.budget:
                await self._items(drafted, search, "searched", label)
        return figures(self.folder)

    async def _items(self, items: Sequence[Any], work: Any, name: str, label: str) -> list[Row]:
        with item_progress(f"{label}, evaluation, {name}") as tell:
            out = self.folder / f"{name}.jsonl"
            return await run_items(items, work, out=out, policy=Policy(in_flight=self.in_flight), on_progress=tell)

    async def _draft(self, prompt: PromptRecord, actor: Backend) -> Row:
        seed = derive_seed(self.seed, "evaluation", prompt.id, "draft")
        answer = await actor.complete(prompt.conversation, self.answering.seeded(seed))
        return {"text": answer.text, **outcome(prompt, answer.text)}

    async def _judge(self, item: Drafted, refiner: Backend) -> Row:
        judge = voting(refiner, self.templates, _VOTES, self.calling)
        seed = derive_seed(self.seed, "evaluation", item.id)
        judgement = await judge.judge(item.prompt.conversation, item.response, seed=derive_seed(seed, "judge"))
        good = outcome(item.prompt, item.response)["strict"]
        row: Row = {"good": all(good), "accepted": judgement.accepted, "value": judgement.value}
        if not row["good"] and not judgement.accepted and judgement.critique:
            once = Refiner(backend=refiner, templates=load_templates(self.templates), sampling=self.calling)
            refined = await once.refine(
                item.prompt.conversation, item.response, judgement.critique, seed=derive_seed(seed, "refine")
            )
            text = refined.text or ""
            again = await judge.judge(item.prompt.conversation, text, seed=derive_seed(seed, "again"))
            row |= {"refined": text, "mended": all(outcome(item.prompt, text)["strict"]), "own": again.accepted}
        return row

    async def _search(self, item: Drafted, actor: Backend, refiner: Backend) -> Row:
        models = Models(
            actor=actor,
            judge=replace(voting(refiner, self.templates, _VOTES, self.calling), early_stop=True),
            refiner=Refiner(backend=refiner, templates=load_templates(self.templates), sampling=self.calling),
        )
        seed = derive_seed(self.seed, "evaluation", item.id, "search")
        config = SearchConfig(budget=self.budget, max_depth=PAPER_DEPTH, seed=seed)
        draft = Completion(item.response, "stop", Usage())
        result = await Searcher(models, config, self.answering).run(item.prompt.conversation, draft=draft)
        text = result.answer.text
        return {"text": text, "accepted": result.accepted, "nodes": result.nodes, **outcome(item.prompt, text)}


def outcome(prompt: PromptRecord, text: str) -> dict[str, list[bool]]:
    """Which of the prompt's checks pass, strictly and loosely."""
    return {
        "strict": [finding.passed for finding in verify(prompt.verifiers(), text)],
        "loose": [finding.passed for finding in verify(prompt.verifiers(), text, loose=True)],
    }


def figures(folder: Path) -> dict[str, float | None]:
    """What an evaluation's files say."""
    found = _accuracies("draft", list(read_rows(folder / "drafts.jsonl")))
    judged = list(read_rows(folder / "judged.jsonl"))
    found["judge_accuracy"] = _mean([row["good"] is row["accepted"] for row in judged])
    found["judge_f1_on_bad"] = f1([not row["good"] for row in judged], [not row["accepted"] for row in judged])
    refined = [row for row in judged if "refined" in row]
    found["refinement_success"] = _mean([row["mended"] for row in refined])
    found["refinement_success_by_own_judge"] = _mean([row["own"] for row in refined])
    if (folder / "searched.jsonl").exists():
        found |= _accuracies("searched", list(read_rows(folder / "searched.jsonl")))
    return found


def f1(truth: Sequence[bool], said: Sequence[bool]) -> float:
    """The harmonic mean of precision and recall of what is `True`; 0 where there is nothing to find and none found."""
    hits = sum(t and s for t, s in zip(truth, said, strict=True))
    return 2 * hits / max(1, sum(truth) + sum(said))


def _accuracies(name: str, rows: Sequence[Row]) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for mode in ("strict", "loose"):
        found[f"{name}_prompt_{mode}"] = _mean([all(row[mode]) for row in rows])
        found[f"{name}_instruction_{mode}"] = _mean([passed for row in rows for passed in row[mode]])
    return found


def _drafted(prompts: Sequence[PromptRecord], rows: Sequence[Row]) -> list[Drafted]:
    texts = {row["id"]: row["text"] for row in rows}
    return [Drafted(prompt, texts[prompt.id]) for prompt in prompts if prompt.id in texts]


def _mean(values: Sequence[bool]) -> float | None:
    return sum(values) / len(values) if values else None
