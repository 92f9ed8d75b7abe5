"""IFEval's four accuracies and their mean, the single figure that the SPaR paper reports.

Prompt level: the share of prompts whose instructions are all followed; instruction level: the share of instructions.
Strict checks the response as it is; loose also accepts it without its first line, last line or asterisks
(`spar_core.checks`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from spar_core.checks import build_check, verify
from spar_core.checks.base import Check
from spar_core.errors import DataError, RequestError
from spar_training.reports.intervals import Interval, cluster_interval, interval, statistic_interval
from spar_training.storage.files import Row, numbered_rows

FILE: Final = "ifeval/input_data.jsonl"
METRICS: Final = ("prompt_strict", "instruction_strict", "prompt_loose", "instruction_loose")


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt with its instructions as checks."""

    key: str
    text: str
    checks: tuple[Check, ...]


@dataclass(frozen=True, slots=True)
class ScoredPrompt:
    """Which of a prompt's instructions a response follows, in order. `response` is None if it is missing."""

    prompt: Prompt
    response: str | None
    strict: tuple[bool, ...]
    loose: tuple[bool, ...]

    def row(self) -> Row:
        return {
            "id": self.prompt.key,
            "instructions": [check.id for check in self.prompt.checks],
            "strict": list(self.strict),
            "loose": list(self.loose),
            "response": self.response,
        }


def read_prompts(file: Path) -> list[Prompt]:
    """Read IFEval's prompts in order.

    Raises:
        DataError: a line is not an IFEval prompt, a key occurs twice, or there are no prompts; names file and line.
    """
    prompts: dict[str, Prompt] = {}
    for line, row in numbered_rows(file, needs=("key", "prompt", "instruction_id_list", "kwargs")):
        try:
            prompt = _prompt(row)
        except (RequestError, ValueError) as error:
            raise DataError(f"{file}, line {line} (key {row['key']}): {error}") from error
        if prompt.key in prompts:
            raise DataError(f"{file}, line {line}: a second prompt with the key {prompt.key}; keep one")
        prompts[prompt.key] = prompt
    if not prompts:
        raise DataError(f"{file}: has no prompts")
    return list(prompts.values())


def _prompt(row: Row) -> Prompt:
    ids, kwargs = row["instruction_id_list"], row["kwargs"]
    if not isinstance(row["prompt"], str):
        raise ValueError("prompt must be text")
    if not ids or not isinstance(ids, list) or not isinstance(kwargs, list) or len(ids) != len(kwargs):
        raise ValueError("instruction_id_list and kwargs must be non-empty lists of the same length")
    if not all(isinstance(one, dict) for one in kwargs):
        raise ValueError("kwargs must be a list of objects")
    return Prompt(str(row["key"]), row["prompt"], tuple(map(build_check, ids, kwargs)))


def read_responses(file: Path, prompts: Sequence[Prompt]) -> dict[str, str]:
    """Read a file of lines {"prompt", "response"} into responses by prompt key; a null response counts as missing.

    Raises:
        DataError: a prompt is not IFEval's or occurs twice, or a response is not text; names file and line.
    """
    keys = {known.text.strip(): known.key for known in prompts}
    responses: dict[str, str | None] = {}
    for line, row in numbered_rows(file, needs=("prompt", "response")):
        prompt, response = row["prompt"], row["response"]
        if not isinstance(prompt, str) or (key := keys.get(prompt.strip())) is None:
            raise DataError(f"{file}, line {line}: the prompt is not one of the benchmark's: {str(prompt)[:60]!r}")
        if key in responses:
            raise DataError(f"{file}, line {line}: a second response to the prompt {key}; keep one")
        if not isinstance(response, str | None):
            raise DataError(f"{file}, line {line}: response must be text, or null if there is none")
        responses[key] = response
    return {key: response for key, response in responses.items() if response is not None}


def score(prompts: Sequence[Prompt], responses: Mapping[str, str]) -> list[ScoredPrompt]:
    """Score every prompt. A missing response follows nothing, so that omitting responses cannot raise the score."""
    return [_score(prompt, responses.get(prompt.key)) for prompt in prompts]


def _score(prompt: Prompt, response: str | None) -> ScoredPrompt:
    strict = verify(prompt.checks, response or "")
    loose = verify(prompt.checks, response or "", loose=True)
    return ScoredPrompt(prompt, response, tuple(f.passed for f in strict), tuple(f.passed for f in loose))


def figures(scored: Sequence[ScoredPrompt]) -> dict[str, Interval]:
    """Return the four metrics and `mean` with 95% intervals, which resample prompts with all their instructions."""
    return {
        "prompt_strict": interval([float(all(one.strict)) for one in scored]),
        "instruction_strict": cluster_interval([[float(passed) for passed in one.strict] for one in scored]),
        "prompt_loose": interval([float(all(one.loose)) for one in scored]),
        "instruction_loose": cluster_interval([[float(passed) for passed in one.loose] for one in scored]),
        "mean": statistic_interval([Counts.of(one.strict, one.loose) for one in scored], mean_of_four),
    }


class Counts(NamedTuple):
    """Of one prompt: whether all instructions are followed, and how many of them, strictly and loosely."""

    all_strict: bool
    strict: int
    all_loose: bool
    loose: int
    instructions: int

    @classmethod
    def of(cls, strict: Sequence[bool], loose: Sequence[bool]) -> Counts:
        return cls(all(strict), sum(strict), all(loose), sum(loose), len(strict))


def mean_of_four(counts: Sequence[Counts]) -> float:
    """The mean of the four accuracies, SPaR's figure."""
    all_strict, strict, all_loose, loose, instructions = map(sum, zip(*counts, strict=True))
    return ((all_strict + all_loose) / len(counts) + (strict + loose) / instructions) / 4


def strict_mean(counts: Sequence[Counts]) -> float:
    """The mean of the two strict accuracies, the figure of most model cards."""
    all_strict, strict, _, _, instructions = map(sum, zip(*counts, strict=True))
    return (all_strict / len(counts) + strict / instructions) / 2


def by_type(scored: Sequence[ScoredPrompt]) -> dict[str, dict[str, Interval]]:
    """Return the `strict` and `loose` accuracy of each instruction type, sorted by type."""
    verdicts: dict[str, dict[str, list[float]]] = defaultdict(lambda: {"strict": [], "loose": []})
    for one in scored:
        for check, strict, loose in zip(one.prompt.checks, one.strict, one.loose, strict=True):
            verdicts[check.id]["strict"].append(float(strict))
            verdicts[check.id]["loose"].append(float(loose))
    return {id: {mode: interval(values) for mode, values in of.items()} for id, of in sorted(verdicts.items())}
