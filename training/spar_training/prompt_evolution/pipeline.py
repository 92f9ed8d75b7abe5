"""The pipeline from seed prompts to training prompts: filter, evolve, parse, filter again, and exclude benchmarks.

The model's raw replies are stored (`evolved.jsonl`), so that the later filters can be run again with other settings at
no cost. In the end the folder holds `prompts.jsonl`, `filtered.jsonl` and the data card.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from spar_core.backends.base import Backend
from spar_core.errors import BackendError, DataError
from spar_training.pipeline.runner import OnProgress, Policy, failed_file, run_items
from spar_training.prompt_evolution.contamination import Benchmarks, Leak, read_benchmarks, refuse
from spar_training.prompt_evolution.filters.diversity import similar
from spar_training.prompt_evolution.filters.duplicates import duplicates, near_duplicates
from spar_training.prompt_evolution.filters.quality import Removal, bullets, echo, language, length
from spar_training.prompt_evolution.funnel import C, Funnel, Stage
from spar_training.prompt_evolution.load import SeedPrompt, read_prompts
from spar_training.prompt_evolution.request import Evolution, Evolved, evolutions, evolve_work, load_template, parse_row
from spar_training.prompt_evolution.settings import EvolveSettings
from spar_training.prompt_evolution.taxonomy import load_taxonomy
from spar_training.storage.files import Row, read_rows, write_rows
from spar_training.storage.resume import check_settings


class EvolvePipeline:
    """The evolution in one folder: `prepare`, `request`, then `finish`. `on_stage` receives each filter's outcome."""

    def __init__(self, settings: EvolveSettings, on_stage: Callable[[Stage], None] = lambda stage: None) -> None:
        self.settings = settings
        self.funnel = Funnel(on_stage)
        self.leaks: list[Leak] = []
        self.seeds: list[SeedPrompt] = []
        self._benchmarks: Benchmarks | None = None
        self._template = load_template()
        self._groups = load_taxonomy()

    @property
    def replies(self) -> Path:
        return self.settings.out / "evolved.jsonl"

    def prepare(self) -> list[Evolution]:
        """Read and filter the seed prompts.

        Raises:
            DataError: a file cannot be used, a prompt is in a benchmark and leaks are not dropped, or no prompt is
            left. ConfigError: two files have the same name.
        """
        settings = self.settings
        self._benchmarks = read_benchmarks(settings.benchmarks)
        seeds = read_prompts(settings.seeds)
        seeds = self._plain_filters("seeds", seeds)
        seeds = self.funnel.sift(
            "seeds: diversity", seeds, similar(_texts(seeds), _ids(seeds), most=settings.filters.self_bleu)
        )
        seeds = self._without_leaks("seeds: benchmarks", seeds)
        if settings.limit is not None:
            drawn = set(random.Random(settings.seed).sample(_ids(seeds), min(settings.limit, len(seeds))))
            seeds = self.funnel.sift(
                "seeds: limit", seeds, [None if one.id in drawn else Removal("not drawn") for one in seeds]
            )
        if not seeds:
            raise DataError("no seed prompt is left after the filters; loosen them or give more seeds")
        self.seeds = seeds
        return evolutions(seeds, self._groups, per_seed=settings.per_seed, seed=settings.seed)

    async def request(
        self, work: Sequence[Evolution], backend: Backend, policy: Policy, on_progress: OnProgress
    ) -> list[Row]:
        """Request the missing replies; return every evolution's reply, or how its call failed, in order.

        Raises:
            ConfigError: the folder holds replies to other prompts, from another model or with other settings.
            BackendUnavailable: the model cannot be reached; run again.
        """
        check_settings(
            self.settings.out / "settings.json",
            {
                "model": backend.model,
                "seed": self.settings.seed,
                "per_seed": self.settings.per_seed,
                "sampling": asdict(self.settings.sampling),
                "prompts": _digest([*(f"{one.prompt.id} {one.prompt.text}" for one in work)]),
                "template": _digest([self._template, *(group.model_dump_json() for group in self._groups)]),
            },
        )
        evolve = evolve_work(backend, self._template, self.settings.sampling)
        rows = await run_items(work, evolve, out=self.replies, policy=policy, on_progress=on_progress)
        failed = failed_file(self.replies)
        by_id = {row["id"]: row for row in [*rows, *(read_rows(failed) if failed.exists() else ())]}
        return [by_id[one.id] for one in work]

    def finish(self, work: Sequence[Evolution], rows: Sequence[Row], model: str) -> list[Row]:
        """Parse and filter the replies, write `prompts.jsonl` and `filtered.jsonl`, and return the rows of the former.

        Raises:
            DataError: a prompt is in a benchmark and leaks are not dropped. The replies stay stored. BackendError: no
            reply contains an instruction. They are moved to `unusable.jsonl` for the next run to repeat.
        """
        evolved = self._read(work, rows)
        if not evolved:
            raise self._discard_replies()
        evolved = self.funnel.sift("not evolved", evolved, [echo(one.text, _seed_text(one)) for one in evolved])
        evolved = self.funnel.sift("list form", evolved, [bullets(one.text, _seed_text(one)) for one in evolved])
        evolved = self._plain_filters("evolved", evolved)
        evolved = self._without_leaks("evolved: benchmarks", evolved)
        prompts = [_row(one, model) for one in evolved]
        write_rows(self.settings.out / "filtered.jsonl", self.funnel.removed)
        write_rows(self.settings.out / "prompts.jsonl", prompts)
        return prompts

    def _read(self, work: Sequence[Evolution], rows: Sequence[Row]) -> list[Evolved]:
        answers = [parse_row(row) for row in rows]
        replies = [Evolved(one, row.get("reply", "")) for one, row in zip(work, rows, strict=True)]
        self.funnel.sift("replies", replies, [one if isinstance(one, Removal) else None for one in answers])
        return [Evolved(one, text) for one, text in zip(work, answers, strict=True) if isinstance(text, str)]

    def _discard_replies(self) -> BackendError:
        """Move the unusable replies away; return the error that says what was wrong with them."""
        aside = self.replies.with_name("unusable.jsonl")
        self.replies.replace(aside)
        failed_file(self.replies).unlink(missing_ok=True)
        stage = self.funnel.stages[-1]
        reason, count = next(iter(stage.removed.items()))
        return BackendError(
            f"none of the {stage.taken:,} replies contains an instruction, {count:,} of them because: {reason}; they "
            f"are in {aside}. Fix the upstream and run again, or give other settings and another --out"
        )

    def _plain_filters(self, name: str, prompts: Sequence[C]) -> list[C]:
        """Apply the filters that seed prompts and evolved prompts share, the cheap ones first."""
        filters, sift = self.settings.filters, self.funnel.sift
        left = sift(f"{name}: length", prompts, [length(one.text, filters.bounds) for one in prompts])
        left = sift(f"{name}: duplicates", left, duplicates(_texts(left), _ids(left)))
        left = sift(
            f"{name}: near duplicates",
            left,
            near_duplicates(_texts(left), _ids(left), least=filters.near_duplicate_threshold),
        )
        return sift(f"{name}: language", left, [language(one.text, filters.language) for one in left])

    def _without_leaks(self, name: str, prompts: Sequence[C]) -> list[C]:
        if not self._benchmarks:
            return list(prompts)
        found = self._benchmarks.leaks(prompts, threshold=self.settings.filters.contamination_threshold)
        leaks = [leak for leak in found if leak]
        if not self.settings.drop_leaks:
            refuse(leaks, len(prompts))
        self.leaks += leaks
        removals = [
            Removal("in a benchmark", f"{leak.item}, {leak.containment:.2f}") if leak else None for leak in found
        ]
        return self.funnel.sift(name, prompts, removals)


def _row(evolved: Evolved, model: str) -> Row:
    one = evolved.evolution
    return {
        "id": one.id,
        "messages": [{"role": "user", "content": evolved.text}],
        "seed_id": one.prompt.id,
        "source": one.prompt.source,
        "main_group": one.choice.main.name,
        "other_groups": [group.name for group in one.choice.others],
        "model": model,
        "seed": one.seed,
    }


def _seed_text(evolved: Evolved) -> str:
    return evolved.evolution.prompt.text


def _texts(prompts: Sequence[C]) -> list[str]:
    return [one.text for one in prompts]


def _ids(prompts: Sequence[C]) -> list[str]:
    return [one.id for one in prompts]


def _digest(texts: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]
