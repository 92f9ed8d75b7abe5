"""Read and write text, JSON and JSONL files. Writes are atomic: to a temporary file that is then moved into place."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from spar_core.errors import DataError
from spar_core.unicode import replace_surrogates

Row = dict[str, Any]


def write_text(path: Path, text: str) -> None:
    """Replace `path` atomically.

    Raises:
        DataError: the file cannot be written, for example on a full disk; the previous content is untouched.
    """
    scratch = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with scratch.open("w", encoding="utf-8") as out:
            out.write(replace_surrogates(text))
            out.flush()
            os.fsync(out.fileno())
        os.replace(scratch, path)
    except OSError as error:
        # There is none if a folder above is a file.
        with suppress(OSError):
            scratch.unlink()
        raise DataError(f"{path}: cannot be written ({error.strerror}); nothing was lost, run again") from error


def write_json(path: Path, data: object) -> None:
    """Replace `path` atomically with indented JSON."""
    write_text(path, json.dumps(data, indent=1, ensure_ascii=False) + "\n")


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Replace `path` atomically with one JSON object per line."""
    write_text(path, "".join(to_line(row) for row in rows))


def to_line(row: Mapping[str, Any]) -> str:
    """The row as a line of JSON; lone surrogates, which some servers send, are replaced."""
    return replace_surrogates(json.dumps(row, ensure_ascii=False)) + "\n"


def read_rows(path: Path, *, needs: Iterable[str] = ()) -> Iterator[Row]:
    """The objects of a JSONL file in order; empty lines are skipped.

    Raises:
        DataError: there is no such file, or a line is not a JSON object or lacks a key of `needs`; names file and line.
    """
    return (row for _, row in numbered_rows(path, needs=needs))


def numbered_rows(path: Path, *, needs: Iterable[str] = ()) -> Iterator[tuple[int, Row]]:
    """As `read_rows`, each object with its line number, from 1."""
    try:
        # Not splitlines(), which also splits at separators that are allowed inside JSON strings.
        lines = path.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); must be a JSONL file") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text ({error})") from error
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield number, _row(path, number, line, needs)


def _row(path: Path, number: int, line: str, needs: Iterable[str]) -> Row:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}, line {number}: not JSON ({error.msg}); fix or remove the line") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}, line {number}: a number is too long, or nesting too deep; remove the line") from error
    if not isinstance(row, dict):
        raise DataError(f"{path}, line {number}: must be a JSON object, is {type(row).__name__}")
    if missing := [key for key in needs if key not in row]:
        raise DataError(f"{path}, line {number}: lacks {', '.join(missing)}")
    if "\\ud" in line.lower() and replace_surrogates(text := json.dumps(row, ensure_ascii=False)) != text:
        raise DataError(f"{path}, line {number}: holds a lone surrogate (\\ud800 to \\udfff); fix the line")
    return row
