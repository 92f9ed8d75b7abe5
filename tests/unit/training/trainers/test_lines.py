"""What a training says of itself while it runs."""

from __future__ import annotations

from spar_training.trainers.lines import TrainingLines


def lines(*rows: tuple[int, float], every: float = 10.0) -> list[str]:
    """What is said of logged steps, as (step, seconds); `every` seconds pass between two of them."""
    said: list[str] = []
    clock = [0.0]
    hear = TrainingLines("actor", said.append, clock=lambda: clock[0])
    hear({"step": 0, "total": 1000, "seconds": 0.0})
    for step, seconds in rows:
        hear({"step": step, "total": 1000, "seconds": seconds, "loss": 1.5})
        clock[0] += every
    return said


def test_a_line_has_steps_loss_and_the_time_that_is_left() -> None:
    assert lines((10, 20.0), (500, 1000.0), (1000, 2000.0)) == [
        "actor: step 10 of 1,000, loss 1.500, 33:00 left",
        "actor: step 500 of 1,000, loss 1.500, 16:40 left",
        "actor: step 1,000 of 1,000, loss 1.500",
    ]


def test_lines_come_ten_seconds_apart_and_the_last_always() -> None:
    said = lines(*((step, step * 1.0) for step in range(1, 1001)), every=1.0)
    assert len(said) == 101
    assert said[-1].startswith("actor: step 1,000 of")


def test_the_time_left_is_that_of_the_process_that_trains_now() -> None:
    # Resumed at step 500 by a process that is ten times as fast.
    said = lines((500, 5000.0), (510, 10.0), (520, 20.0))
    assert said[-1] == "actor: step 520 of 1,000, loss 1.500, 8:00 left"
