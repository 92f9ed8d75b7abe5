"""The tasks' items, read from the user's data folder, for lm-evaluation-harness.

Each function is given the task's metadata, of which `data` is the folder.
"""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections.abc import Iterable, Iterator
from itertools import chain, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spar_core.errors import ConfigError, DataError
from spar_training.evals.data import data_file
from spar_training.files import numbered_rows

if TYPE_CHECKING:
    from datasets import Dataset

LETTERS = "ABCD"


def gsm8k(*, data: str, **_: Any) -> dict[str, Dataset]:
    """{question, answer}: the answer is what stands after `####`."""
    rows = _texts(data_file(Path(data), "gsm8k/test.jsonl"), ("question", "answer"))
    return _test({"question": row["question"], "answer": row["answer"].split("####")[-1].strip()} for row in rows)


def triviaqa(*, data: str, **_: Any) -> dict[str, Dataset]:
    """{question, aliases}."""
    file = data_file(Path(data), "triviaqa/triviaqa_sm_sub.jsonl")
    return _test(
        {
            "question": row["context"].removeprefix("Question:").removesuffix("Answer:").strip(),
            "aliases": [row["answer"], *row["aliases"]],
        }
        for row in _texts(file, ("context", "answer"), lists=("aliases",))
    )


def mmlu(*, data: str, **_: Any) -> dict[str, Dataset]:
    """{subject, question, options, answer}, the subjects in turn, so that the first few are of many."""
    files = sorted((Path(data) / "mmlu" / "test").glob("*.csv"))
    if not files:
        raise ConfigError(f"{data}/mmlu/test: no CSV files; --data is the folder that holds mmlu/test/*.csv")
    return _test(row for row in chain.from_iterable(zip_longest(*map(_subject, files))) if row is not None)


def _subject(file: Path) -> Iterator[dict[str, Any]]:
    subject = file.stem.removesuffix("_test").replace("_", " ")
    with file.open(encoding="utf-8", newline="") as lines:
        for number, row in enumerate(csv.DictReader(lines), start=2):
            try:
                options = [row[f"choice{place}"].strip() for place in range(4)]
                answer = LETTERS[int(row["answer"])]
            except (AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
                raise DataError(
                    f"{file}, line {number}: needs question, choice0 to choice3 and answer 0 to 3"
                ) from error
            yield {"subject": subject, "question": row["question"].strip(), "options": options, "answer": answer}


def humaneval(*, data: str, **_: Any) -> dict[str, Dataset]:
    """{task_id, prompt, canonical_solution, test, entry_point}."""
    file = data_file(Path(data), "humaneval/HumanEval.jsonl.gz")
    try:
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            return _test([json.loads(line) for line in lines if line.strip()])
    except (EOFError, OSError, ValueError, zlib.error) as error:
        raise DataError(f"{file}: not JSON lines that gzip packed ({error}); fetch the file again") from error


def _texts(file: Path, texts: tuple[str, ...], lists: tuple[str, ...] = ()) -> Iterator[dict[str, Any]]:
    """The rows, of which some keys hold text and some lists."""
    for line, row in numbered_rows(file, needs=(*texts, *lists)):
        for key, kind, told in (*((key, str, "text") for key in texts), *((key, list, "a list") for key in lists)):
            if not isinstance(row[key], kind):
                raise DataError(f"{file}, line {line}: {key} must be {told}")
        yield row


def _test(rows: Iterable[dict[str, Any]]) -> dict[str, Dataset]:
    from datasets import Dataset

    return {"test": Dataset.from_list(list(rows))}
