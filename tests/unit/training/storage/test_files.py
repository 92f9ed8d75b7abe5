"""Files of rows: whole or not there, and nothing in them that no file can hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from spar_core.errors import DataError
from spar_training.pipeline.runner import Journal
from spar_training.storage.files import read_rows, write_rows, write_text


def test_lone_surrogates_are_replaced_and_pairs_are_joined(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", [{"id": "a", "text": "x \ud800 y \ud83d\ude00"}])
    assert [row["text"] for row in read_rows(tmp_path / "rows.jsonl")] == ["x \ufffd y \U0001f600"]


def test_a_journal_has_the_same_rows_in_memory_and_on_disk(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal") as journal:
        journal.append({"id": "a", "text": "x \ud800"})
        kept = dict(journal.rows)
    with Journal(tmp_path / "journal") as journal:
        assert journal.rows == kept


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ('{"id": "a", "text": "\\ud800"}', "line 1: holds a lone surrogate"),
        ('{"id": "a", "n": ' + "1" * 5000 + "}", "line 1: a number is too long"),
        ("[" * 100_000, "line 1: .*nesting too deep"),
    ],
)
def test_an_invalid_line_is_named(tmp_path: Path, line: str, error: str) -> None:
    (tmp_path / "rows.jsonl").write_text(line)
    with pytest.raises(DataError, match=error):
        list(read_rows(tmp_path / "rows.jsonl"))


def test_a_folder_instead_of_a_file_and_a_file_instead_of_a_folder_are_errors(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be read"):
        list(read_rows(tmp_path))
    with pytest.raises(DataError, match="cannot be written"):
        write_text(tmp_path / "file" / "rows.jsonl", "")
