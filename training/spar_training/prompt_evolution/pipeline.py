"""From seed prompts to training prompts: filter, ask, read, filter again, and keep apart from the benchmarks.

What a model replied is kept as it came (`evolved.jsonl`), so that the filters after it can be run again with other
settings at no cost. The folder holds `prompts.jsonl`, `filtered.jsonl` and the data card when all is done.
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
from spar_training.prompt_evolution.request import Evolution, Evolved, asking, evolutions, load_template, read
from spar_training.prompt_evolution.settings import EvolveSettings
from spar_training.prompt_evolution.taxonomy import load_taxonomy
from spar_training.storage.files import Row, read_rows, write_rows
from spar_training.storage.resume import check_settings


class Evolving:
    """One folder's work, step by step: `prepare`, `ask`, `finish`. `tell` hears of each filter's outcome."""

    def __init__(self, settings: EvolveSettings, tell: Callable[[Stage], None] = lambda stage: None) -> None:
        self.settings = settings
        self.funnel = Funnel(tell)
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
            DataError: a file cannot be used, one of its prompts is in a benchmark and leaks are not dropped, or no
                prompt is left.
            ConfigError: two files have one name.
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

    async def ask(self, work: Sequence[Evolution], backend: Backend, policy: Policy, tell: OnProgress) -> list[Row]:
        """Every evolution's reply, or how its call failed, in order; asks for those only that are not there yet.

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
        ask = asking(backend, self._template, self.settings.sampling)
        rows = await run_items(work, ask, out=self.replies, policy=policy, on_progress=tell)
        failed = failed_file(self.replies)
        by_id = {row["id"]: row for row in [*rows, *(read_rows(failed) if failed.exists() else ())]}
        return [by_id[one.id] for one in work]

    def finish(self, work: Sequence[Evolution], rows: Sequence[Row], model: str) -> list[Row]:
        """Read and filter the replies, and write `prompts.jsonl` and `filtered.jsonl`; the rows of the former.

        Raises:
            DataError: a prompt is in a benchmark and leaks are not dropped. The replies are kept.
            BackendError: no reply holds an instruction. They are moved to `unusable.jsonl`; the next run asks again.
        """
        evolved = self._read(work, rows)
        if not evolved:
            raise self._forgotten()
        evolved = self.funnel.sift("not evolved", evolved, [echo(one.text, _seed_text(one)) for one in evolved])
        evolved = self.funnel.sift("list form", evolved, [bullets(one.text, _seed_text(one)) for one in evolved])
        evolved = self._plain_filters("evolved", evolved)
        evolved = self._without_leaks("evolved: benchmarks", evolved)
        prompts = [_row(one, model) for one in evolved]
        write_rows(self.settings.out / "filtered.jsonl", self.funnel.removed)
        write_rows(self.settings.out / "prompts.jsonl", prompts)
        return prompts

    def _read(self, work: Sequence[Evolution], rows: Sequence[Row]) -> list[Evolved]:
        answers = [read(row) for row in rows]
        replies = [Evolved(one, row.get("reply", "")) for one, row in zip(work, rows, strict=True)]
        self.funnel.sift("replies", replies, [one if isinstance(one, Removal) else None for one in answers])
        return [Evolved(one, text) for one, text in zip(work, answers, strict=True) if isinstance(text, str)]

    def _forgotten(self) -> BackendError:
        """What was wrong with the replies, which are out of the way from here on."""
        aside = self.replies.with_name("unusable.jsonl")
        self.replies.replace(aside)
        failed_file(self.replies).unlink(missing_ok=True)
        stage = self.funnel.stages[-1]
        reason, count = next(iter(stage.removed.items()))
        return BackendError(
            f"none of the {stage.taken:,} replies holds an instruction, {count:,} of them because: {reason}; they are "
            f"in {aside}. Mend the upstream and run again, or give other settings and another --out"
        )

    def _plain_filters(self, name: str, prompts: Sequence[C]) -> list[C]:
        """The filters that seeds and evolved prompts go through alike, the cheap ones first."""
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
