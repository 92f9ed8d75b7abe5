"""Turn data files into token rows for a trainer. Every row is checked before the first step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any, Final

from spar_core.errors import DataError
from spar_training.storage.files import Row, read_rows
from spar_training.storage.provenance import file_digest
from spar_training.trainers.chat_template import Rendered, Renderer
from spar_training.trainers.job import Job
from spar_training.trainers.rows import dpo_problem, sft_problem, source_text


def edit_positions(source: Sequence[int], edited: Sequence[int]) -> list[int]:
    """The positions in `edited` at which it departs from `source`: the first token of each insertion or replacement,
    and the token after each deletion.
    """
    codes = SequenceMatcher(None, source, edited, autojunk=False).get_opcodes()
    return [start for kind, _, _, start, _ in codes if kind != "equal" and start < len(edited)]


# How many row ids an error lists.
_LISTED_IDS: Final = 5
TokenRow = dict[str, Any]


@dataclass(frozen=True)
class DataFile:
    """A data file as it was read."""

    path: str
    sha256: str
    rows: int


@dataclass
class Prepared:
    """Token rows in the order of the files, and the ids of excluded rows by reason. `longest` is in tokens."""

    rows: list[TokenRow] = field(default_factory=list)
    files: list[DataFile] = field(default_factory=list)
    excluded: dict[str, list[str]] = field(default_factory=dict)
    longest: int = 0


def describe_files(paths: Sequence[Path]) -> list[DataFile]:
    """Each file with its hash and number of rows.

    Raises:
        DataError: a file is missing, or a line is not a JSON object with an id.
    """
    return [
        DataFile(str(path), file_digest(path) if path.is_file() else "", rows)
        for path in paths
        for rows in [sum(1 for _ in read_rows(path, needs=("id",)))]
    ]


def prepare(job: Job, renderer: Renderer) -> Prepared:
    """Tokenize and check all rows.

    Raises:
        DataError: rows are malformed; or too long or without a difference, and the job does not exclude them; or none
            is left. One error lists every problem: counts, the first ids, and the length of the longest row.
    """
    make: Callable[[Row], TokenRow] = _Sft(renderer, job.edit_token_weight) if job.kind == "sft" else _Dpo(renderer)
    find_problem = sft_problem if job.kind == "sft" else dpo_problem
    prepared = Prepared(files=describe_files(job.data))
    wrong: dict[str, list[str]] = {}
    for row in _all_rows(job.data):
        name = str(row["id"])
        if problem := find_problem(row):
            wrong.setdefault(problem, []).append(name)
            continue
        try:
            made = make(row)
        except DataError as error:
            wrong.setdefault(str(error), []).append(name)
            continue
        if made.get("chosen_ids", 0) == made.get("rejected_ids", 1):
            prepared.excluded.setdefault("no_difference", []).append(name)
            continue
        prepared.longest = max(prepared.longest, made["length"])
        if made["length"] > job.max_length:
            prepared.excluded.setdefault("too_long", []).append(name)
        else:
            prepared.rows.append(made)
    _refuse(job, prepared, wrong)
    return prepared


def _all_rows(paths: Sequence[Path]) -> Iterator[Row]:
    for path in paths:
        yield from read_rows(path, needs=("id",))


def _refuse(job: Job, prepared: Prepared, wrong: Mapping[str, list[str]]) -> None:
    problems = [f"{_format_ids(ids)}: {problem}" for problem, ids in wrong.items()]
    if (ids := prepared.excluded.get("too_long")) and job.on_too_long == "error":
        problems.append(
            f"{_format_ids(ids)}: longer than max_length, {job.max_length} tokens; the longest has {prepared.longest}. "
            "Raise max_length, or set on_too_long to exclude"
        )
    if (ids := prepared.excluded.get("no_difference")) and job.on_no_difference == "error":
        problems.append(f"{_format_ids(ids)}: chosen and rejected are the same; set on_no_difference to exclude them")
    if not problems and not prepared.rows:
        problems.append("no row is left to train on")
    if problems:
        raise DataError(f"{', '.join(map(str, job.data))}: " + "; ".join(problems))


def _format_ids(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - _LISTED_IDS} more" if len(ids) > _LISTED_IDS else ""
    return f"{len(ids)} {'row' if len(ids) == 1 else 'rows'} ({', '.join(ids[:_LISTED_IDS])}{more})"


@dataclass(frozen=True)
class _Sft:
    renderer: Renderer
    edit_token_weight: float

    def __call__(self, row: Row) -> TokenRow:
        rendered = self.renderer.conversation(row["messages"])
        labels = [token if target else -100 for token, target in zip(rendered.ids, rendered.targets, strict=True)]
        made: TokenRow = {"input_ids": rendered.ids, "labels": labels, "length": len(labels)}
        if self.edit_token_weight > 1:
            made["weights"] = self._weights(row, rendered)
        return made

    def _weights(self, row: Row, rendered: Rendered) -> list[float]:
        weights = [1.0] * len(rendered.ids)
        if source := source_text(row):
            source_ids = self.renderer.answer(row["messages"][:-1], source)
            for position in edit_positions(source_ids, rendered.ids[rendered.last :]):
                weights[rendered.last + position] = self.edit_token_weight
        # Scaled so that the weight of the row as a whole does not change.
        targets = [weight for weight, target in zip(weights, rendered.targets, strict=True) if target]
        return [weight * len(targets) / sum(targets) for weight in weights]


@dataclass(frozen=True)
class _Dpo:
    renderer: Renderer

    def __call__(self, row: Row) -> TokenRow:
        prompt = self.renderer.prompt(row["prompt"])
        ids = {
            f"{key}_ids": self.renderer.answer(row["prompt"], row[key][0]["content"]) for key in ("chosen", "rejected")
        }
        if row.get("rejected_cut_off"):
            # It does not end there, so nothing is learned about its end.
            ids["rejected_ids"].pop()
        return {"prompt_ids": prompt, **ids, "length": len(prompt) + max(map(len, ids.values()))}
