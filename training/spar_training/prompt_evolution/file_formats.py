"""The rows of a file of prompts: JSON, JSONL or CSV, packed by gzip or not, as its name says."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from spar_core.errors import DataError
from spar_training.storage.files import Row, numbered_rows

_FORMS: Final = (".json", ".jsonl", ".csv")
# Forms in which data sets come, too. What has another name is no data: a README, a licence.
_UNREAD: Final = (".parquet", ".arrow", ".tsv", ".xlsx", ".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z")


def data_files(folder: Path) -> list[Path]:
    """The files in a folder and below it whose rows can be read, by name.

    Raises:
        DataError: there are none, or there is data of another form, which would be passed over; names it.
    """
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    read = [file for file in files if _form(file) in _FORMS]
    if unread := [str(file.relative_to(folder)) for file in files if file not in read and _is_data(file)]:
        more = f" and {len(unread) - 5} more" if len(unread) > 5 else ""
        raise DataError(
            f"{folder}: cannot read {', '.join(unread[:5])}{more}; give them as .json, .jsonl or .csv (.gz after it or "
            "not), or take them out of the folder"
        )
    if not read:
        raise DataError(f"{folder}: no .json, .jsonl or .csv file in it")
    return read


def placed_rows(path: Path) -> Iterator[tuple[int, Row]]:
    """The objects of a JSONL file, a `.json` file's array or a `.csv` file; each with its place, from 1.

    A CSV file begins with the names of its columns. A name that ends in `.gz` is unpacked first; any other is JSONL.

    Raises:
        DataError: the file is missing or is not of that form.
    """
    form = _form(path)
    if path.is_dir():
        raise DataError(f"{path}: is a folder; give a file of prompts")
    if form == ".json":
        yield from _array(path, _text(path))
    elif form == ".csv":
        yield from _table(path, _text(path))
    elif path.suffix.lower() == ".gz":
        yield from _lines(path, _text(path))
    else:
        yield from numbered_rows(path)


def _form(path: Path) -> str:
    return Path(path.name.lower().removesuffix(".gz")).suffix


def _is_data(path: Path) -> bool:
    return path.suffix.lower() in _UNREAD


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
        return (gzip.decompress(data) if path.suffix.lower() == ".gz" else data).decode("utf-8-sig")
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text ({error})") from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path}: not packed by gzip, or not whole ({error}); fetch it again") from error


def _array(path: Path, text: str) -> Iterator[tuple[int, Row]]:
    try:
        rows = json.loads(text)
    except ValueError as error:
        raise DataError(f"{path}: not JSON ({error}); one object a line goes into a .jsonl file") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise DataError(f"{path}: must be an array of objects")
    yield from enumerate(rows, start=1)


def _lines(path: Path, text: str) -> Iterator[tuple[int, Row]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                row = json.loads(line)
            except ValueError as error:
                raise DataError(f"{path}, line {number}: not JSON ({error})") from error
            if not isinstance(row, dict):
                raise DataError(f"{path}, line {number}: must be a JSON object, is {type(row).__name__}")
            yield number, row


def _table(path: Path, text: str) -> Iterator[tuple[int, Row]]:
    try:
        for place, row in enumerate(csv.DictReader(io.StringIO(text, newline="")), start=1):
            if None in row:
                raise DataError(f"{path}, row {place}: has more fields than the first line names columns")
            yield place, row
    except csv.Error as error:
        raise DataError(f"{path}: not CSV ({error})") from error
