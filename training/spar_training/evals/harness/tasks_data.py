"""Load the tasks' items from the user's data folder for lm-evaluation-harness.

Each function receives the task's metadata, in which `data` is the folder.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Iterator
from itertools import chain, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from spar_core.errors import ConfigError, DataError
from spar_training.evals.datasets import data_file
from spar_training.storage.files import numbered_rows

if TYPE_CHECKING:
    from datasets import Dataset

LETTERS = "ABCD"
_FUNCTION: Final = ("task_id", "prompt", "canonical_solution", "test", "entry_point")
_NUMBER: Final = re.compile(r"-?\$?\d[\d,]*(?:\.\d+)?")


def gsm8k(*, data: str, **_: Any) -> dict[str, Dataset]:
    """Load {question, answer}; the answer is the text after `####`."""
    file = data_file(Path(data), "gsm8k/test.jsonl")
    rows = []
    for line, row in _texts(file, ("question", "answer")):
        answer = row["answer"].split("####")[-1].strip()
        if not _NUMBER.fullmatch(answer):
            raise DataError(f"{file}, line {line}: answer must end with `#### ` and a number, ends {answer[-40:]!r}")
        rows.append({"question": row["question"], "answer": answer})
    return _test(file, rows)


def triviaqa(*, data: str, **_: Any) -> dict[str, Dataset]:
    """Load {question, aliases}."""
    file = data_file(Path(data), "triviaqa/triviaqa_sm_sub.jsonl")
    return _test(
        file,
        [
            {
                "question": row["context"].removeprefix("Question:").removesuffix("Answer:").strip(),
                "aliases": [row["answer"], *row["aliases"]],
            }
            for _, row in _texts(file, ("context", "answer"), lists=("aliases",))
        ],
    )


def mmlu(*, data: str, **_: Any) -> dict[str, Dataset]:
    """Load {subject, question, options, answer}; subjects alternate, so that a `limit` covers many of them."""
    files = sorted((Path(data) / "mmlu" / "test").glob("*.csv"))
    if not files:
        raise ConfigError(f"{data}/mmlu/test: no CSV files; --data must be the folder that holds mmlu/test/*.csv")
    rows = [row for row in chain.from_iterable(zip_longest(*map(_subject, files))) if row is not None]
    return _test(files[0].parent, rows)


def _subject(file: Path) -> Iterator[dict[str, Any]]:
    subject = file.stem.removesuffix("_test").replace("_", " ")
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: not UTF-8 text ({error})") from error
    for number, row in enumerate(csv.DictReader(io.StringIO(text, newline="")), start=2):
        try:
            question, *options = (row[key].strip() for key in ("question", *(f"choice{index}" for index in range(4))))
            answer = dict(enumerate(LETTERS))[int(row["answer"])]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"{file}, line {number}: needs question, choice0 to choice3 and answer 0 to 3") from error
        yield {"subject": subject, "question": question, "options": options, "answer": answer}


def humaneval(*, data: str, **_: Any) -> dict[str, Dataset]:
    """Load {task_id, prompt, canonical_solution, test, entry_point}."""
    file = data_file(Path(data), "humaneval/HumanEval.jsonl.gz")
    try:
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            rows = [(number, json.loads(line)) for number, line in enumerate(lines, start=1) if line.strip()]
    except (EOFError, OSError, ValueError, zlib.error) as error:
        raise DataError(f"{file}: not gzipped JSON lines ({error}); download the file again") from error
    for number, row in rows:
        if not isinstance(row, dict) or not all(isinstance(row.get(key), str) for key in _FUNCTION):
            raise DataError(f"{file}, line {number}: must be an object with the strings {', '.join(_FUNCTION)}")
    return _test(file, [row for _, row in rows])


def _texts(file: Path, texts: tuple[str, ...], lists: tuple[str, ...] = ()) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the rows with their line numbers, checking which keys hold text and which hold lists."""
    for line, row in numbered_rows(file, needs=(*texts, *lists)):
        for key, kind, name in (*((key, str, "text") for key in texts), *((key, list, "a list") for key in lists)):
            if not isinstance(row[key], kind):
                raise DataError(f"{file}, line {line}: {key} must be {name}")
        yield line, row


def _test(file: Path, rows: list[dict[str, Any]]) -> dict[str, Dataset]:
    if not rows:
        raise DataError(f"{file}: has no items; download it again")
    from datasets import Dataset

    return {"test": Dataset.from_list(rows)}
