"""A self-play recipe: everything that decides what `spar train run` makes, read from YAML. Defaults are the paper's."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from spar_core.errors import ConfigError
from spar_core.search import SearchConfig
from spar_core.types import Sampling
from spar_core.validation import AlgorithmName, StrictModel, format_validation_error, key_of
from spar_training.data.refiner_rows import Kind
from spar_training.inference.config import Serving
from spar_training.trainers.job import NOT_FINGERPRINTED as NOT_FINGERPRINTED_IN_A_JOB
from spar_training.world.prompt import Split

RECIPES: Final = Path(__file__).parents[1] / "recipes"
# What a run's folder keeps its recipe in.
MANIFEST: Final = "run.json"
# What these say changes how a run is done and described, and not what an iteration of it makes.
_NOT_FINGERPRINTED: Final = frozenset({"name", "iterations", "in_flight", "serving", "paper", "resources"})
_SERVED_BY_THIS_PROCESS: Final[Mapping[str, Any]] = {
    "engine": "embedded",
    "command": [],
    "environment": {},
    "replicas": 1,
    "gpus_per_replica": 1,
    "ready_within_s": 900.0,
}


class Start(StrictModel):
    """The pair that the first iteration starts from: folders, or `bootstrap` or `shipped`.

    Self-play made the embedded pair, which is shipped, of the bootstrap's.
    """

    actor: str = "bootstrap"
    refiner: str = "bootstrap"


class Prompts(StrictModel):
    """Fresh prompts for each iteration: the world's own generator, or a JSONL file (rows of `id` and `messages`).

    Of the world's prompts those are taken that have at least `constraints` of them.
    """

    source: Literal["world", "file"]
    per_iteration: int = Field(gt=0)
    file: Path | None = None
    constraints: int = Field(default=1, ge=1, le=4)

    @model_validator(mode="after")
    def _file_where_needed(self) -> Prompts:
        if (self.source == "file") is (self.file is None):
            raise ValueError("file: give it with source: file, and with that only")
        if self.file is not None and self.constraints != 1:
            raise ValueError("constraints: of source: world only; take it out")
        return self


class SamplingSettings(StrictModel):
    """How one kind of call is sampled."""

    temperature: float = Field(ge=0, le=2)
    top_p: float = Field(default=1.0, gt=0, le=1)
    max_tokens: int = Field(gt=0)

    def sampling(self) -> Sampling:
        return Sampling(temperature=self.temperature, top_p=self.top_p, max_tokens=self.max_tokens)


class SampleSettings(SamplingSettings):
    """The actor's responses to each prompt."""

    temperature: float = 0.9
    top_p: float = 0.9
    max_tokens: int = 2048
    responses: int = Field(default=5, gt=0)


class JudgeSettings(SamplingSettings):
    """The refiner's votes on each response."""

    temperature: float = 0.7
    max_tokens: int = 2048
    votes: int = Field(default=5, gt=0)


class SearchSettings(SamplingSettings):
    """The search from each negative; sampling is that of a refinement."""

    temperature: float = 0.7
    max_tokens: int = 3072
    algorithm: AlgorithmName = "bfs"
    branch: int = Field(default=3, gt=0)
    beam: int = Field(default=2, gt=0)
    max_depth: int = Field(default=3, gt=0)
    budget: int = Field(default=15, gt=0)
    threshold: float = Field(default=0.5, ge=0, lt=1)

    def config(self, votes: int) -> SearchConfig:
        return SearchConfig(
            budget=self.budget,
            algorithm=self.algorithm,
            branch=self.branch,
            beam=self.beam,
            max_depth=self.max_depth,
            votes=votes,
            threshold=self.threshold,
            stop="level",
            early_vote_stop=False,
        )


Cap = Annotated[int, Field(gt=0)]


class ActorData(StrictModel):
    """`pairs`: refined (SPaR's) or sampled (its ablation without refinement).

    `most` caps the pairs of an iteration: one number for all, or one for each; None is none.
    """

    pairs: Literal["refined", "sampled"] = "refined"
    most: Cap | tuple[Cap, ...] | None = None

    def most_in(self, iteration: int) -> int | None:
        """The cap of the `iteration`-th iteration, counted from 1."""
        return self.most[iteration - 1] if isinstance(self.most, tuple) else self.most


class RefinerData(StrictModel):
    """The most rows of each kind. The paper's sum up to 9,500."""

    refinement: int = Field(default=4000, ge=0)
    tree_yes: int = Field(default=1500, ge=0)
    tree_no: int = Field(default=1000, ge=0)
    sample_no: int = Field(default=500, ge=0)
    sample_yes: int = Field(default=2500, ge=0)

    def caps(self) -> dict[Kind, int]:
        return self.model_dump()  # type: ignore[return-value]


class Training(StrictModel):
    """`actor` and `refiner` are the keys of a `spar_training.trainers` job.

    `launcher` is what starts it: `python` is this one, alone; anything else gets {recipes}, the folder of the shipped
    recipes, filled in, and ends in `-m`.
    """

    actor: Mapping[str, Any] = {}
    refiner: Mapping[str, Any] = {}
    launcher: tuple[str, ...] = Field(default=("python",), min_length=1)


class Evaluation(StrictModel):
    """What the pair of each iteration is measured on. None at all where `benchmark` is none.

    With `benchmark: file`, `file` is a JSONL file of prompts with `checks`, sampled as the recipe's own.
    The actor and the search are measured on `prompts`, judge and refinement on the first `judged` of them (None: all):
    votes are most of an evaluation's cost.
    """

    benchmark: Literal["world", "file", "none"] = "none"
    file: Path | None = None
    split: Split = "validation"
    prompts: int = Field(default=500, gt=0)
    judged: int | None = Field(default=None, gt=0)
    budget: int = Field(default=8, ge=0)

    @model_validator(mode="after")
    def _file_where_needed(self) -> Evaluation:
        if (self.benchmark == "file") is (self.file is None):
            raise ValueError("file: give it with benchmark: file, and with that only")
        return self

    def told(self) -> str:
        """On which prompts, in words."""
        fewer = f" (judge and refinement: the first {self.judged:,})" if self.judged else ""
        if self.file is not None:
            return f"{self.prompts:,} prompts of {self.file.name}{fewer}"
        return f"{self.prompts:,} {self.split.replace('_', '-')} prompts{fewer}"


class Resources(StrictModel):
    """What the recipe is written for, and what `spar train size` reckons with. `parameters` are those of one model.

    `peak_flops` is a GPU's, a second. `serving_utilization` and `training_utilization` are the shares of it that
    generation and training are assumed to reach. `note` says where the figures come from.
    """

    parameters: float | None = Field(default=None, gt=0)
    gpu: str | None = None
    gpus: int = Field(default=1, gt=0)
    peak_flops: float | None = Field(default=None, gt=0)
    serving_utilization: float = Field(default=0.1, gt=0, le=1)
    training_utilization: float = Field(default=0.4, gt=0, le=1)
    host_memory_gb: float | None = Field(default=None, gt=0)
    note: str = ""


class Recipe(StrictModel):
    """One self-play run. `paper` is for people: what was reported."""

    name: str = Field(pattern=r"^[\w.-]+$")
    seed: int = 0
    templates: str = "default"
    iterations: int = Field(default=3, gt=0)
    in_flight: int = Field(default=256, gt=0)
    start: Start = Start()
    prompts: Prompts
    sample: SampleSettings = SampleSettings()
    judge: JudgeSettings = JudgeSettings()
    search: SearchSettings = SearchSettings()
    actor_data: ActorData = ActorData()
    refiner_data: RefinerData = RefinerData()
    training: Training = Training()
    serving: Serving = Serving()
    evaluation: Evaluation = Evaluation()
    paper: Mapping[str, Any] = {}
    resources: Resources = Resources()

    def fingerprint_fields(self) -> dict[str, Any]:
        """The keys that decide what an iteration makes; where and how its models are served and trained does not."""
        data = self.model_dump(mode="json", exclude=set(_NOT_FINGERPRINTED))
        trained = {
            role: {key: value for key, value in data["training"][role].items() if key not in NOT_FINGERPRINTED_IN_A_JOB}
            for role in ("actor", "refiner")
        }
        # As the defaults stood in the digests of the models that were made before these were left out or there at all.
        for name in ("judged", "file"):
            if data["evaluation"][name] is None:
                del data["evaluation"][name]
        return {**data, "training": {**trained, "launcher": ["python"]}, "serving": dict(_SERVED_BY_THIS_PROCESS)}

    @model_validator(mode="after")
    def _cap_for_each(self) -> Recipe:
        most = self.actor_data.most
        if isinstance(most, tuple) and len(most) < self.iterations:
            raise ValueError(f"actor_data.most: has {len(most)} numbers for {self.iterations} iterations")
        return self


def shipped_recipes() -> list[str]:
    return sorted(file.stem for file in RECIPES.glob("*.yaml"))


def load_recipe(name_or_file: str, changes: Sequence[str] = ()) -> Recipe:
    """A shipped recipe by name, one from a YAML file, or that of a run by its folder or `run.json`.

    Each change is a `KEY=VALUE`, such as `start.actor=models/mine`, and goes before what stands there.

    Raises:
        ConfigError: there is none, it is not YAML, or a key or a value is wrong; names it.
    """
    shipped = RECIPES / f"{name_or_file}.yaml"
    file = shipped if shipped.is_file() else Path(name_or_file)
    if (file / MANIFEST).is_file():
        file /= MANIFEST
    try:
        text = file.read_text(encoding="utf-8")
        # YAML reads 2e-07, as JSON writes it, as a text.
        values = json.loads(text)["recipe"] if file.name == MANIFEST else yaml.safe_load(text)
        return Recipe.model_validate(_changed(deepcopy(values), changes))
    except (FileNotFoundError, IsADirectoryError) as error:
        raise ConfigError(
            f"{name_or_file}: neither a shipped recipe ({', '.join(shipped_recipes())}), a file nor a run's folder"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: not YAML: {error}") from error
    except ValidationError as error:
        blamed = _blamed(error, values, changes) or [str(file)]
        raise ConfigError(
            f"{', '.join(blamed)}: {format_validation_error(error, whole='recipe', model=Recipe)}"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{file}: not the manifest of a run ({error})") from error


def _blamed(error: ValidationError, values: Any, changes: Sequence[str]) -> list[str]:
    """The changes to what a file says that are what is wrong; none where the file is wrong by itself."""
    try:
        Recipe.model_validate(values)
    except ValidationError:
        return []
    wrong = [f"{key_of(item['loc'])}." for item in error.errors()]
    at_fault = [
        change
        for change in changes
        for key in [f"{change.partition('=')[0]}."]
        if any(one.startswith(key) or key.startswith(one) for one in wrong)
    ]
    return [f"--set {change}" for change in at_fault or changes]


def _changed(values: Any, changes: Sequence[str]) -> Any:
    for change in changes:
        key, given, value = change.partition("=")
        if not given:
            raise ConfigError(f"--set {change!r}: a change to a recipe is KEY=VALUE, such as start.actor=models/mine")
        at = values
        *parts, last = key.split(".")
        for part in parts:
            at = at.setdefault(part, {}) if isinstance(at, dict) else None
        if not isinstance(at, dict):
            raise ConfigError(f"--set {change}: no such key, since what it is under has none")
        try:
            at[last] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {change}: the value is not YAML: {error}") from error
    return values
