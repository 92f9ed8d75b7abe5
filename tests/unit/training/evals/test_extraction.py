"""`spar eval extraction`: precision and recall of extracted checks against annotated ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from spar_core.checks import build_check
from spar_core.errors import ConfigError
from spar_training.evals.extraction.command import Extraction, read_source, run
from spar_training.evals.extraction.scoring import Extracted, by_type, figures
from spar_training.evals.ifeval.scoring import FILE
from spar_training.reports.result import read_result

NO_COMMA = build_check("punctuation:no_comma", {})


def include(*words: str) -> Any:
    return build_check("keywords:existence", {"keywords": list(words)})


def words(number: int) -> Any:
    return build_check("length_constraints:number_words", {"num_words": number, "relation": "at least"})


def shares(*prompts: Extracted) -> dict[str, tuple[float, int]]:
    return {name: (value.mean, value.n) for name, value in figures(prompts).items()}


def test_ids_and_kwargs_are_counted_separately() -> None:
    assert shares(
        Extracted("1", (words(20), NO_COMMA), (words(30), NO_COMMA)),
        Extracted("2", (NO_COMMA,), ()),
    ) == {
        "id_precision": (1.0, 2),
        "id_recall": (2 / 3, 3),
        "precision": (0.5, 2),
        "recall": (1 / 3, 3),
        "complete": (0.0, 2),
        "without_error": (0.5, 2),
    }


def test_the_order_and_the_case_of_words_do_not_matter() -> None:
    assert shares(Extracted("1", (include("Mill", "bread"),), (include("bread", "mill"),)))["complete"] == (1.0, 1)


def test_each_type_has_its_own_precision_and_recall() -> None:
    precision, recall = by_type([Extracted("1", (words(20),), (words(20), words(30)))])[words(20).id]
    assert (precision.mean, precision.n, recall.mean, recall.n) == (0.5, 2, 1.0, 1)


def test_the_rules_are_measured_on_annotated_prompts_of_ifevals_form(tmp_path: Path) -> None:
    rows = [
        {
            "key": 1,
            "prompt": "Describe a mill in at least 20 words. Do not use commas.",
            "instruction_id_list": ["length_constraints:number_words", "punctuation:no_comma"],
            "kwargs": [{"num_words": 20, "relation": "at least"}, {}],
        },
        {
            "key": 2,
            "prompt": "Describe a mill, but mind the punctuation.",
            "instruction_id_list": ["punctuation:no_comma"],
            "kwargs": [{}],
        },
    ]
    file = tmp_path / "data" / FILE
    file.parent.mkdir(parents=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run(Extraction(source="ifeval"), subject=None, data=tmp_path / "data", out=tmp_path / "out")
    result = read_result(tmp_path / "out" / "result.json")
    measured = {name: value.mean for name, value in result.figures.items() if not isinstance(value, float)}
    assert (measured["precision"], measured["recall"], measured["complete"]) == (1.0, 2 / 3, 0.5)
    assert result.items[1]["extracted"] == []


def test_the_rules_know_the_wordings_of_the_bootstraps_validation_prompts(tmp_path: Path) -> None:
    run(Extraction(limit=200), subject=None, data=None, out=tmp_path / "out")
    measured = read_result(tmp_path / "out" / "result.json").figures
    precision, recall = measured["precision"], measured["recall"]
    assert not isinstance(precision, float)
    assert not isinstance(recall, float)
    assert precision.mean == 1.0
    assert recall.mean > 0.97


def test_an_unknown_source_is_named() -> None:
    with pytest.raises(ConfigError, match="--source mmlu: is none of validation, ifeval"):
        read_source("mmlu")
