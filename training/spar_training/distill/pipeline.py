"""The pipeline of a distillation: answers, drafts, judgements and refinements in resumable passes, then the rows.

The folder holds the output of each pass (`answers.jsonl`, `drafts.jsonl`, `judgements.jsonl`, `refinements.jsonl`), and
in the end `sft_actor.jsonl`, `sft_refiner.jsonl`, `set_aside.jsonl` and `card.json`.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from spar_core.backends.base import Backend
from spar_core.errors import BackendError, DataError
from spar_core.prompts import load_templates
from spar_training.distill.items import Draft, JudgedItem, Prompt, load_prompts
from spar_training.distill.passes import Teacher, answer_work, draft_work, judge_work, refine_work
from spar_training.distill.rows import Provenance, actor_row, judge_row, refiner_row, surplus
from spar_training.distill.settings import DistillSettings
from spar_training.pipeline.runner import I, OnProgress, Policy, Work, failed_file, run_items
from spar_training.storage.files import Row, read_rows, write_json, write_rows
from spar_training.storage.resume import check_settings

Show = Callable[[str], AbstractContextManager[OnProgress]]


@dataclass(frozen=True, slots=True)
class Distilled:
    """The rows of both files, and the rows set aside, each with `id`, `pass` and `reason`."""

    actor: list[Row]
    refiner: list[Row]
    set_aside: list[Row]


class DistillPipeline:
    """The distillation in one folder. `show` opens the progress display of a pass by its name."""

    def __init__(
        self, settings: DistillSettings, *, teacher: Backend, drafter: Backend | None, policy: Policy, show: Show
    ) -> None:
        self._settings = settings
        self._templates = load_templates(settings.templates)
        self._prompts = load_prompts(settings.prompts)
        self._teacher = Teacher(teacher, settings.seed)
        self._drafter = Teacher(drafter, settings.seed) if drafter else None
        self._passes = ["answers", *(["drafts"] if drafter else []), "judgements", "refinements"]
        self._policy = policy
        self._show = show

    async def run(self) -> Distilled:
        """Run the unfinished passes, and write the rows.

        Raises:
            ConfigError: the folder holds work with other prompts, models or settings.
            BackendUnavailable: a model cannot be reached; finished work is saved.
            BackendError: no reply of a pass can be used; the next run repeats that pass.
        """
        self._check_settings()
        settings = self._settings
        answers = await self._pass("answers", self._prompts, answer_work(self._teacher, settings.answering))
        drafts = await self._drafts() if self._drafter else _as_drafts(self._prompts, answers)
        judgements = await self._pass(
            "judgements", drafts, judge_work(self._teacher, self._templates, settings.judging)
        )
        judged = [JudgedItem(one, judgements[one.id]["critique"]) for one in drafts if one.id in judgements]
        bad = [one for one in judged if not judgements[one.id]["verdict"]]
        refined = await self._pass("refinements", bad, refine_work(self._teacher, self._templates, settings.refining))
        return self._write(answers, judged, judgements, refined)

    async def _drafts(self) -> list[Draft]:
        assert self._drafter is not None
        items = [Draft(f"{p.id}/draft{n}", p, "") for p in self._prompts for n in range(self._settings.drafts)]
        rows = await self._pass("drafts", items, draft_work(self._drafter, self._settings.answering))
        return [Draft(one.id, one.prompt, rows[one.id]["text"]) for one in items if one.id in rows]

    async def _pass(self, name: str, items: Sequence[I], work: Work[I]) -> dict[str, Row]:
        with self._show(name) as on_progress:
            rows = await run_items(items, work, out=self._file(name), policy=self._policy, on_progress=on_progress)
        # Refinements are optional, and a few may all fail; if many do, the upstream is broken.
        few = name == "refinements" and len(items) < self._policy.give_up_after
        if items and not rows and not few:
            raise self._discard_pass(name)
        return {row["id"]: row for row in rows}

    def _discard_pass(self, name: str) -> BackendError:
        """Delete a pass without usable replies, so that the next run repeats it; return the error that says why."""
        file = self._file(name)
        reasons = Counter(row["failed"] for row in read_rows(failed_file(file), needs=("failed",)))
        file.unlink()
        failed_file(file).unlink()
        (reason, count), total = reasons.most_common(1)[0], reasons.total()
        return BackendError(
            f"none of the {total:,} {name} can be used, {count:,} of them because: {reason}; fix the upstream and run "
            "again, or give other settings and another --out"
        )

    def _write(
        self, answers: dict[str, Row], judged: Sequence[JudgedItem], judgements: dict[str, Row], refined: dict[str, Row]
    ) -> Distilled:
        settings, templates = self._settings, self._templates
        origin = Provenance(self._teacher.backend.model, self._drafted_by, settings.templates, settings.seed)
        actor = [actor_row(p, answers[p.id]["text"], origin) for p in self._prompts if p.id in answers]
        judge = [judge_row(one, judgements[one.id]["verdict"], templates, origin) for one in judged]
        left_out = surplus(judge, settings.balance, settings.seed) if settings.balance is not None else set()
        refiner = [row for row in judge if row["id"] not in left_out]
        refiner += [
            refiner_row(one, refined[one.id]["reply"], templates, origin) for one in judged if one.id in refined
        ]
        aside = [*self._failed(), *({"id": name, "pass": "balance", "reason": "surplus"} for name in sorted(left_out))]
        write_rows(settings.out / "set_aside.jsonl", aside)
        write_rows(settings.out / "sft_actor.jsonl", actor)
        write_rows(settings.out / "sft_refiner.jsonl", refiner)
        done = Distilled(actor, refiner, aside)
        write_json(settings.out / "card.json", self._card(done, origin))
        return done

    def _failed(self) -> Iterator[Row]:
        for name in self._passes:
            for row in read_rows(failed_file(self._file(name)), needs=("id", "failed")):
                yield {"id": row["id"], "pass": name, "reason": row["failed"]}

    def _card(self, done: Distilled, origin: Provenance) -> dict[str, Any]:
        settings = self._settings
        return {
            "version": version("spar-server"),
            **asdict(origin),
            "prompts": {"file": settings.prompts.name, "count": len(self._prompts)},
            "drafts": settings.drafts,
            "balance": settings.balance,
            "sampling": self._samplings(),
            "rows": dict(Counter(row["role"] for row in (*done.actor, *done.refiner))),
            "verdicts": dict(Counter(row["verdict"] for row in done.refiner if row["role"] == "judge")),
            "set_aside": [
                {"pass": name, "reason": reason, "count": count}
                for (name, reason), count in Counter((row["pass"], row["reason"]) for row in done.set_aside).items()
            ],
            "generated_tokens": {
                name: sum(row["tokens"] for row in read_rows(self._file(name))) for name in self._passes
            },
        }

    @property
    def _drafted_by(self) -> str:
        return (self._drafter or self._teacher).backend.model

    def _samplings(self) -> dict[str, Any]:
        settings = self._settings
        return {name: asdict(getattr(settings, name)) for name in ("answering", "judging", "refining")}

    def _check_settings(self) -> None:
        if not self._prompts:
            raise DataError(f"{self._settings.prompts}: has no prompts")
        messages = [f"{p.id} {m.role} {m.text}" for p in self._prompts for m in p.conversation]
        check_settings(
            self._settings.out / "settings.json",
            {
                "prompts": hashlib.sha256("\0".join(messages).encode()).hexdigest()[:16],
                "teacher": self._teacher.backend.model,
                "drafted_by": self._drafted_by,
                "templates": hashlib.sha256(repr(sorted(self._templates.texts.items())).encode()).hexdigest()[:16],
                "seed": self._settings.seed,
                "drafts": self._settings.drafts,
                "sampling": self._samplings(),
            },
        )

    def _file(self, name: str) -> Path:
        return self._settings.out / f"{name}.jsonl"


def _as_drafts(prompts: Sequence[Prompt], answers: dict[str, Row]) -> list[Draft]:
    return [Draft(f"{p.id}/draft0", p, answers[p.id]["text"]) for p in prompts if p.id in answers]
