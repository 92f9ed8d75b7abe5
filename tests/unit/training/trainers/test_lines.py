"""Progress lines of a training."""

from __future__ import annotations

from spar_training.trainers.lines import TrainingLines


def lines(*rows: tuple[int, float], every: float = 10.0) -> list[str]:
    """The lines printed for logged steps, as (step, seconds), `every` seconds apart."""
    printed: list[str] = []
    clock = [0.0]
    on_progress = TrainingLines("actor", printed.append, clock=lambda: clock[0])
    on_progress({"step": 0, "total": 1000, "seconds": 0.0})
    for step, seconds in rows:
        on_progress({"step": step, "total": 1000, "seconds": seconds, "loss": 1.5})
        clock[0] += every
    return printed


def test_a_line_has_steps_loss_and_time_left() -> None:
    assert lines((10, 20.0), (500, 1000.0), (1000, 2000.0)) == [
        "actor: step 10 of 1,000, loss 1.500, 33:00 left",
        "actor: step 500 of 1,000, loss 1.500, 16:40 left",
        "actor: step 1,000 of 1,000, loss 1.500",
    ]


def test_lines_come_at_most_every_ten_seconds_and_the_last_always() -> None:
    printed = lines(*((step, step * 1.0) for step in range(1, 1001)), every=1.0)
    assert len(printed) == 101
    assert printed[-1].startswith("actor: step 1,000 of")


def test_the_time_left_is_that_of_the_process_that_trains_now() -> None:
    # Resumed at step 500 by a process that is ten times as fast.
    printed = lines((500, 5000.0), (510, 10.0), (520, 20.0))
    assert printed[-1] == "actor: step 520 of 1,000, loss 1.500, 8:00 left"
