"""Evaluations side by side: their figures by benchmark, and paired differences from the first."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from spar_core.errors import ConfigError, DataError
from spar_training.evals import comparison
from spar_training.evals.ifeval import command
from spar_training.reports.intervals import Interval
from spar_training.reports.result import Result, write_result
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


def stored(folder: Path, name: str, *, items: Sequence[Mapping[str, Any]], **figures: float) -> Path:
    """A result of a benchmark whose figures are the given means."""
    known = {key.replace("__", "/").replace("_at_", "@"): Interval(one, 0.0, 1.0, 2) for key, one in figures.items()}
    result = Result(name=name, config={"votes": 5}, models={}, figures=known, items=[dict(row) for row in items])
    folder.mkdir()
    write_result(folder / "result.json", result)
    return folder


def test_each_benchmark_has_its_own_table(tmp_path: Path) -> None:
    judge = stored(tmp_path / "a", "judge", items=[{"value": None, "tokens": 40}], judge_balanced=0.7)
    followed = stored(tmp_path / "b", "followbench", items=[{"satisfied": [True]}, {"satisfied": None}], all__ssr=0.4)
    llmbar = stored(tmp_path / "c", "llmbar", items=[], Average__accuracy_at_5=0.6)
    compared(f"one={judge}", f"two={followed}", f"three={llmbar}", docs=tmp_path / "tables.md")
    rows = [line for line in (tmp_path / "tables.md").read_text().splitlines() if line.startswith(("| one", "| t"))]
    assert rows == [
        "| one | 70.0 [0.0, 100.0] | – | – | 1 | 40 |",
        "| two | 1 | 40.0 [0.0, 100.0] | – |",
        "| three | 5 | – | – | 60.0 [0.0, 100.0] |",
    ]


def test_general_tasks_are_compared_item_by_item(tmp_path: Path) -> None:
    before = [{"id": f"mmlu/{n}", "right": n < 5} for n in range(10)]
    after = [{"id": f"mmlu/{n}", "right": n < 7} for n in range(10)]
    first = stored(tmp_path / "a", "general", items=before, mmlu=0.5)
    second = stored(tmp_path / "b", "general", items=after, mmlu=0.7)
    compared(f"base={first}", f"tuned={second}", docs=tmp_path / "tables.md")
    (gained,) = [line for line in (tmp_path / "tables.md").read_text().splitlines() if "+" in line]
    assert gained.startswith("| tuned | +20.0 ")


def test_what_is_no_benchmark_is_named(tmp_path: Path) -> None:
    other = stored(tmp_path / "a", "world", items=[])
    with pytest.raises(ConfigError, match="an evaluation of world; those of ifeval, judge"):
        compared(f"one={other}")


def test_a_run_without_a_name_or_a_result_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must be NAME=FOLDER"):
        compared("runs/base")
    with pytest.raises(DataError, match="no such file"):
        compared(f"base={tmp_path}")
