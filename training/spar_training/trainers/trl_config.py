"""Translate a job into TRL's and PEFT's configurations."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any, Final

import torch
from peft import LoraConfig
from trl import DPOConfig, SFTConfig

from spar_core.backends.local.engine import cpu_has_bfloat16
from spar_core.errors import ConfigError
from spar_training.trainers.job import Job, Lora

_SCHEDULES: Final = {"linear": "linear", "constant": "constant_with_warmup", "cosine": "cosine"}


def compute_dtype(job: Job) -> torch.dtype:
    """What this machine computes in: a CPU without bf16 emulates it, which takes forty times as long as fp32."""
    has_bf16 = torch.cuda.is_available() or cpu_has_bfloat16()
    return torch.bfloat16 if job.dtype == "bf16" and has_bf16 else torch.float32


def training_arguments(job: Job) -> DPOConfig | SFTConfig:
    """The job for TRL. Rows are already tokenized and checked, so TRL neither truncates nor maps them.

    Raises:
        ConfigError: a tracker in `log_to` is not installed.
    """
    for tracker in job.log_to:
        if importlib.util.find_spec(tracker) is None:
            raise ConfigError(f"log_to: {tracker} is not installed; pip install {tracker}, or remove it from log_to")
    on_gpu = torch.cuda.is_available()
    common: dict[str, Any] = {
        "output_dir": str(job.work / "checkpoints"),
        "per_device_train_batch_size": job.batch_size,
        "gradient_accumulation_steps": job.accumulation,
        "learning_rate": job.learning_rate,
        "lr_scheduler_type": _SCHEDULES[job.schedule],
        "warmup_steps": job.warmup,
        "num_train_epochs": job.epochs,
        "max_steps": job.max_steps or -1,
        "weight_decay": job.weight_decay,
        "max_grad_norm": job.max_grad_norm,
        "seed": job.seed,
        "bf16": compute_dtype(job) == torch.bfloat16,
        "use_cpu": not on_gpu,
        "dataloader_pin_memory": on_gpu,
        "gradient_checkpointing": job.gradient_checkpointing,
        "train_sampling_strategy": "group_by_length" if job.group_by_length else "random",
        "logging_steps": job.log_every,
        "logging_first_step": True,
        "save_strategy": "steps",
        "save_steps": job.save_every,
        "save_total_limit": 2,
        "report_to": list(job.log_to) or "none",
        "disable_tqdm": True,
        "max_length": None,
    }
    if job.kind == "sft":
        return SFTConfig(**common, dataset_kwargs={"skip_prepare_dataset": True})
    supervised = job.sft_weight > 0
    preference = "sigmoid_norm" if job.length_normalized else "sigmoid"
    return DPOConfig(
        **common,
        beta=job.beta,
        loss_type=[preference, "sft"] if supervised else [preference],
        loss_weights=[1.0, job.sft_weight] if supervised else None,
        precompute_ref_log_probs=job.precompute_reference,
        # Without gradients more rows fit into memory.
        precompute_ref_batch_size=2 * job.batch_size,
    )


def adapter(lora: Lora | None, model: torch.nn.Module) -> LoraConfig | None:
    """The adapter of `model` to train; None to train all weights.

    Raises:
        ConfigError: the model has no module with a name in `targets`.
    """
    if lora is None:
        return None
    if not isinstance(lora.targets, str):
        _check_targets(lora.targets, model)
    targets = lora.targets if isinstance(lora.targets, str) else list(lora.targets)
    return LoraConfig(
        r=lora.r, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=targets, task_type="CAUSAL_LM"
    )


def _check_targets(targets: Sequence[str], model: torch.nn.Module) -> None:
    # Full names or their ends, as in PEFT, which ignores an unknown name beside known ones.
    modules = [
        name.removesuffix(".weight")
        for name, weight in model.named_parameters(remove_duplicate=False)
        if name.endswith(".weight") and weight.ndim > 1
    ]
    unknown = [each for each in targets if not any(f".{name}".endswith(f".{each}") for name in modules)]
    if unknown:
        known = dict.fromkeys(name.rpartition(".")[2] for name in modules)
        raise ConfigError(
            f"lora.targets: the model has no weight matrix in a module {', '.join(unknown)}; it has {', '.join(known)}"
        )
