"""A self-play recipe: everything that decides what `spar train run` makes, read from YAML.

    recipe = load_recipe("small-pair", ["search.budget=6"])

Defaults are those of the paper (arXiv 2412.11605).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import yaml
from pydantic import BeforeValidator, Field, SerializeAsAny, ValidationError, model_validator

from spar_core.errors import ConfigError
from spar_core.judge import JudgeName
from spar_core.search import SearchConfig
from spar_core.types import Sampling
from spar_core.validation import AlgorithmName, StrictModel, format_validation_error, key_of
from spar_training.data.refiner_rows import Kind
from spar_training.inference.config import Serving
from spar_training.methods import parse_settings
from spar_training.methods.settings import MethodSettings
from spar_training.storage.yaml_config import find_config, read_yaml, shipped_names
from spar_training.trainers.job import NOT_FINGERPRINTED as NOT_FINGERPRINTED_IN_A_JOB
from spar_training.trainers.job import OLD_NAMES
from spar_training.world.prompt import Split

RECIPES: Final = Path(__file__).parents[1] / "recipes"
# The file of a run's folder that holds its recipe.
MANIFEST: Final = "run.json"
# These change how a run is executed and described, not what an iteration of it makes.
_NOT_FINGERPRINTED: Final = frozenset({"name", "iterations", "in_flight", "serving", "paper", "resources"})
_SERVED_BY_THIS_PROCESS: Final[Mapping[str, Any]] = {
    "engine": "embedded",
    "command": [],
    "environment": {},
    "replicas": 1,
    "gpus_per_replica": 1,
    "ready_within_s": 900.0,
}


# Deprecated keys, still accepted. Fingerprints keep them, so that unfinished runs and older lineages stay valid.
_OLD_KEYS: Final[Mapping[str, str]] = {
    "actor_data.max_pairs": "actor_data.most",
    "evaluation.judged_prompts": "evaluation.judged",
    **{
        f"training.{role}.{name}": f"training.{role}.{old}"
        for role in ("actor", "refiner")
        for name, old in OLD_NAMES.items()
    },
}
_CURRENT_KEYS: Final[Mapping[str, str]] = {old: new for new, old in _OLD_KEYS.items()}
# Keys that the first fingerprints did not have, left out where they are off.
_NEWER: Final = (("sample", "greedy"), ("method", "sampled_pairs"), ("method", "repaired_per_prompt"))
# `actor_data.pairs` was the first form of `method`.
_OLD_PAIRS: Final[Mapping[str, str]] = {"refined": "spar", "sampled": "sampled"}


class Start(StrictModel):
    """The pair that the first iteration starts from: folders, `bootstrap` or `tiny`.

    Self-play made the tiny pair from the bootstrap pair.
    """

    actor: str = "bootstrap"
    refiner: str = "bootstrap"


class Prompts(StrictModel):
    """Fresh prompts for each iteration, from the small world's generator or from a JSONL file of `id` and `messages`.

    Of the world's prompts, only those with at least `constraints` constraints are used.
    """

    source: Literal["world", "file"]
    per_iteration: int = Field(gt=0)
    file: Path | None = None
    constraints: int = Field(default=1, ge=1, le=4)

    @model_validator(mode="after")
    def _file_where_needed(self) -> Prompts:
        if (self.source == "file") is (self.file is None):
            raise ValueError("file: required with source: file, and not allowed otherwise")
        if self.file is not None and self.constraints != 1:
            raise ValueError("constraints: only for source: world; remove it")
        return self


class SamplingSettings(StrictModel):
    """How one kind of call is sampled."""

    temperature: float = Field(ge=0, le=2)
    top_p: float = Field(default=1.0, gt=0, le=1)
    max_tokens: int = Field(gt=0)

    def sampling(self) -> Sampling:
        return Sampling(temperature=self.temperature, top_p=self.top_p, max_tokens=self.max_tokens)


class SampleSettings(SamplingSettings):
    """The actor's responses to each prompt; with `greedy`, one more at temperature 0."""

    temperature: float = 0.9
    top_p: float = 0.9
    max_tokens: int = 2048
    responses: int = Field(default=5, gt=0)
    greedy: bool = False


class JudgeSettings(SamplingSettings):
    """The refiner's votes on each response.

    With `kind: checklist`, code decides the requirements that it recognizes in the prompt, and votes only the rest.
    """

    temperature: float = 0.7
    max_tokens: int = 2048
    votes: int = Field(default=5, gt=0)
    kind: JudgeName = "holistic"


class SearchSettings(SamplingSettings):
    """The tree search from each negative; the sampling settings are those of refinements."""

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
    """`max_pairs` caps the preference pairs of an iteration: one number for all iterations, or one for each.

    Its former name `most` is deprecated, and so is `pairs: refined` or `sampled` for `method`.
    """

    max_pairs: Cap | tuple[Cap, ...] | None = None

    def max_pairs_in(self, iteration: int) -> int | None:
        """The cap of an iteration, counted from 1."""
        return self.max_pairs[iteration - 1] if isinstance(self.max_pairs, tuple) else self.max_pairs


class RefinerData(StrictModel):
    """The maximum number of rows of each kind. The paper's add up to 9,500."""

    refinement: int = Field(default=4000, ge=0)
    tree_yes: int = Field(default=1500, ge=0)
    tree_no: int = Field(default=1000, ge=0)
    sample_no: int = Field(default=500, ge=0)
    sample_yes: int = Field(default=2500, ge=0)

    def caps(self) -> dict[Kind, int]:
        return self.model_dump()  # type: ignore[return-value]


class Training(StrictModel):
    """`actor` and `refiner` are keys of a training job (`spar_training.trainers.job.Job`).

    `launcher` is the command that starts it: `python` is this interpreter; any other command must end in `-m`, with
    {recipes} replaced by the folder of the shipped recipes.
    """

    actor: Mapping[str, Any] = {}
    refiner: Mapping[str, Any] = {}
    launcher: tuple[str, ...] = Field(default=("python",), min_length=1)


class Evaluation(StrictModel):
    """How the pair of each iteration is measured; not at all with `benchmark: none`.

    With `benchmark: file`, `file` is a JSONL file of prompts with `checks`, sampled with the recipe's own settings.
    The actor and the search are measured on `prompts` prompts; judge and refinement, whose votes are most of the cost,
    on the first `judged_prompts` of them (default all; the former name `judged` is deprecated).
    """

    benchmark: Literal["world", "file", "none"] = "none"
    file: Path | None = None
    split: Split = "validation"
    prompts: int = Field(default=500, gt=0)
    judged_prompts: int | None = Field(default=None, gt=0)
    budget: int = Field(default=8, ge=0)

    @model_validator(mode="after")
    def _file_where_needed(self) -> Evaluation:
        if (self.benchmark == "file") is (self.file is None):
            raise ValueError("file: required with benchmark: file, and not allowed otherwise")
        return self

    def describe_prompts(self) -> str:
        """The prompts in words: `500 held-out prompts`."""
        fewer = f" (judge and refinement: the first {self.judged_prompts:,})" if self.judged_prompts else ""
        if self.file is not None:
            return f"{self.prompts:,} prompts of {self.file.name}{fewer}"
        return f"{self.prompts:,} {self.split.replace('_', '-')} prompts{fewer}"


class Resources(StrictModel):
    """The hardware that the recipe is written for, for the estimates of `spar train size`.

    `parameters` are those of one model, and `peak_flops` a GPU's per second. `serving_utilization` and
    `training_utilization` are the assumed shares of the peak that generation and training reach. `note` gives the
    sources of the figures.
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
    """One self-play run. `method` selects how training data is made (`spar_training.methods`); `paper` records the
    results that the paper reports, for readers.
    """

    name: str = Field(pattern=r"^[\w.-]+$")
    seed: int = 0
    templates: str = "default"
    iterations: int = Field(default=3, gt=0)
    in_flight: int = Field(default=256, gt=0)
    method: Annotated[SerializeAsAny[MethodSettings], BeforeValidator(parse_settings)] = Field(
        default_factory=lambda: parse_settings({"kind": "spar"})
    )
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
        """The settings that decide what an iteration makes, by the names they had first.

        How and where models are served and trained is not among them.
        """
        data = self.deciding_settings()
        if data["judge"]["kind"] == "holistic":
            del data["judge"]["kind"]
        # Constants and defaults as they were in the first fingerprints, for which these keys did not exist.
        for name in ("judged_prompts", "file"):
            if data["evaluation"][name] is None:
                del data["evaluation"][name]
        for section, name in _NEWER:
            if not data[section].get(name, True):
                del data[section][name]
        for pairs, kind in _OLD_PAIRS.items():
            if data.get("method") == {"kind": kind}:
                del data["method"]
                data["actor_data"]["pairs"] = pairs
        for new, old in _OLD_KEYS.items():
            _move(data, new, old)
        data["training"]["launcher"] = ["python"]
        return {**data, "serving": dict(_SERVED_BY_THIS_PROCESS)}

    def deciding_settings(self) -> dict[str, Any]:
        """The settings that decide what an iteration makes, by their current names."""
        data = self.model_dump(mode="json", exclude=set(_NOT_FINGERPRINTED))
        jobs = {
            role: {key: value for key, value in data["training"][role].items() if key not in NOT_FINGERPRINTED_IN_A_JOB}
            for role in ("actor", "refiner")
        }
        return {**data, "training": jobs}

    @model_validator(mode="before")
    @classmethod
    def _current_keys(cls, values: Any) -> Any:
        return with_current_keys(values)

    @model_validator(mode="after")
    def _cap_for_each_iteration(self) -> Recipe:
        caps = self.actor_data.max_pairs
        if isinstance(caps, tuple) and len(caps) < self.iterations:
            raise ValueError(f"actor_data.max_pairs: has {len(caps)} numbers for {self.iterations} iterations")
        return self


def with_current_keys(values: Any) -> Any:
    """A recipe's values, or a part of them, with deprecated keys replaced by their current names.

    Raises:
        ValueError: a setting is given by both names.
    """
    if not isinstance(values, Mapping):
        return values
    data = deepcopy(dict(values))
    for old, new in _CURRENT_KEYS.items():
        _move(data, old, new)
    actor_data = data.get("actor_data")
    if isinstance(actor_data, dict) and "pairs" in actor_data:
        pairs = actor_data.pop("pairs")
        if pairs not in _OLD_PAIRS:
            raise ValueError(f"actor_data.pairs: must be refined or sampled, is {pairs!r}; better give method.kind")
        if data.setdefault("method", {"kind": _OLD_PAIRS[pairs]}) != {"kind": _OLD_PAIRS[pairs]}:
            raise ValueError("actor_data.pairs: the former form of method, which is given too; remove it")
    return data


def _move(data: dict[str, Any], source: str, target: str) -> None:
    """Move what is at one dotted key to another in the same mapping."""
    *parents, name = source.split(".")
    at: Any = data
    for part in parents:
        at = at.get(part) if isinstance(at, dict) else None
    if not isinstance(at, dict) or name not in at:
        return
    new_name = target.rpartition(".")[2]
    if new_name in at:
        raise ValueError(f"{source}: another name of {target}, which is given too; remove it")
    at[new_name] = at.pop(name)


def shipped_recipes() -> list[str]:
    """The names of the shipped recipes."""
    return shipped_names(RECIPES)


def load_recipe(name_or_file: str, changes: Sequence[str] = ()) -> Recipe:
    """A shipped recipe by name, a YAML file, or the recipe of a run by its folder or its `run.json`.

    Each change is `KEY=VALUE`, such as `start.actor=models/mine`, and overrides the value in the file.

    Raises:
        ConfigError: there is no such recipe, it is not YAML, or a key or a value is invalid; names it.
    """
    file = _find_recipe(name_or_file)
    try:
        # A manifest is not read as YAML, which takes the 2e-07 of JSON for a string.
        values = with_current_keys(_recipe_of_run(file) if file.name == MANIFEST else read_yaml(file))
    except ValueError as error:
        raise ConfigError(f"{file}: {error}") from error
    try:
        return Recipe.model_validate(_with_changes(values, changes))
    except ValidationError as error:
        blamed = ", ".join(_blamed(error, values, changes) or [str(file)])
        raise ConfigError(f"{blamed}: {format_validation_error(error, whole='recipe', model=Recipe)}") from error


def _find_recipe(name_or_file: str) -> Path:
    folder = Path(name_or_file)
    if (folder / MANIFEST).is_file():
        return folder / MANIFEST
    if folder.is_dir() and name_or_file not in shipped_recipes():
        raise ConfigError(f"{folder}: neither a shipped recipe, a file nor the folder of a run ({MANIFEST} is missing)")
    return find_config(name_or_file, folder=RECIPES, what="recipe")


def _recipe_of_run(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))["recipe"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{file}: not the manifest of a run ({error})") from error


def _blamed(error: ValidationError, values: Any, changes: Sequence[str]) -> list[str]:
    """The changes that cause the error; none if the file is invalid without them."""
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


def _with_changes(values: Any, changes: Sequence[str]) -> Any:
    changed = deepcopy(values)
    for change in changes:
        _apply(changed, change)
    return changed


def _apply(values: Any, change: str) -> None:
    key, equals, text = change.partition("=")
    if not equals:
        raise ConfigError(f"--set {change!r}: must be KEY=VALUE, such as start.actor=models/mine")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {change}: the value is not YAML: {error}") from error
    if key == "actor_data.pairs" and value in _OLD_PAIRS:
        key, value = "method", {"kind": _OLD_PAIRS[value]}
    *parents, name = _CURRENT_KEYS.get(key, key).split(".")
    at = values
    for part in parents:
        at = at.setdefault(part, {}) if isinstance(at, dict) else None
    if not isinstance(at, dict):
        raise ConfigError(f"--set {change}: there is no such key: what it is under has no keys")
    at[name] = value
