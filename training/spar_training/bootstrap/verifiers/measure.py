"""Measure a pair on constrained prompts with verifiers: its answers, its judge, one refinement, and the search.

Every prompt counts: one without an answer counts as failed. An answer whose judgement or refinement failed counts as
wrong in both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from spar_core.backends.base import Backend
from spar_core.checks import verify
from spar_core.judge import Judge
from spar_core.prompts import Templates
from spar_core.refiner import Refiner
from spar_core.search import Models, SearchConfig, Searcher
from spar_core.seeds import derive_seed
from spar_core.types import Completion, Sampling, Usage
from spar_training.data.prompts import PromptRecord
from spar_training.evals.judge.accuracy import judge_accuracy
from spar_training.pipeline.progress import item_progress
from spar_training.pipeline.runner import Policy, run_items
from spar_training.reports.intervals import (
    Interval,
    cluster_interval,
    difference_interval,
    proportion_interval,
)
from spar_training.storage.files import Row

_VOTES = 5


@dataclass(frozen=True, slots=True)
class _Drafted:
    prompt: PromptRecord
    text: str

    @property
    def id(self) -> str:
        return self.prompt.id


@dataclass(frozen=True, kw_only=True)
class VerifierEval:
    """One resumable evaluation in `folder`. The actor answers greedily.

    Without a refiner only the answers are measured; a `budget` of 0 skips the search.
    """

    folder: Path
    prompts: Sequence[PromptRecord]
    templates: Templates
    budget: int
    max_tokens: int
    seed: int
    in_flight: int

    async def run(self, actor: Backend, refiner: Backend | None, *, label: str) -> dict[str, Interval]:
        """Run the evaluation and return its figures by name, as fractions.

        Raises:
            BackendUnavailable: a model cannot be reached; finished work is kept.
        """

        async def answer(prompt: PromptRecord) -> Row:
            made = await actor.complete(prompt.conversation, Sampling(temperature=0, max_tokens=self.max_tokens))
            return {"text": made.text, "cut": made.finish_reason == "length", "passed": _passed(prompt, made.text)}

        answered = await self._items(self.prompts, answer, "answers", label)
        found = {"answers": proportion_interval([all(row["passed"]) for row in self._every(answered)])}
        found["constraints"] = cluster_interval(
            [[float(one) for one in row["passed"]] for row in self._every(answered)]
        )
        if refiner is None:
            return found
        texts = {row["id"]: row["text"] for row in answered}
        drafted = [_Drafted(prompt, texts[prompt.id]) for prompt in self.prompts if texts.get(prompt.id, "").strip()]
        judge = self._judge(refiner)

        async def judged(item: _Drafted) -> Row:
            return await self._judged(item, judge, refiner)

        async def searched(item: _Drafted) -> Row:
            return await self._searched(item, actor, judge, refiner)

        by_id = {row["id"]: row for row in await self._items(drafted, judged, "judged", label)}
        found |= judge_figures([by_id.get(item.id) or _lost(item) for item in drafted])
        if self.budget:
            rows = {row["id"]: row for row in await self._items(drafted, searched, "searched", label)}
            before = {row["id"]: all(row["passed"]) for row in answered}
            gains = [float(all(rows[p.id]["passed"])) - before[p.id] if p.id in rows else 0.0 for p in self.prompts]
            found["searched"] = proportion_interval([p.id in rows and all(rows[p.id]["passed"]) for p in self.prompts])
            found["search_gain"] = difference_interval(gains)
        return found

    def _every(self, rows: Sequence[Row]) -> list[Row]:
        """One row per prompt; a prompt without a row counts as failed."""
        by_id = {row["id"]: row for row in rows}
        return [by_id.get(prompt.id, {"passed": [False] * len(prompt.checks)}) for prompt in self.prompts]

    def _judge(self, refiner: Backend) -> Judge:
        sampling = Sampling(temperature=0.7, max_tokens=256)
        return Judge(backend=refiner, templates=self.templates, votes=_VOTES, early_stop=False, sampling=sampling)

    def _refiner(self, refiner: Backend) -> Refiner:
        sampling = Sampling(temperature=0.7, max_tokens=self.max_tokens + 128)
        return Refiner(backend=refiner, templates=self.templates, sampling=sampling)

    async def _judged(self, item: _Drafted, judge: Judge, refiner: Backend) -> Row:
        seed = derive_seed(self.seed, "validation", item.id)
        judgement = await judge.judge(item.prompt.conversation, item.text, seed=derive_seed(seed, "judge"))
        good = all(_passed(item.prompt, item.text))
        verdicts = [vote.verdict for vote in judgement.votes]
        row: Row = {"good": good, "accepted": judgement.accepted, "value": judgement.value, "verdicts": verdicts}
        if not good and judgement.critique and not judgement.accepted:
            refined = await self._refiner(refiner).refine(
                item.prompt.conversation, item.text, judgement.critique, seed=derive_seed(seed, "refine")
            )
            row |= {"refined": refined.text, "failure": refined.failure}
            row["met"] = _passed(item.prompt, refined.text or "")
        return row

    async def _searched(self, item: _Drafted, actor: Backend, judge: Judge, refiner: Backend) -> Row:
        models = Models(actor=actor, judge=replace(judge, early_stop=True), refiner=self._refiner(refiner))
        config = SearchConfig(budget=self.budget, seed=derive_seed(self.seed, "validation", item.id, "search"))
        searcher = Searcher(models, config, Sampling(temperature=0.7, max_tokens=self.max_tokens))
        draft = Completion(item.text, "stop", Usage())
        result = await searcher.run(item.prompt.conversation, draft=draft)
        text = result.answer.text
        return {"text": text, "accepted": result.accepted, "nodes": result.nodes, "passed": _passed(item.prompt, text)}

    async def _items(self, items: Sequence[Any], work: Any, name: str, label: str) -> list[Row]:
        with item_progress(f"{label}, {name}") as on_progress:
            out, policy = self.folder / f"{name}.jsonl", Policy(in_flight=self.in_flight)
            return await run_items(items, work, out=out, policy=policy, on_progress=on_progress)


def judge_figures(rows: Sequence[Row]) -> dict[str, Interval]:
    """Judge accuracy on good and on bad answers, and the success of one refinement on detected bad answers."""
    return {
        **judge_accuracy(rows),
        "verdicts_read": cluster_interval(
            [[float(verdict is not None) for verdict in row["verdicts"]] for row in rows]
        ),
        "refined": proportion_interval([all(row["met"]) for row in rows if "met" in row]),
    }


def _lost(item: _Drafted) -> Row:
    """The row of an answer whose judgement or refinement failed: wrong in every figure."""
    good = all(_passed(item.prompt, item.text))
    row: Row = {"good": good, "accepted": False, "value": None, "verdicts": [None] * _VOTES}
    return row if good else {**row, "met": [False]}


def _passed(prompt: PromptRecord, text: str) -> list[bool]:
    return [finding.passed for finding in verify(prompt.verifiers(), text)]
