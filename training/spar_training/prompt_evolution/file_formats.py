"""Read the rows of prompt files: JSON, JSONL or CSV, optionally gzipped, by the file's suffix."""

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
# Other formats of data sets. Files with any other suffix, such as a README or a licence, are not data.
_UNREAD: Final = (".parquet", ".arrow", ".tsv", ".xlsx", ".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z")


def data_files(folder: Path) -> list[Path]:
    """List the readable data files in a folder and its subfolders, by name.

    Raises:
        DataError: there are none, or there is data in another format, which would be skipped; names it.
    """
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    read = [file for file in files if _form(file) in _FORMS]
    if unread := [str(file.relative_to(folder)) for file in files if file not in read and _is_data(file)]:
        more = f" and {len(unread) - 5} more" if len(unread) > 5 else ""
        raise DataError(
            f"{folder}: cannot read {', '.join(unread[:5])}{more}; convert them to .json, .jsonl or .csv (optionally "
            "with .gz), or remove them from the folder"
        )
    if not read:
        raise DataError(f"{folder}: has no .json, .jsonl or .csv file")
    return read


def placed_rows(path: Path) -> Iterator[tuple[int, Row]]:
    """Yield the objects of a `.json` array, a `.csv` file or, with any other suffix, a JSONL file, numbered from 1.

    A CSV file starts with its column names. A file ending in `.gz` is unpacked first.

    Raises:
        DataError: the file is missing or not in its format.
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
        raise DataError(f"{path}: not a complete gzip file ({error}); download it again") from error


def _array(path: Path, text: str) -> Iterator[tuple[int, Row]]:
    try:
        rows = json.loads(text)
    except ValueError as error:
        raise DataError(f"{path}: not JSON ({error}); files with one object per line must end in .jsonl") from error
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
        for number, row in enumerate(csv.DictReader(io.StringIO(text, newline="")), start=1):
            if None in row:
                raise DataError(f"{path}, row {number}: has more fields than the first line has column names")
            yield number, row
    except csv.Error as error:
        raise DataError(f"{path}: not CSV ({error})") from error
