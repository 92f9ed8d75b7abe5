"""IFEval evaluations in one table: their accuracies, and the paired difference from the first."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from spar_core.errors import ConfigError, DataError
from spar_training.evals.ifeval import command, comparison
from tests.support.benchmark_data import write_ifeval, write_lines

PROMPTS = ("No comma about rain.", "Two words or more, with a lamp.", "A title for a poem.")
NOTHING = ("It rains, here.", "none", "no title")
ALL = ("It rains.", "a lamp", "<<Rain>>")


def evaluated(folder: Path, answers: tuple[str, ...], *, limit: int | None = None) -> Path:
    write_ifeval(folder.parent)
    rows = [{"prompt": prompt, "response": answer} for prompt, answer in zip(PROMPTS, answers, strict=True)]
    file = folder.with_suffix(".jsonl")
    write_lines(file, rows)
    command.run(subject=None, responses=file, data=folder.parent, prompts=None, limit=limit, out=folder)
    return folder


def compared(*runs: str, docs: Path | None = None) -> str:
    screen = Console(file=io.StringIO(), width=200)
    comparison.run(runs, docs=docs, console=screen)
    assert isinstance(screen.file, io.StringIO)
    return screen.file.getvalue()


def test_the_table_has_the_accuracies_both_means_and_the_gain_over_the_first(tmp_path: Path) -> None:
    before, after = evaluated(tmp_path / "before", NOTHING), evaluated(tmp_path / "after", ALL)
    shown = compared(f"base={before}", f"tuned={after}", docs=tmp_path / "table.md")
    lines = (tmp_path / "table.md").read_text().splitlines()
    base, tuned = (next(line for line in lines if line.startswith(f"| {name}")) for name in ("base", "tuned"))
    cells = [cell.strip() for cell in tuned.split("|")[1:-1]]
    assert len(cells) == 8
    assert all(cell.startswith("100.0 ") for cell in cells[1:7])
    assert cells[7].startswith("+100.0 ")
    assert base.split("|")[8].strip() == ""
    assert "mean of four" in shown
    assert "3 prompts" in shown


def test_only_evaluations_of_the_same_prompts_are_compared(tmp_path: Path) -> None:
    before, fewer = evaluated(tmp_path / "before", NOTHING), evaluated(tmp_path / "fewer", ALL, limit=2)
    with pytest.raises(ConfigError, match="tuned: has other prompts than base"):
        compared(f"base={before}", f"tuned={fewer}")


def test_a_run_without_a_name_or_a_result_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must be NAME=FOLDER"):
        compared("runs/base")
    with pytest.raises(DataError, match="no such file"):
        compared(f"base={tmp_path}")
