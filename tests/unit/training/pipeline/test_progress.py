"""Progress of a long job, on a terminal and in a log."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from spar_training.pipeline.progress import item_progress
from spar_training.pipeline.runner import Policy, Progress, run_items


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def a_log() -> Console:
    return Console(file=io.StringIO(), width=40)


def text_of(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_log_gets_a_line_at_first_then_every_ten_seconds_and_at_the_end() -> None:
    console, clock = a_log(), Clock()
    with item_progress("sample", console=console, clock=clock) as tell:
        for done in range(1, 13):
            clock.now = 2.0 * done
            tell(Progress(done, 0, 20, {}))
    assert text_of(console).splitlines() == [
        "sample: 1 of 20, 0.5/s, 0:38 left",
        "sample: 6 of 20, 0.5/s, 0:28 left",
        "sample: 11 of 20, 0.5/s, 0:18 left",
        "sample: 12 of 20, 0.5/s, 0:16 left",
    ]


def test_items_of_an_earlier_run_do_not_count_towards_the_rate() -> None:
    console, clock = a_log(), Clock()
    with item_progress("sample", console=console, clock=clock) as tell:
        clock.now = 4.0
        tell(Progress(901, 0, 1000, {}))
    assert text_of(console) == "sample: 901 of 1,000, 0.2/s, 6:36 left\n"


def test_the_rate_follows_an_upstream_that_slows_down() -> None:
    console, clock = a_log(), Clock()
    with item_progress("sample", console=console, clock=clock) as tell:
        for done in range(1, 1001):
            clock.now = done / 100
            tell(Progress(done, 0, 2000, {}))
        for done in range(1001, 1201):
            clock.now += 1
            tell(Progress(done, 0, 2000, {}))
    assert text_of(console).splitlines()[-1] == "sample: 1,200 of 2,000, 1.0/s, 13:20 left"


def test_failures_and_the_live_figure_are_shown() -> None:
    console, clock = a_log(), Clock()
    with item_progress("judge", console=console, live=lambda progress: "[b] 62% accepted", clock=clock) as tell:
        clock.now = 2.0
        tell(Progress(10, 3, 10, None))
    assert text_of(console) == "judge: 10 of 10, 0.5/s, 3 failed, [b] 62% accepted\n"


def test_an_interrupted_job_prints_its_progress() -> None:
    console, clock = a_log(), Clock()

    def interrupted() -> None:
        with item_progress("sample", console=console, clock=clock) as tell:
            clock.now = 1.0
            tell(Progress(1, 0, 9, {}))
            tell(Progress(2, 0, 9, {}))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert text_of(console).splitlines()[-1].startswith("sample: 2 of 9")


async def test_a_terminal_shows_a_bar_over_the_items_of_a_run(tmp_path: Path) -> None:
    class Item:
        def __init__(self, name: str) -> None:
            self.id = name

    async def work(item: Item) -> dict[str, str]:
        return {"said": item.id}

    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    with item_progress("sample", console=console, live=lambda progress: "all well") as tell:
        await run_items(
            [Item(str(n)) for n in range(9)], work, out=tmp_path / "rows.jsonl", policy=Policy(4), on_progress=tell
        )
    assert "9 of 9" in text_of(console)
    assert "all well" in text_of(console)


def test_a_job_with_nothing_left_to_do_shows_nothing() -> None:
    console = a_log()
    with item_progress("sample", console=console):
        pass
    assert text_of(console) == ""
