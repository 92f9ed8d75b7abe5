"""Write the output folder of a training: weights, tokenizer, card and lineage. Moved into place once it is complete."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM
from transformers.utils import cached_file

from spar_training.storage.files import write_json, write_text
from spar_training.storage.provenance import code_revision, versions
from spar_training.storage.weights import save_weights
from spar_training.trainers.job import Job
from spar_training.trainers.status import LINEAGE, LOG, PROGRESS, STEPS
from spar_training.trainers.tokenize import Prepared

DTYPES: Final = {"bf16": torch.bfloat16, "fp32": torch.float32}
# Copied from the parent unchanged: a tokenizer saved by our version may not load in another engine's.
_COPIED: Final = (
    "tokenizer.json", "tokenizer_config.json", "tokenizer.model", "special_tokens_map.json", "added_tokens.json",
    "vocab.json", "merges.txt", "chat_template.jinja", "chat_template.json", "generation_config.json",
)  # fmt: skip
_CARD: Final = """---
base_model: {parent}
library_name: transformers
pipeline_tag: text-generation
tags: [spar, {kind}]
---
# {name}

{parent}, fine-tuned by {method} on {rows:,} rows.

- Data: {data}
- Learning rate {learning_rate:g} ({schedule}, warm-up {warmup:g}), {length}, {batch} rows per step, seed {seed}
- {tuning}
- Steps: {steps:,}; last logged loss {loss}
- Made with torch {torch}, transformers {transformers}, trl {trl}, Python {python}
- Job and hashes of parent and data: `lineage.json`; figures by step: `training_log.json`
- Licence: that of {parent}
"""


@dataclass(frozen=True)
class Trained:
    """The outcome of a training: the trainer's `log` (one entry per logged step), and how many `processes` it took."""

    log: Sequence[Mapping[str, Any]]
    steps: int
    processes: int


def finish(job: Job, saved: Path, prepared: Prepared, trained: Trained, parent: Mapping[str, str]) -> None:
    """Make `job.out` from what the trainer saved in `saved`: full weights or an adapter."""
    staged = _merged(job, saved) if job.lora and job.lora.merge else saved
    _make_servable(job, staged)
    for step in job.keep_steps:
        _make_servable(job, job.work / STEPS / str(step))
    if (job.work / STEPS).exists():
        shutil.copytree(job.work / STEPS, staged / STEPS, dirs_exist_ok=True)
    lineage = _lineage(job, prepared, trained, parent)
    write_json(staged / LOG, list(trained.log))
    write_text(staged / "README.md", _card(job, prepared, trained, lineage["versions"]))
    shutil.copyfile(job.work / PROGRESS, staged / PROGRESS)
    write_json(staged / LINEAGE, lineage)
    os.replace(staged, job.out)


def _make_servable(job: Job, folder: Path) -> None:
    """Convert the weights to the job's precision, add the parent's other files and remove the trainer's own."""
    _cast(folder, job.dtype)
    for name in _COPIED:
        source = cached_file(job.model, name, _raise_exceptions_for_missing_entries=False)
        if source:
            shutil.copyfile(source, folder / name)
    for leftover in ("training_args.bin", "README.md"):
        (folder / leftover).unlink(missing_ok=True)


def _merged(job: Job, saved: Path) -> Path:
    """Full weights with the adapter merged in; the adapter itself moves to the subfolder `adapter`."""
    assert job.lora is not None
    base = AutoModelForCausalLM.from_pretrained(job.model, dtype=DTYPES[job.dtype])
    whole = PeftModel.from_pretrained(base, str(saved)).merge_and_unload()
    staged = saved.with_name("merged")
    whole.save_pretrained(staged)
    (saved / "training_args.bin").unlink(missing_ok=True)
    _cast(saved, job.dtype)
    os.replace(saved, staged / "adapter")
    return staged


def _cast(folder: Path, dtype: str) -> None:
    """Convert the weights to the job's precision; trainers save fp32."""
    total = 0
    for path in sorted((*folder.glob("model*.safetensors"), *folder.glob("adapter_model*.safetensors"))):
        tensors = {
            name: tensor.to(DTYPES[dtype]) if tensor.is_floating_point() else tensor
            for name, tensor in load_file(path).items()
        }
        total += sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
        save_weights(tensors, path)
    index = folder / "model.safetensors.index.json"
    if index.exists():
        listed = json.loads(index.read_text(encoding="utf-8"))
        listed["metadata"]["total_size"] = total
        write_json(index, listed)
    config = folder / "config.json"
    if config.exists():
        values = json.loads(config.read_text(encoding="utf-8"))
        # Trainers turn the cache off and save that.
        write_json(config, {**values, "dtype": str(DTYPES[dtype]).removeprefix("torch."), "use_cache": True})


def _lineage(job: Job, prepared: Prepared, trained: Trained, parent: Mapping[str, str]) -> dict[str, Any]:
    return {
        "kind": job.kind,
        "parent": dict(parent),
        "data": [asdict(file) for file in prepared.files],
        "rows": {"trained": len(prepared.rows), "longest_tokens": prepared.longest},
        "excluded": {why: {"rows": len(ids), "ids": ids} for why, ids in prepared.excluded.items()},
        "job": job.model_dump(mode="json"),
        "fingerprint_fields": job.fingerprint_fields(),
        "seed": job.seed,
        "steps": trained.steps,
        "processes": trained.processes,
        "recipe": job.recipe.model_dump() if job.recipe else None,
        "versions": versions(),
        "code": code_revision(),
    }


def _card(job: Job, prepared: Prepared, trained: Trained, made_with: Mapping[str, Any]) -> str:
    method = "supervised fine-tuning on the assistant's turns"
    if job.kind == "dpo":
        per_token = ", log-probabilities per token" if job.length_normalized else ""
        method = f"DPO (beta {job.beta:g}{per_token}, {job.sft_weight:g} of the supervised loss on the chosen answers)"
    losses = [entry["loss"] for entry in trained.log if "loss" in entry]
    lora = job.lora
    return _CARD.format(
        parent=job.model,
        kind=job.kind,
        name=job.out.name,
        method=method,
        rows=len(prepared.rows),
        data=", ".join(f"`{file.path}` ({file.rows:,} rows)" for file in prepared.files),
        learning_rate=job.learning_rate,
        schedule=job.schedule,
        warmup=job.warmup,
        length=f"{job.max_steps} steps" if job.max_steps else f"{job.epochs:g} epochs",
        batch=job.batch_size * job.accumulation * trained.processes,
        seed=job.seed,
        tuning=f"LoRA, rank {lora.r}, alpha {lora.alpha:g}" if lora else "Full fine-tuning",
        steps=trained.steps,
        loss=f"{losses[-1]:.4f}" if losses else "none",
        python=made_with["python"],
        **{name: made_with[name] for name in ("torch", "transformers", "trl")},
    )
