"""Train a pair from a base model by verifiers. Every step writes its file atomically, so an interrupted run resumes.

The run's folder holds `instructions.jsonl`, `prompts/` (train, validation, and self_play for `spar train run`),
`answers.jsonl`, `data/actor.jsonl`, the model `actor/`, `own_answers.jsonl`, `data/refiner.jsonl`, the model
`refiner/`, `validation/` and `pair.json`.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from spar_core.backends.base import Backend, PassThrough
from spar_core.prompts import load_templates
from spar_core.seeds import derive_seed
from spar_core.types import Message
from spar_training.bootstrap.verifiers.data.dataset import RowSets, actor_rows, refiner_rows
from spar_training.bootstrap.verifiers.data.rows import Answer, plain_id
from spar_training.bootstrap.verifiers.measure import VerifierEval
from spar_training.bootstrap.verifiers.prompts.constrained import ConstrainedPrompt, Split, constrained_prompts
from spar_training.bootstrap.verifiers.prompts.instructions import read_instructions, sample_instructions
from spar_training.bootstrap.verifiers.prompts.tasks import TaskPool, collect_tasks
from spar_training.bootstrap.verifiers.recipe import Answers, VerifierRecipe
from spar_training.data.prompts import PromptRecord, write_prompts
from spar_training.pipeline.progress import item_progress
from spar_training.pipeline.runner import Policy, run_items
from spar_training.prompt_evolution.contamination import Benchmarks
from spar_training.prompt_evolution.load import SeedPrompt
from spar_training.reports.intervals import Interval
from spar_training.storage.files import Row, write_json, write_rows
from spar_training.storage.lock import folder_lock
from spar_training.storage.resume import check_settings, find_differences, other_settings
from spar_training.trainers.job import Job, parse_job
from spar_training.trainers.launch import train
from spar_training.trainers.lines import TrainingLines

Open = Callable[[Path], AbstractAsyncContextManager[Backend]]
Role = Literal["actor", "refiner"]
PrintLine = Callable[[str], None]
Train = Callable[..., Path]


@dataclass(frozen=True, kw_only=True)
class VerifierBootstrap:
    """One run in `folder`. `open_model` opens a model folder for sampling; `seeds` are files of seed prompts.

    `train_model` is `trainers.launch.train`, or a stand-in for it; `threads` are those of a training (None: all cores).

    Prompts that occur in `benchmarks` are dropped; `prompts/card.json` counts them and names the benchmarks' files.
    """

    recipe: VerifierRecipe
    base: Path
    folder: Path
    seeds: Sequence[Path]
    benchmarks: Benchmarks | None
    open_model: Open
    print_line: PrintLine
    train_model: Train = train
    threads: int | None = None

    async def run(self) -> dict[str, dict[str, Interval]]:
        """Run the steps that are missing, and return the validation figures of the base and of the pair.

        Raises:
            ConfigError: the folder holds a run with other settings, or a training key is wrong.
            DataError: a file cannot be used, or another process works in the folder.
            BackendUnavailable: a model cannot be sampled; finished work is kept.
            TrainingError: a training ended without a model.
        """
        with folder_lock(self.folder):
            check_settings(self.folder / "settings.json", self._settings())
            for role in ("actor", "refiner"):
                self.job(role)
            await self._sample_instructions()
            self._write_prompts()
            answers = await self._sample(self.base, self.recipe.answers, "answers")
            actor = self._train("actor", lambda: actor_rows(self.prompts("train"), answers, self.recipe))
            own = await self._sample(actor, self.recipe.own_answers, "own_answers")
            templates = load_templates(self.recipe.templates)
            both = [*answers, *(replace(one, place=one.place + 1) for one in own)]
            refiner = self._train("refiner", lambda: refiner_rows(self.prompts("train"), both, self.recipe, templates))
            figures = {"base": await self._measure(self.base, None), "pair": await self._measure(actor, refiner)}
            write_json(self.folder / "validation.json", _plain(figures))
            tokens = self.recipe.validation.max_tokens
            serving = {"name": self.recipe.name, "templates": self.recipe.templates, "max_tokens": tokens}
            write_json(self.folder / "pair.json", serving)
        return figures

    def prompts(self, split: Split) -> list[ConstrainedPrompt]:
        """The constrained prompts of a split, without those that occur in a benchmark."""
        return self._checked(split)[0]

    def _checked(self, split: Split) -> tuple[list[ConstrainedPrompt], int]:
        """The constrained prompts of a split that are in no benchmark, and the number of those that are in one."""
        made = list(constrained_prompts(self._pool.tasks, split, each=self.recipe.prompts_each, seed=self.recipe.seed))
        if self.benchmarks is None:
            return made, 0
        leaks = self.benchmarks.leaks([SeedPrompt(one.id, one.text, "constrained") for one in made])
        kept = [one for one, leak in zip(made, leaks, strict=True) if leak is None]
        return kept, len(made) - len(kept)

    def job(self, role: Role) -> Job:
        """The training job of a role, starting from the base.

        Raises:
            ConfigError: a key of the recipe's training is wrong.
        """
        given = self.recipe.actor if role == "actor" else self.recipe.refiner
        fixed = {
            "kind": "sft",
            "model": str(self.base),
            "data": [str(self.folder / "data" / f"{role}.jsonl")],
            "out": str(self.folder / role),
            "seed": derive_seed(self.recipe.seed, "train", role),
            **({"threads": self.threads} if self.threads else {}),
        }
        return parse_job({**given, **fixed}, source=role)

    def sampled(self, answers: Answers) -> list[PromptRecord]:
        """The prompts to sample answers for: each task without constraints, and its first constrained prompt."""
        return [
            record
            for prompt in self._one_a_task()[: answers.tasks]
            for record in (
                PromptRecord(plain_id(prompt.task.id), (Message("user", prompt.task.text),)),
                prompt.record(),
            )
        ]

    def self_play_prompts(self) -> list[PromptRecord]:
        """One prompt for each task without sampled answers: unseen material for the self-play loop."""
        sampled = max(self.recipe.answers.tasks, self.recipe.own_answers.tasks)
        return [prompt.record() for prompt in self._one_a_task()[sampled:]]

    def _one_a_task(self) -> list[ConstrainedPrompt]:
        """The first training prompt of each task, in sampling order."""
        first: dict[str, ConstrainedPrompt] = {}
        for prompt in self.prompts("train"):
            first.setdefault(prompt.task.id, prompt)
        chosen = list(first.values())
        random.Random(f"{self.recipe.seed}/sampled").shuffle(chosen)
        return chosen

    def _validation_prompts(self) -> list[PromptRecord]:
        prompts = [one.record() for one in self.prompts("validation")]
        random.Random(f"{self.recipe.seed}/validation").shuffle(prompts)
        return prompts

    @cached_property
    def _pool(self) -> TaskPool:
        own = read_instructions(self._instructions) if self.recipe.tasks.instructions else []
        return collect_tasks(
            self.seeds, own, own=self.recipe.tasks.own, benchmarks=self.benchmarks, seed=self.recipe.seed
        )

    @property
    def _instructions(self) -> Path:
        return self.folder / "instructions.jsonl"

    async def _sample_instructions(self) -> None:
        number = self.recipe.tasks.instructions
        if not number or self._instructions.exists():
            return
        async with self.open_model(self.base) as backend:
            assert isinstance(backend, PassThrough)
            await sample_instructions(
                self.base,
                backend,
                self._instructions,
                number=number,
                seed=self.recipe.seed,
                in_flight=self.recipe.in_flight,
            )

    def _settings(self) -> dict[str, Any]:
        return {**self.recipe.settings(), "base": str(self.base), "seeds": [str(path) for path in self.seeds]}

    def _write_prompts(self) -> None:
        folder = self.folder / "prompts"
        benchmarks = dict(self.benchmarks.sources) if self.benchmarks else {}
        if not benchmarks:
            self.print_line("No --benchmark is given: the prompts are not compared with any.")
        card = folder / "card.json"
        if card.exists():
            # Cards of earlier versions do not name them.
            before = {"benchmarks": json.loads(card.read_text(encoding="utf-8")).get("benchmarks", benchmarks)}
            if differing := find_differences(before, {"benchmarks": benchmarks}):
                raise other_settings(self.folder, differing, "Give another --out, or the old --benchmark")
            return
        write_prompts(folder / "train.jsonl", [one.record() for one in self.prompts("train")])
        write_prompts(folder / "validation.jsonl", self._validation_prompts())
        write_prompts(folder / "self_play.jsonl", self.self_play_prompts())
        counts = {}
        for split in ("train", "validation"):
            prompts, leaked = self._checked(split)
            counts[split] = {
                "prompts": len(prompts),
                "left_out_in_a_benchmark": leaked,
                "tasks": len({one.task.id for one in prompts}),
                "combinations_unseen": sum(one.unseen for one in prompts),
                "constraints": dict(Counter(c.id for one in prompts for c in one.constraints).most_common()),
            }
        sources = dict(Counter(task.source for task in self._pool.tasks))
        left_out = dict(self._pool.left_out)
        write_json(card, {**counts, "sources": sources, "left_out": left_out, "benchmarks": benchmarks})

    async def _sample(self, model: Path, answers: Answers, name: str) -> list[Answer]:
        items = self.sampled(answers)
        out = self.folder / f"{name}.jsonl"
        sampling = answers.sampling()

        async def work(item: PromptRecord) -> Row:
            made = await backend.complete(
                item.conversation, sampling.seeded(derive_seed(self.recipe.seed, name, item.id))
            )
            return {"text": made.text, "cut": made.finish_reason == "length", "tokens": made.usage.completion_tokens}

        async with self.open_model(model) as backend:
            with item_progress(name.replace("_", " ")) as on_progress:
                policy = Policy(in_flight=self.recipe.in_flight)
                rows = await run_items(items, work, out=out, policy=policy, on_progress=on_progress)
        return [Answer(row["id"], 0, row["text"], row["cut"]) for row in rows]

    def _train(self, role: Role, make: Callable[[], RowSets]) -> Path:
        data = self.folder / "data" / f"{role}.jsonl"
        if not data.exists():
            made = make()
            write_json(data.with_name(f"{role}_card.json"), made.card)
            write_rows(data, made.rows)
        self.print_line(f"{role}: training on {data}")
        return self.train_model(self.job(role), on_progress=TrainingLines(role, self.print_line))

    async def _measure(self, actor: Path, refiner: Path | None) -> dict[str, Interval]:
        wanted = self.recipe.validation
        evaluation = VerifierEval(
            folder=self.folder / "validation" / ("pair" if refiner else "base"),
            prompts=self._validation_prompts()[: wanted.prompts],
            templates=load_templates(self.recipe.templates),
            budget=wanted.budget,
            max_tokens=wanted.max_tokens,
            seed=self.recipe.seed,
            in_flight=self.recipe.in_flight,
        )
        async with self.open_model(actor) as drafts:
            if refiner is None:
                return await evaluation.run(drafts, None, label="base")
            async with self.open_model(refiner) as refines:
                return await evaluation.run(drafts, refines, label="pair")


def _plain(figures: dict[str, dict[str, Interval]]) -> dict[str, Any]:
    return {
        name: {
            key: {"mean": one.mean, "low": one.low, "high": one.high, "n": one.n} for key, one in found.items() if one.n
        }
        for name, found in figures.items()
    }
