"""Run a training job in this process, or in the processes that `accelerate launch` started for it.

`OUT.work` holds the job, its tokens, checkpoints and progress until the finished folder is moved to `OUT`. A job that
was stopped at any point resumes from its last complete checkpoint; a finished one is not run again.
"""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import datasets
import torch
import transformers
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, PrinterCallback
from transformers.utils import logging as transformers_logging

from spar_core.errors import ConfigError
from spar_training.storage.files import write_json
from spar_training.storage.lock import folder_lock
from spar_training.storage.provenance import parent_of
from spar_training.storage.resume import find_differences, other_settings
from spar_training.trainers import checkpoints
from spar_training.trainers.artifacts import Trained, finish
from spar_training.trainers.callbacks import StepKeeper
from spar_training.trainers.chat_template import Renderer
from spar_training.trainers.job import Job
from spar_training.trainers.progress import ProgressWriter
from spar_training.trainers.status import PROGRESS, STEPS, is_finished, recorded_fingerprint
from spar_training.trainers.tokenize import DataFile, Prepared, describe_files, prepare
from spar_training.trainers.trl_config import adapter, compute_dtype, training_arguments
from spar_training.trainers.trl_trainers import TokenDpoTrainer, TokenSftTrainer, WeightsCollator

# What an unfinished training was started with, and how many rows it has.
_RECORD: Final = "begun.json"


def run(job: Job) -> Path:
    """Train, or resume training, and write the finished model; returns its folder.

    Raises:
        ConfigError: the job cannot be run as it is, `out` holds another job's model, or the job, its model or its data
            changed since an unfinished training was started.
        DataError: the data cannot be trained on.
    """
    if is_finished(job):
        return job.out
    _quiet()
    if job.threads and not torch.cuda.is_available():
        torch.set_num_threads(job.threads)
    args = training_arguments(job)
    first = args.process_index == 0
    with folder_lock(job.work) if first else nullcontext():
        with args.main_process_first(local=False):
            prepared, parent = _prepare(job) if first else _read_prepared(job)
        progress = ProgressWriter(job.work / PROGRESS)
        trainer = _trainer(job, args, Dataset.load_from_disk(str(job.work / "tokens")), progress)
        trainer.add_callback(StepKeeper(trainer, job.work / STEPS, job.keep_steps))
        newest = checkpoints.newest_complete(job.work / "checkpoints")
        try:
            trainer.train(resume_from_checkpoint=str(newest) if newest else None)
        finally:
            progress.close()
        saved = job.work / "saved"
        if first:
            for left in (saved, job.work / "merged"):
                shutil.rmtree(left, ignore_errors=True)
        trainer.accelerator.wait_for_everyone()
        trainer.save_model(str(saved))
        trainer.accelerator.wait_for_everyone()
        if first:
            trained = Trained(trainer.state.log_history, trainer.state.global_step, args.world_size)
            finish(job, saved, prepared, trained, parent)
            shutil.rmtree(job.work)
    return job.out


def _quiet() -> None:
    os.environ.setdefault("TQDM_DISABLE", "1")
    # About renamed arguments that TRL itself uses.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"(transformers|trl)\.")
    datasets.disable_progress_bars()
    transformers_logging.disable_progress_bar()
    transformers.logging.set_verbosity_error()


def _trainer(job: Job, args: Any, rows: Dataset, progress: ProgressWriter) -> Any:
    tokenizer = load_tokenizer(job.model)
    # Trained weights are kept in fp32 and computed in bf16; under an adapter the base weights do not change.
    dtype = compute_dtype(job) if job.lora else torch.float32
    model = AutoModelForCausalLM.from_pretrained(job.model, dtype=dtype)
    shared = {
        "model": model,
        "args": args,
        "train_dataset": rows,
        "processing_class": tokenizer,
        "peft_config": adapter(job.lora, model),
        "callbacks": [progress],
    }
    if job.kind == "dpo":
        # The reference scores rows in their order; without rows of like length together, most of it would be padding.
        lengths = list(rows["length"])
        shared["train_dataset"] = rows.select(sorted(range(len(lengths)), key=lengths.__getitem__))
        trainer = TokenDpoTrainer(**shared)
    else:
        pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
        trainer = TokenSftTrainer(**shared, data_collator=WeightsCollator(pad_token_id=pad))
    # The progress file has it all.
    trainer.remove_callback(PrinterCallback)
    return trainer


def load_tokenizer(model: str) -> Any:
    """A model's tokenizer.

    Raises:
        ConfigError: there is none, or it has no chat template.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(model)
    except (OSError, ValueError) as error:
        raise ConfigError(f"model: {model} has no tokenizer that can be loaded: {error}") from error
    if not tokenizer.chat_template:
        raise ConfigError(f"model: {model} has no chat template; put a chat_template.jinja beside its tokenizer")
    return tokenizer


def end_tokens(model: str, tokenizer: Any) -> Sequence[int]:
    """The tokens at which a server of this model ends an answer."""
    try:
        ends = GenerationConfig.from_pretrained(model).eos_token_id
    except OSError:
        ends = None
    if ends is None:
        ends = tokenizer.eos_token_id
    return ends if isinstance(ends, list) else [ends] if ends is not None else []


def _prepare(job: Job) -> tuple[Prepared, dict[str, str]]:
    """Check that an unfinished training here is this job, and tokenize the data where that was not done yet."""
    parent = parent_of(job.model)
    files = describe_files(job.data)
    inputs = {
        "fingerprint_fields": job.fingerprint_fields(),
        "parent": parent,
        "data": [asdict(file) for file in files],
    }
    record = job.work / _RECORD
    if record.exists():
        before = json.loads(record.read_text(encoding="utf-8"))["of"]
        differing = find_differences(_comparable(before), _comparable(inputs))
        checkpoints.drop_damaged(job.work / "checkpoints")
        if not differing:
            return _read_prepared(job)
        # Without a checkpoint nothing is lost: a training that ran out of memory may try smaller batches.
        if checkpoints.newest_complete(job.work / "checkpoints"):
            remedy = "Undo the change, or remove the folder to train from the beginning"
            raise other_settings(job.work, differing, remedy)
        record.unlink()
        (job.work / PROGRESS).unlink(missing_ok=True)
        shutil.rmtree(job.work / STEPS, ignore_errors=True)
    tokenizer = load_tokenizer(job.model)
    prepared = prepare(job, Renderer(tokenizer, ends=end_tokens(job.model, tokenizer)))
    tokens = job.work / "tokens"
    shutil.rmtree(tokens, ignore_errors=True)
    # Sorted by length, so that little is padding where the reference's log-probabilities are computed.
    Dataset.from_list(sorted(prepared.rows, key=lambda row: int(row["length"]))).save_to_disk(str(tokens))
    counts = {"excluded": prepared.excluded, "longest": prepared.longest, "rows": len(prepared.rows)}
    # Written last: it says that the tokens are complete.
    write_json(record, {"of": inputs, "prepared": counts})
    return prepared, parent


def _comparable(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """A record's job, parent and data files, so that a difference names the key or file."""
    files = {file["path"]: file["sha256"] for file in inputs["data"]}
    return {**recorded_fingerprint(inputs), "parent": inputs["parent"], "files": files}


def _read_prepared(job: Job) -> tuple[Prepared, dict[str, str]]:
    record = json.loads((job.work / _RECORD).read_text(encoding="utf-8"))
    counts, inputs = record["prepared"], record["of"]
    files = [DataFile(**file) for file in inputs["data"]]
    # Only their number is used from here on.
    rows: list[dict[str, Any]] = [{}] * counts["rows"]
    return Prepared(rows, files, counts["excluded"], counts["longest"]), inputs["parent"]
