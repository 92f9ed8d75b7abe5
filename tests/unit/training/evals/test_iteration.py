"""The evaluation of a self-play iteration: the figures computed from its files."""

from __future__ import annotations

from pathlib import Path

from spar_training.evals.world.iteration import figures
from spar_training.storage.files import Row, write_rows


def judged_rows(good_key: str, accepted_key: str) -> list[Row]:
    refined = {"good": False, "accepted": False, "value": 0.0, "refined": "text"}
    return [
        {"id": "1", "good": True, "accepted": True, "value": 1.0},
        {"id": "2", **refined, good_key: True, accepted_key: False},
        {"id": "3", **refined, good_key: False, accepted_key: False},
    ]


def test_files_with_the_former_keys_give_the_same_figures(tmp_path: Path) -> None:
    found = []
    for name, keys in (("old", ("mended", "own")), ("new", ("refined_good", "refined_accepted"))):
        write_rows(tmp_path / name / "drafts.jsonl", [{"id": "1", "text": "", "strict": [True], "loose": [True]}])
        write_rows(tmp_path / name / "judged.jsonl", judged_rows(*keys))
        found.append(figures(tmp_path / name))
    assert found[0] == found[1]
    assert (found[0]["refinement_success"], found[0]["refinement_success_by_own_judge"]) == (0.5, 0.0)


def test_each_figure_has_an_interval_and_the_number_of_its_items(tmp_path: Path) -> None:
    met = {"strict": [True, True], "loose": [True, True]}
    write_rows(tmp_path / "drafts.jsonl", [{"id": str(number), **met} for number in range(20)])
    write_rows(tmp_path / "judged.jsonl", judged_rows("refined_good", "refined_accepted"))
    found = figures(tmp_path)
    intervals = found["intervals"]
    assert set(intervals) == set(found) - {"intervals"}
    assert (found["draft_prompt_strict"], intervals["draft_prompt_strict"]["n"]) == (1.0, 20)
    assert intervals["draft_instruction_strict"]["n"] == 40
    # All are right, and yet 20 prompts leave room for doubt.
    assert 0.8 < intervals["draft_prompt_strict"]["low"] < 0.9
    assert (intervals["judge_accuracy"]["n"], intervals["refinement_success"]["n"]) == (3, 2)


def test_items_that_failed_count_as_wrong(tmp_path: Path) -> None:
    met = {"strict": [True, True], "loose": [True, True]}
    failed = {"failed": "BackendError: too long"}
    write_rows(tmp_path / "drafts.jsonl", [{"id": "1", **met}, {"id": "2", **met}, {"id": "3", **met}])
    write_rows(tmp_path / "drafts.failed.jsonl", [{"id": "4", **failed}])
    write_rows(tmp_path / "judged.jsonl", [{"id": "1", "good": True, "accepted": True, "value": 1.0}])
    write_rows(tmp_path / "judged.failed.jsonl", [{"id": "2", **failed}])
    write_rows(tmp_path / "searched.jsonl", [{"id": "1", **met}])
    write_rows(tmp_path / "searched.failed.jsonl", [{"id": "2", **failed}, {"id": "3", **failed}])
    found = figures(tmp_path)
    assert (found["draft_prompt_strict"], found["searched_prompt_strict"]) == (0.75, 0.25)
    assert (found["draft_instruction_loose"], found["searched_instruction_loose"]) == (6 / 7, 2 / 7)
    assert (found["judge_accuracy"], found["intervals"]["judge_accuracy"]["n"]) == (0.5, 2)


def test_an_abstention_is_never_right(tmp_path: Path) -> None:
    write_rows(tmp_path / "drafts.jsonl", [{"id": "1", "strict": [True], "loose": [True]}])
    abstained = {"good": False, "accepted": False, "value": None}
    rejected = {"good": False, "accepted": False, "value": 0.0}
    write_rows(tmp_path / "judged.jsonl", [{"id": "1", **abstained}, {"id": "2", **rejected}])
    found = figures(tmp_path)
    # Of two bad answers one was found.
    assert (found["judge_accuracy"], found["judge_f1_on_bad"]) == (0.5, 2 / 3)
