"""The experiment on one task: its start model, its pairs, the trainings of both arms, and their measurement.

All files are in the task's folder, and finished work is not repeated:

    start.jsonl, start/                     right answers, and the model trained on them
    sampled.jsonl                           its answers to training prompts
    pairs/ARM-SEED.jsonl, ARM-SEED/         an arm's pairs, and its training with the weights of the measured steps
    measured/start.jsonl, ARM-SEED-STEP.jsonl   answers to the split's prompts, with their measurements
"""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from spar_core.seeds import derive_seed
from spar_training.storage.files import write_rows
from spar_training.studies.interference.recipe import EvaluationSettings, TaskSettings
from spar_training.studies.interference.rows import pair_rows, start_rows, wrong_answers
from spar_training.studies.interference.sampling import ask
from spar_training.studies.interference.tasks import ARMS, Arm, Task, TaskPrompt
from spar_training.trainers.job import Job, parse_job
from spar_training.trainers.launch import train
from spar_training.trainers.status import STEPS, is_finished
from spar_training.world.prompt import Split


@dataclass(frozen=True, slots=True)
class Training:
    """The training of an arm with a seed."""

    arm: Arm
    seed: int

    @property
    def name(self) -> str:
        return f"{self.arm}-{self.seed}"


@dataclass(frozen=True, kw_only=True)
class Study:
    """The experiment on one task; up to `workers` trainings run at once, each on one core."""

    task: Task
    settings: TaskSettings
    evaluation: EvaluationSettings
    model: Path
    seed: int
    seeds: int
    folder: Path
    workers: int
    console: Console

    @property
    def trainings(self) -> list[Training]:
        return [Training(arm, seed) for seed in range(self.seeds) for arm in ARMS]

    def check(self) -> None:
        """Check the keys of all trainings before the first one starts.

        Raises:
            ConfigError: the recipe has an invalid key; names it.
        """
        self._start_job()
        self.job(self.trainings[0])

    async def run(self) -> None:
        """Run all unfinished parts.

        Raises:
            DataError: the start model gives too few wrong answers for the pairs.
        """
        start = self._start()
        await self._write_pairs(start)
        jobs = [self.job(training) for training in self.trainings]
        todo = [job for job in jobs if not is_finished(job)]
        if todo:
            self.console.print(f"{self.task.name}: {len(todo)} trainings by DPO")
        with ThreadPoolExecutor(self.workers) as pool:
            list(pool.map(train, todo))
        await self._measure(start, "start")
        for training in self.trainings:
            for step in self.settings.preference.steps:
                await self._measure(self.job(training).out / STEPS / str(step), f"{training.name}-{step}")

    def job(self, training: Training) -> Job:
        """Return the training job of an arm.

        Raises:
            ConfigError: the recipe has an invalid key for it.
        """
        steps = self.settings.preference.steps
        # Every step is logged, since the margins are among the figures.
        fixed = {
            "max_steps": steps[-1],
            "keep_steps": steps,
            "log_every": 1,
            "seed": self._seed("train", training.seed),
        }
        return self._job("dpo", self.folder / "start", self._pairs(training), training.name, fixed)

    def measurement(self, name: str) -> Path:
        """Return the file of a model's measured answers."""
        return self.folder / "measured" / f"{name}.jsonl"

    def _start(self) -> Path:
        job = self._start_job()
        if is_finished(job):
            return job.out
        self.console.print(f"{self.task.name}: the start model, by fine-tuning")
        if not job.data[0].exists():
            rows = self.settings.start.rows
            write_rows(job.data[0], start_rows(self.task, self._prompts("train", rows), rows, self._rng("start")))
        return train(job)

    def _start_job(self) -> Job:
        return self._job("sft", self.model, self.folder / "start.jsonl", "start", {"seed": self._seed("start")})

    async def _write_pairs(self, start: Path) -> None:
        settings = self.settings.preference
        if all(self._pairs(training).exists() for training in self.trainings):
            return
        prompts = self._prompts("train", settings.prompts)
        sampled = await ask(
            start,
            prompts,
            samples=settings.tries,
            sampling=self.settings.sampling.sampling(),
            seed=self._seed("sample"),
            out=self.folder / "sampled.jsonl",
            label=f"{self.task.name}, answers for pairs",
        )
        wrong = wrong_answers(self.task, prompts, sampled)
        for training in self.trainings:
            # Seeded without the arm, so that the arms of a seed have the same prompts and rejected answers.
            rng = self._rng("pairs", training.seed)
            write_rows(self._pairs(training), pair_rows(self.task, training.arm, wrong, settings.pairs, rng))

    async def _measure(self, model: Path, name: str) -> None:
        await ask(
            model,
            self._prompts(self.evaluation.split, self.evaluation.prompts),
            samples=self.evaluation.samples,
            sampling=self.settings.sampling.sampling(),
            seed=self._seed("measure"),
            out=self.measurement(name),
            label=f"{self.task.name}, {name}",
            measure=self.task.measure,
        )

    def _prompts(self, split: Split, count: int) -> list[TaskPrompt]:
        return self.task.prompts(split, count, self._rng("prompts", split))

    def _pairs(self, training: Training) -> Path:
        return self.folder / "pairs" / f"{training.name}.jsonl"

    def _job(self, kind: str, model: Path, data: Path, name: str, fixed: dict[str, Any]) -> Job:
        keys = self.settings.start.job if kind == "sft" else self.settings.preference.job
        values = {"threads": 1, **keys, **fixed}
        values |= {"kind": kind, "model": str(model), "data": [str(data)], "out": str(self.folder / name)}
        return parse_job(values, source=f"tasks.{self.task.name}.{'start' if kind == 'sft' else 'preference'}.job")

    def _seed(self, *path: str | int) -> int:
        return derive_seed(self.seed, "interference", self.task.name, *path)

    def _rng(self, *path: str | int) -> random.Random:
        return random.Random(self._seed(*path))
