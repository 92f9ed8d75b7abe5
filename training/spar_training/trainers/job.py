"""A training job: everything that decides which weights come out, read from JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field, PositiveInt, ValidationError, model_validator

from spar_core.errors import ConfigError
from spar_core.validation import StrictModel, format_validation_error

# What these say changes how a job runs and not what it makes, so a job may go on with others than it began with.
NOT_FINGERPRINTED: Final = frozenset({"threads", "log_to", "log_every", "save_every", "recipe"})


class Lora(StrictModel):
    """Low-rank adapters in place of full fine-tuning.

    `targets` are module names, or `all-linear`. With `merge` the finished folder holds whole weights, which every
    engine serves, and the adapter in its folder `adapter`; without, it holds the adapter alone.
    """

    r: int = Field(default=16, gt=0)
    alpha: int = Field(default=32, gt=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    targets: Annotated[tuple[str, ...], Field(min_length=1)] | Literal["all-linear"] = "all-linear"
    merge: bool = True


class Origin(StrictModel):
    """The recipe that a job is a step of; `sha256` is that of the keys that decide what is made."""

    name: str
    sha256: str
    seed: int
    iteration: int


class Job(StrictModel):
    """One training. Lengths are in tokens; a path that is not absolute counts from the working directory.

    `beta` and `sft_weight` are DPO's: its temperature, and the weight of the supervised loss on the chosen answers.
    With `length_normalized` DPO compares log-probabilities per token, so that no answer is preferred for its length;
    `beta` is then larger by about an answer's length.
    `departure_weight` is SFT's: how much more than any other token one weighs at which the last turn of a row departs
    from the row's `departs_from`. `cutoff` bounds a row, prompt and answer together.
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
    cutoff: int = Field(default=2048, gt=1)
    on_too_long: Literal["error", "exclude"] = "error"
    on_no_difference: Literal["error", "exclude"] = "error"
    seed: int = Field(default=0, ge=0)
    beta: float = Field(default=0.1, gt=0)
    sft_weight: float = Field(default=0.1, ge=0)
    length_normalized: bool = False
    precompute_reference: bool = True
    departure_weight: float = Field(default=1.0, ge=1)
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
    keep_steps: tuple[PositiveInt, ...] = Field(default=(), description="steps whose weights stay in OUT/steps/STEP")
    recipe: Origin | None = Field(default=None, description="told on in lineage.json")

    @model_validator(mode="after")
    def _keys_of_its_kind(self) -> Job:
        others = {
            "dpo": {"departure_weight"},
            "sft": {"beta", "sft_weight", "length_normalized", "precompute_reference"},
        }[self.kind]
        if wrong := sorted(others & self.model_fields_set):
            raise ValueError(f"{', '.join(wrong)}: not of a job of kind {self.kind}; remove it")
        if self.keep_steps and self.lora:
            raise ValueError("keep_steps: whole weights only are kept along the way; remove it, or lora")
        return self

    @property
    def work(self) -> Path:
        """Where checkpoints and progress lie until the model is finished."""
        return self.out.with_name(f"{self.out.name}.work")

    def fingerprint_fields(self) -> dict[str, Any]:
        """The keys that decide what comes out."""
        # Without these a job is what it was before there were any.
        unused = {name for name in ("keep_steps", "length_normalized") if not getattr(self, name)}
        return self.model_dump(mode="json", exclude=set(NOT_FINGERPRINTED) | unused)


def parse_job(values: object, *, source: str) -> Job:
    """A job from plain values.

    Raises:
        ConfigError: a key is unknown, missing or wrong; names each.
    """
    try:
        return Job.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{source}: {format_validation_error(error, whole='job', model=Job)}") from error


def load_job(path: Path) -> Job:
    """Read a job file.

    Raises:
        ConfigError: the file is missing, is not JSON, or has a key or a value that is wrong.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such job file") from error
    except ValueError as error:
        raise ConfigError(f"{path}: not JSON: {error}") from error
    return parse_job(values, source=str(path))
