"""The evaluation of a self-play iteration: the figures computed from its files."""

from __future__ import annotations

from pathlib import Path

from spar_training.evals.world.iteration import figures
from spar_training.storage.files import Row, write_rows


def judged_rows(good_key: str, accepted_key: str) -> list[Row]:
    refined = {"good": False, "accepted": False, "refined": "text"}
    return [
        {"id": "1", "good": True, "accepted": True},
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
