"""Measure a pair of a self-play run by verifiers: the actor alone, the judge, one refinement, and the search.

The judges and refiners of all iterations see the same responses, the first pair's drafts, so that they can be compared;
the actor and the search are measured on the pair's own drafts. Verifiers decide; the judge's verdict is recorded too.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from spar_core.backends.base import Backend
from spar_core.checks import verify
from spar_core.judge import JudgeName
from spar_core.prompts import load_templates
from spar_core.refiner import Refiner
from spar_core.search import PAPER_DEPTH, Models, SearchConfig, Searcher
from spar_core.seeds import derive_seed
from spar_core.types import Completion, Sampling, Usage
from spar_training.data.prompts import PromptRecord
from spar_training.evals.judge.accuracy import judged_right
from spar_training.evals.world.evaluation import ACTOR_SAMPLING, CALL_SAMPLING
from spar_training.inference.client import open_backend
from spar_training.pipeline.progress import item_progress
from spar_training.pipeline.runner import Policy, failed_file, run_items
from spar_training.reports.intervals import Interval, cluster_interval, proportion_interval, statistic_interval
from spar_training.runs.counts import INTERVALS
from spar_training.stages.judge import Judging
from spar_training.storage.files import Row, read_rows

_VOTES = 5


@dataclass(frozen=True, slots=True)
class DraftedItem:
    """A prompt with a draft."""

    prompt: PromptRecord
    response: str

    @property
    def id(self) -> str:
        return self.prompt.id


@dataclass(frozen=True, kw_only=True)
class PairEval:
    """The evaluation of one pair; results go to `folder`, one row per item.

    `reference` is the folder of the first pair's evaluation. `actor_sampling` is for drafts, `refiner_sampling` for
    votes and refinements. The drafts of the first `judged_prompts` prompts (None for all) are judged and refined. With
    a `budget` of 0 there is no search.
    """

    folder: Path
    reference: Path
    templates: str
    prompts: Sequence[PromptRecord]
    judged_prompts: int | None
    budget: int
    seed: int
    actor_sampling: Sampling = ACTOR_SAMPLING
    refiner_sampling: Sampling = CALL_SAMPLING
    judge: JudgeName = "holistic"
    in_flight: int = 192

    async def run(self, *, actor: Path, refiner: Path, label: str) -> dict[str, Any]:
        """Run the evaluation; return its `figures`, as fractions of 1."""
        prompts = self.prompts
        async with AsyncExitStack() as stack:
            actor_backend = await stack.enter_async_context(open_backend(str(actor), in_flight=self.in_flight))
            refiner_backend = await stack.enter_async_context(open_backend(str(refiner), in_flight=self.in_flight))

            async def draft(item: PromptRecord) -> Row:
                return await self._draft(item, actor_backend)

            async def judge(item: DraftedItem) -> Row:
                return await self._judge(item, refiner_backend)

            async def search(item: DraftedItem) -> Row:
                return await self._search(item, actor_backend, refiner_backend)

            drafted = _drafted_items(prompts, await self._items(prompts, draft, "drafts", label))
            first_drafts = list(read_rows(self.reference / "drafts.jsonl"))
            first = _drafted_items(prompts[: self.judged_prompts], first_drafts)
            await self._items(first, judge, "judged", label)
            if self.budget:
                await self._items(drafted, search, "searched", label)
        return figures(self.folder)

    async def _items(self, items: Sequence[Any], work: Any, name: str, label: str) -> list[Row]:
        with item_progress(f"{label}, evaluation, {name}") as on_progress:
            out = self.folder / f"{name}.jsonl"
            return await run_items(
                items, work, out=out, policy=Policy(in_flight=self.in_flight), on_progress=on_progress
            )

    async def _draft(self, prompt: PromptRecord, actor: Backend) -> Row:
        seed = derive_seed(self.seed, "evaluation", prompt.id, "draft")
        answer = await actor.complete(prompt.conversation, self.actor_sampling.seeded(seed))
        return {"text": answer.text, **outcome(prompt, answer.text)}

    def _judging(self) -> Judging:
        return Judging(self.judge, self.templates, _VOTES, self.refiner_sampling)

    async def _judge(self, item: DraftedItem, refiner: Backend) -> Row:
        judge = self._judging().by(refiner)
        seed = derive_seed(self.seed, "evaluation", item.id)
        judgement = await judge.judge(item.prompt.conversation, item.response, seed=derive_seed(seed, "judge"))
        good = outcome(item.prompt, item.response)["strict"]
        row: Row = {"good": all(good), "accepted": judgement.accepted, "value": judgement.value}
        if not row["good"] and not judgement.accepted and judgement.critique:
            refinement = await Refiner(
                backend=refiner, templates=load_templates(self.templates), sampling=self.refiner_sampling
            ).refine(item.prompt.conversation, item.response, judgement.critique, seed=derive_seed(seed, "refine"))
            text = refinement.text or ""
            second = await judge.judge(item.prompt.conversation, text, seed=derive_seed(seed, "again"))
            row |= {
                "refined": text,
                "refined_good": all(outcome(item.prompt, text)["strict"]),
                "refined_accepted": second.accepted,
            }
        return row

    async def _search(self, item: DraftedItem, actor: Backend, refiner: Backend) -> Row:
        models = Models(
            actor=actor,
            judge=replace(self._judging().by(refiner), early_stop=True),
            refiner=Refiner(backend=refiner, templates=load_templates(self.templates), sampling=self.refiner_sampling),
        )
        seed = derive_seed(self.seed, "evaluation", item.id, "search")
        config = SearchConfig(budget=self.budget, max_depth=PAPER_DEPTH, seed=seed)
        draft = Completion(item.response, "stop", Usage())
        result = await Searcher(models, config, self.actor_sampling).run(item.prompt.conversation, draft=draft)
        text = result.answer.text
        return {"text": text, "accepted": result.accepted, "nodes": result.nodes, **outcome(item.prompt, text)}


def outcome(prompt: PromptRecord, text: str) -> dict[str, list[bool]]:
    """Return which of the prompt's checks pass, strictly and loosely."""
    return {
        "strict": [finding.passed for finding in verify(prompt.verifiers(), text)],
        "loose": [finding.passed for finding in verify(prompt.verifiers(), text, loose=True)],
    }


def figures(folder: Path) -> dict[str, Any]:
    """Compute the figures of an evaluation from its files, and under `intervals` the 95% interval and n of each.

    A figure is None if there was nothing to measure. Items that failed count as wrong; of a prompt without a draft, the
    files do not tell the number of instructions, so it counts as one.
    """
    drafts = list(read_rows(folder / "drafts.jsonl"))
    lost = [_unmet(row["id"], 1) for row in _failed(folder / "drafts.jsonl")]
    found = _accuracies("draft", [*drafts, *lost])
    judged = list(read_rows(folder / "judged.jsonl"))
    found["judge_accuracy"] = proportion_interval(
        [*map(judged_right, judged), *(False for _ in _failed(folder / "judged.jsonl"))]
    )
    found["judge_f1_on_bad"] = statistic_interval([(not row["good"], rejects(row)) for row in judged], _f1)
    refined = [row for row in judged if "refined" in row]
    found["refinement_success"] = proportion_interval([refined_good(row) for row in refined])
    found["refinement_success_by_own_judge"] = proportion_interval([refined_accepted(row) for row in refined])
    if (folder / "searched.jsonl").exists():
        instructions = {row["id"]: len(row["strict"]) for row in drafts}
        lost += [_unmet(row["id"], instructions[row["id"]]) for row in _failed(folder / "searched.jsonl")]
        found |= _accuracies("searched", [*read_rows(folder / "searched.jsonl"), *lost])
    return {
        **{name: one.mean if one.n else None for name, one in found.items()},
        INTERVALS: {name: {"low": one.low, "high": one.high, "n": one.n} for name, one in found.items() if one.n},
    }


def _failed(out: Path) -> list[Row]:
    return list(read_rows(failed_file(out))) if failed_file(out).exists() else []


def _unmet(id: str, instructions: int) -> Row:
    return {"id": id, "strict": [False] * instructions, "loose": [False] * instructions}


def rejects(row: Row) -> bool:
    """Return whether the judge rejected the response of a judged row; an abstention rejects nothing."""
    return row["value"] is not None and not row["accepted"]


def refined_good(row: Row) -> bool:
    """Return whether the refinement in a judged row passes all checks; False if there is none.

    Older files have the key `mended`.
    """
    return bool(row.get("refined_good", row.get("mended", False)))


def refined_accepted(row: Row) -> bool:
    """Return whether the pair's own judge accepts the refinement in a judged row; False if there is none.

    Older files have the key `own`.
    """
    return bool(row.get("refined_accepted", row.get("own", False)))


def _f1(pairs: Sequence[tuple[bool, bool]]) -> float:
    """The F1 of pairs of truth and prediction; 0 if nothing is true and nothing predicted."""
    hits = sum(true and predicted for true, predicted in pairs)
    return 2 * hits / max(1, sum(true + predicted for true, predicted in pairs))


def _accuracies(name: str, rows: Sequence[Row]) -> dict[str, Interval]:
    found: dict[str, Interval] = {}
    for mode in ("strict", "loose"):
        found[f"{name}_prompt_{mode}"] = proportion_interval([all(row[mode]) for row in rows])
        found[f"{name}_instruction_{mode}"] = cluster_interval([[float(met) for met in row[mode]] for row in rows])
    return found


def _drafted_items(prompts: Sequence[PromptRecord], rows: Sequence[Row]) -> list[DraftedItem]:
    texts = {row["id"]: row["text"] for row in rows}
    return [DraftedItem(prompt, texts[prompt.id]) for prompt in prompts if prompt.id in texts]
