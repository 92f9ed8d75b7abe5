"""Files of rows: whole or not there, and nothing in them that no file can hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from spar_core.errors import DataError
from spar_training.pipeline.runner import Journal
from spar_training.storage.files import read_rows, write_rows, write_text


def test_half_a_character_of_a_model_is_replaced_and_two_halves_are_joined(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", [{"id": "a", "text": "x \ud800 y \ud83d\ude00"}])
    assert [row["text"] for row in read_rows(tmp_path / "rows.jsonl")] == ["x \ufffd y \U0001f600"]


def test_a_journal_has_in_memory_what_it_has_on_disk(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal") as journal:
        journal.append({"id": "a", "text": "x \ud800"})
        kept = dict(journal.rows)
    with Journal(tmp_path / "journal") as journal:
        assert journal.rows == kept


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('{"id": "a", "text": "\\ud800"}', "line 1: holds a lone surrogate"),
        ('{"id": "a", "n": ' + "1" * 5000 + "}", "line 1: a number is too long"),
        ("[" * 100_000, "line 1: .*nesting too deep"),
    ],
)
def test_a_line_that_cannot_be_used_is_named(tmp_path: Path, line: str, told: str) -> None:
    (tmp_path / "rows.jsonl").write_text(line)
    with pytest.raises(DataError, match=told):
        list(read_rows(tmp_path / "rows.jsonl"))


def test_a_folder_in_a_files_place_and_a_file_in_a_folders_are_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be read"):
        list(read_rows(tmp_path))
    with pytest.raises(DataError, match="cannot be written"):
        write_text(tmp_path / "file" / "rows.jsonl", "")
