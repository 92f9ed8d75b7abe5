"""Train one stage, resuming from its last checkpoint."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from transformers import LlamaForCausalLM

from spar_training.bootstrap.batches import Batch, pool_batches
from spar_training.bootstrap.checkpoint import Progress, load_checkpoint, save_checkpoint
from spar_training.bootstrap.model import Optimizers
from spar_training.bootstrap.probe import Probe
from spar_training.bootstrap.recipe import Recipe, Stage
from spar_training.bootstrap.tasks import Tasks

Report = Callable[[Progress, dict[str, float]], None]


@dataclass(frozen=True)
class Trainer:
    """Trains the stages of a run. `folder` has one checkpoint per stage."""

    recipe: Recipe
    tasks: Tasks
    probe: Probe
    folder: Path
    save_every_s: float
    probe_every_tokens: int = 1_000_000

    def run(self, stage: Stage, model: LlamaForCausalLM, report: Report) -> Progress:
        """Train `model` in place; `report` is called after every pool, with the figures of a probe if there was one."""
        optimizers = Optimizers(model, lr=stage.lr)
        progress = Progress()
        path = self.checkpoint(stage.name)
        if saved := load_checkpoint(path):
            progress, weights, state = saved
            model.load_state_dict(weights)
            optimizers.restore(state)
        pad = int(self.tasks.tokenizer.pad_token_id)
        saved_at = time.monotonic()
        while progress.tokens < stage.tokens:
            began = time.monotonic()
            losses = [
                self._step(model, batch, optimizers, stage, progress)
                for batch in pool_batches(
                    self.tasks,
                    stage,
                    seed=self.recipe.seed,
                    pad=pad,
                    pool=progress.pool,
                    tokens=progress.tokens,
                )
            ]
            progress.pool += 1
            progress.seconds += time.monotonic() - began
            figures = {"loss": sum(losses) / len(losses)}
            if self._due(stage, progress):
                figures |= self.probe.run(model, [task for task, share in stage.mix.items() if share])
                progress.log.append({"tokens": progress.tokens, "seconds": progress.seconds, **figures})
            report(progress, figures)
            if time.monotonic() - saved_at > self.save_every_s or progress.tokens >= stage.tokens:
                save_checkpoint(path, progress=progress, model=model.state_dict(), optimizers=optimizers.state())
                saved_at = time.monotonic()
        return progress

    def checkpoint(self, stage: str) -> Path:
        return self.folder / f"{stage}.pt"

    def _due(self, stage: Stage, progress: Progress) -> bool:
        last = progress.log[-1]["tokens"] if progress.log else 0.0
        return progress.tokens - last >= self.probe_every_tokens or progress.tokens >= stage.tokens

    def _step(
        self,
        model: LlamaForCausalLM,
        batch: Batch,
        optimizers: Optimizers,
        stage: Stage,
        progress: Progress,
    ) -> float:
        hidden = model.model(input_ids=batch.ids, use_cache=False).last_hidden_state
        logits = model.lm_head(hidden.flatten(0, 1)[batch.source])
        losses = F.cross_entropy(logits, batch.targets, reduction="none")
        loss = (losses * batch.weights).sum() / batch.weights.sum()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizers.step(stage.lr_scale(progress.tokens))
        progress.tokens += batch.tokens
        progress.steps += 1
        return float(loss.detach())
