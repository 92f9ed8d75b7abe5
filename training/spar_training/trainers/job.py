"""A training job: everything that decides which weights come out, read from JSON.

job = load_job(Path("job.json"))     # {"kind": "sft", "model": "bootstrap", "data": ["rows.jsonl"], ...}
train(job)                           # spar_training.trainers.launch
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AliasChoices, Field, PositiveInt, ValidationError, model_validator

from spar_core.errors import ConfigError
from spar_core.validation import StrictModel, format_validation_error

# These change how a job runs, not what it makes, so a job may resume with other values.
NOT_FINGERPRINTED: Final = frozenset({"threads", "log_to", "log_every", "save_every", "recipe"})
# Deprecated names, still accepted. Fingerprints keep them, so that unfinished jobs and older lineages stay valid.
OLD_NAMES: Final[Mapping[str, str]] = {"max_length": "cutoff", "edit_token_weight": "departure_weight"}


class Lora(StrictModel):
    """Low-rank adapters instead of full fine-tuning.

    `targets` are module names or `all-linear`. With `merge` the output folder holds full weights, which every engine
    serves, and the adapter in its subfolder `adapter`; without it, the adapter alone.
    """

    r: int = Field(default=16, gt=0)
    alpha: int = Field(default=32, gt=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    targets: Annotated[tuple[str, ...], Field(min_length=1)] | Literal["all-linear"] = "all-linear"
    merge: bool = True


class Origin(StrictModel):
    """The recipe that a job is a step of; `sha256` is the digest of the recipe's fingerprinted keys."""

    name: str
    sha256: str
    seed: int
    iteration: int


class Job(StrictModel):
    """One training. Lengths are in tokens; relative paths are resolved against the working directory.

    `beta` and `sft_weight` apply to DPO: its temperature, and the weight of the supervised loss on the chosen answers.
    With `length_normalized`, DPO compares log-probabilities per token, so that length alone wins no preference; `beta`
    must then be larger by about the length of an answer.
    `edit_token_weight` applies to SFT: the weight of the tokens at which a row's last turn departs from the row's
    `source_text`; all other tokens weigh 1. `max_length` bounds a row, prompt and answer together.
    """

    kind: Literal["dpo", "sft"]
    model: str = Field(min_length=1, description="a folder, or a name at Hugging Face")
    data: tuple[Path, ...] = Field(min_length=1)
    out: Path
    learning_rate: float = Field(gt=0)
    schedule: Literal["linear", "constant", "cosine"] = "linear"
    warmup: float = Field(default=0.1, ge=0, lt=1, description="share of the steps")
    epochs: float = Field(default=1, gt=0)
    max_steps: int | None = Field(default=None, gt=0)
    batch_size: int = Field(default=1, gt=0, description="rows a step on each device")
    accumulation: int = Field(default=1, gt=0)
    max_length: int = Field(default=2048, gt=1, validation_alias=AliasChoices("max_length", "cutoff"))
    on_too_long: Literal["error", "exclude"] = "error"
    on_no_difference: Literal["error", "exclude"] = "error"
    seed: int = Field(default=0, ge=0)
    beta: float = Field(default=0.1, gt=0)
    sft_weight: float = Field(default=0.1, ge=0)
    length_normalized: bool = False
    precompute_reference: bool = True
    edit_token_weight: float = Field(
        default=1.0, ge=1, validation_alias=AliasChoices("edit_token_weight", "departure_weight")
    )
    lora: Lora | None = None
    dtype: Literal["bf16", "fp32"] = "bf16"
    weight_decay: float = Field(default=0.0, ge=0)
    max_grad_norm: float = Field(default=1.0, gt=0)
    gradient_checkpointing: bool = False
    group_by_length: bool = True
    save_every: int = Field(default=500, gt=0, description="steps")
    log_every: int = Field(default=10, gt=0, description="steps")
    log_to: tuple[Literal["tensorboard", "wandb"], ...] = ()
    threads: int | None = Field(default=None, gt=0, le=1024)
    keep_steps: tuple[PositiveInt, ...] = Field(default=(), description="steps to save the weights of, in OUT/steps")
    recipe: Origin | None = Field(default=None, description="recorded in lineage.json")

    @model_validator(mode="after")
    def _keys_of_its_kind(self) -> Job:
        others = {
            "dpo": {"edit_token_weight"},
            "sft": {"beta", "sft_weight", "length_normalized", "precompute_reference"},
        }[self.kind]
        if wrong := sorted(others & self.model_fields_set):
            raise ValueError(f"{', '.join(wrong)}: does not apply to a job of kind {self.kind}; remove it")
        if self.keep_steps and self.lora:
            raise ValueError("keep_steps: saves full weights only; remove it, or lora")
        return self

    @property
    def work(self) -> Path:
        """Where checkpoints and progress are until the model is finished."""
        return self.out.with_name(f"{self.out.name}.work")

    def fingerprint_fields(self) -> dict[str, Any]:
        """The keys that decide what comes out, by the names they had first."""
        # Newer than the first fingerprints, and left out where unused.
        unused = {name for name in ("keep_steps", "length_normalized") if not getattr(self, name)}
        fields = self.model_dump(mode="json", exclude=set(NOT_FINGERPRINTED) | unused)
        return {OLD_NAMES.get(name, name): value for name, value in fields.items()}


def parse_job(values: object, *, source: str) -> Job:
    """A job from plain values; `source` is where they are from, for errors.

    Raises:
        ConfigError: a key is unknown, missing or invalid; names each.
    """
    try:
        return Job.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{source}: {format_validation_error(error, whole='job', model=Job)}") from error


def load_job(path: Path) -> Job:
    """Read a job file.

    Raises:
        ConfigError: the file is missing, is not JSON, or has an invalid key or value.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such job file") from error
    except ValueError as error:
        raise ConfigError(f"{path}: not JSON: {error}") from error
    return parse_job(values, source=str(path))
