"""Export a job's data and settings to other trainers: LLaMA-Factory (loader as of 0.9.5), or TRL's own commands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal

import yaml

from spar_core.errors import ConfigError, DataError
from spar_training.storage.files import Row, read_rows, write_json, write_rows, write_text
from spar_training.trainers.job import Job
from spar_training.trainers.rows import dpo_problem, sft_problem

Format = Literal["llama-factory", "trl"]
_TAGS: Final = {
    "role_tag": "role",
    "content_tag": "content",
    "user_tag": "user",
    "assistant_tag": "assistant",
    "system_tag": "system",
}
_SCHEDULES: Final = {"linear": "linear", "constant": "constant_with_warmup", "cosine": "cosine"}


def export(job: Job, folder: Path, *, form: Format, template: str | None = None) -> None:
    """Write a job's data to `folder`, and for LLaMA-Factory `dataset_info.json` and `train.yaml` beside it.

    `template` is LLaMA-Factory's name of the chat template; without one it uses the tokenizer's own.

    Raises:
        ConfigError: the job sets a key that LLaMA-Factory does not support.
        DataError: a row is malformed, or of a form that LLaMA-Factory would silently skip.
    """
    if form == "trl":
        write_rows(folder / f"{job.kind}.jsonl", (_plain(job, row) for row in _rows(job)))
        return
    for key, is_set in (
        ("length_normalized", job.length_normalized),
        ("edit_token_weight", job.edit_token_weight != 1),
    ):
        if is_set:
            raise ConfigError(f"{key}: LLaMA-Factory has no such setting; leave it out, or train with spar train model")
    write_rows(folder / f"{job.kind}.jsonl", [_sharegpt(job, row) for row in _rows(job)])
    write_json(folder / "dataset_info.json", {f"spar_{job.kind}": _description(job)})
    write_text(folder / "train.yaml", yaml.safe_dump(settings(job, folder, template=template), sort_keys=False))


def settings(job: Job, folder: Path, *, template: str | None = None) -> dict[str, Any]:
    """The job as LLaMA-Factory's settings, with its data in `folder`."""
    values: dict[str, Any] = {
        "model_name_or_path": job.model,
        "stage": job.kind,
        "do_train": True,
        "finetuning_type": "lora" if job.lora else "full",
        "dataset_dir": str(folder),
        "dataset": f"spar_{job.kind}",
        "cutoff_len": job.max_length,
        "output_dir": str(job.out),
        "per_device_train_batch_size": job.batch_size,
        "gradient_accumulation_steps": job.accumulation,
        "learning_rate": job.learning_rate,
        "lr_scheduler_type": _SCHEDULES[job.schedule],
        "warmup_ratio": job.warmup,
        "num_train_epochs": job.epochs,
        "max_grad_norm": job.max_grad_norm,
        "weight_decay": job.weight_decay,
        "disable_gradient_checkpointing": not job.gradient_checkpointing,
        "bf16": job.dtype == "bf16",
        "seed": job.seed,
        "save_steps": job.save_every,
        "logging_steps": job.log_every,
        "report_to": list(job.log_to) or "none",
    }
    if job.max_steps:
        values["max_steps"] = job.max_steps
    if template:
        values["template"] = template
    if job.kind == "dpo":
        values |= {"pref_loss": "sigmoid", "pref_beta": job.beta, "pref_ftx": job.sft_weight}
    if job.lora:
        targets = "all" if isinstance(job.lora.targets, str) else ",".join(job.lora.targets)
        values |= {"lora_rank": job.lora.r, "lora_alpha": job.lora.alpha, "lora_dropout": job.lora.dropout}
        values["lora_target"] = targets
    return values


def _rows(job: Job) -> Iterator[Row]:
    find_problem = sft_problem if job.kind == "sft" else dpo_problem
    for path in job.data:
        for row in read_rows(path, needs=("id",)):
            if problem := find_problem(row):
                raise DataError(f"{path}, row {row['id']}: {problem}")
            yield row


def _plain(job: Job, row: Row) -> Row:
    return {key: row[key] for key in (("messages",) if job.kind == "sft" else ("prompt", "chosen", "rejected"))}


def _sharegpt(job: Job, row: Row) -> Row:
    turns = row["messages"] if job.kind == "sft" else row["prompt"]
    dialogue = turns[1:] if turns[0]["role"] == "system" else turns
    expected = ["user" if number % 2 == 0 else "assistant" for number in range(len(dialogue))]
    if [turn["role"] for turn in dialogue] != expected:
        raise DataError(
            f"row {row['id']}: LLaMA-Factory skips rows in which user and assistant do not alternate after at most one "
            "system message; fix or remove the row"
        )
    if job.kind == "sft":
        return {"messages": turns}
    return {"messages": turns, "chosen": row["chosen"][0], "rejected": row["rejected"][0]}


def _description(job: Job) -> dict[str, Any]:
    columns = {"messages": "messages"}
    if job.kind == "dpo":
        columns |= {"chosen": "chosen", "rejected": "rejected"}
    return {
        "file_name": f"{job.kind}.jsonl",
        "formatting": "sharegpt",
        "ranking": job.kind == "dpo",
        "columns": columns,
        "tags": dict(_TAGS),
    }
