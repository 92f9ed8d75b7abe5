"""Run a bootstrap recipe: build the tokenizer, then train base, actor and refiner in resumable stages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from spar_core.prompts import Templates, load_templates
from spar_training.bootstrap.answers import OwnAnswer, collect_answers, read_answers
from spar_training.bootstrap.checkpoint import Progress, load_checkpoint
from spar_training.bootstrap.model import build_model
from spar_training.bootstrap.probe import Probe
from spar_training.bootstrap.recipe import Recipe, Stage
from spar_training.bootstrap.stage import Trainer
from spar_training.bootstrap.tasks import Tasks
from spar_training.bootstrap.tokenizer import build_tokenizer
from spar_training.storage.lock import folder_lock
from spar_training.storage.resume import check_settings
from spar_training.world.samples import actor_sample, refiner_sample

Report = Callable[[Stage, Progress, dict[str, float]], None]


@dataclass(frozen=True)
class Bootstrap:
    """A run of a recipe in `folder`, which has `settings.json`, `tokenizer/` and one checkpoint per stage."""

    recipe: Recipe
    folder: Path
    probe_size: int = 64
    save_every_s: float = 60.0

    def run(self, report: Report) -> dict[str, Progress]:
        """Train every unfinished stage; return the progress of all, in order.

        Raises:
            ConfigError: the folder's run was started with another recipe.
            DataError: another process is training in the folder, or it cannot be written.
        """
        with folder_lock(self.folder):
            check_settings(self.folder / "settings.json", self.recipe.by_key())
            return {stage.name: self._stage(stage, report) for stage in self.recipe.stages}

    def model(self, stage: str) -> LlamaForCausalLM:
        """The model at a stage's last checkpoint.

        Raises:
            FileNotFoundError: the stage has not started.
        """
        path = self.folder / f"{stage}.pt"
        saved = load_checkpoint(path)
        if saved is None:
            raise FileNotFoundError(path)
        model = build_model(self.recipe.shape, self.tokenizer(), seed=self.recipe.seed)
        model.load_state_dict(saved[1])
        return model

    def tokenizer(self) -> PreTrainedTokenizerFast:
        """The run's tokenizer, built on first use."""
        folder = self.folder / "tokenizer"
        if not (folder / "tokenizer.json").exists():
            texts = _world_texts(self.recipe.tokenizer_examples, load_templates(self.recipe.templates))
            built = build_tokenizer(texts, min_count=self.recipe.tokenizer_min_count, context=self.recipe.shape.context)
            built.save_pretrained(folder)
        return PreTrainedTokenizerFast.from_pretrained(folder)

    def _own_answers(self) -> list[OwnAnswer]:
        """The actor's own answers, collected on first use."""
        wanted = self.recipe.own_answers
        assert wanted is not None
        file, model = self.folder / "own_answers.jsonl", self.folder / "actor_model"
        self.model(self.recipe.actor).save_pretrained(model)
        self.tokenizer().save_pretrained(model)
        collect_answers(file, model, prompts=wanted.prompts, temperature=wanted.temperature, seed=self.recipe.seed)
        return read_answers(file)

    def _stage(self, stage: Stage, report: Report) -> Progress:
        saved = load_checkpoint(self.folder / f"{stage.name}.pt")
        if saved and saved[0].tokens >= stage.tokens:
            return saved[0]
        tokenizer = self.tokenizer()
        own = self._own_answers() if "own" in stage.mix else []
        tasks = Tasks(tokenizer, load_templates(self.recipe.templates), own)
        trainer = Trainer(
            recipe=self.recipe,
            tasks=tasks,
            probe=Probe(tasks, size=self.probe_size),
            folder=self.folder,
            save_every_s=self.save_every_s,
        )
        model = (
            self.model(stage.start) if stage.start else build_model(self.recipe.shape, tokenizer, seed=self.recipe.seed)
        )
        return trainer.run(stage, model, lambda progress, figures: report(stage, progress, figures))


def _world_texts(examples: int, templates: Templates) -> Iterator[str]:
    """The texts of training conversations, whose words become the tokenizer's."""
    for index in range(examples):
        refining = refiner_sample("train", index, templates).conversation
        for conversation in (actor_sample("train", index), refining):
            for message in conversation:
                yield message.text
