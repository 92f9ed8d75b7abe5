"""Seed prompts of every shape in which collections come."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from spar_core.errors import ConfigError, DataError
from spar_training.prompt_evolution.load import prompt_of, read_prompts, turns_of
from tests.support.data_sets import data_set


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Name a river."},
        {"text": "Name a river."},
        {"instruction": "Name a river."},
        {"instruction": "Name a river.", "input": ""},
        {"instruction": "Name a river.", "instances": [{"input": "", "output": "The Elbe."}]},
        {"turns": ["Name a river.", "And another."]},
        {"turns": [{"content": "Name a river."}]},
        {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Name a river."}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "Name a river."}]}]},
        {"prompt": [{"role": "user", "content": "Name a river."}]},
        {"conversations": [{"from": "human", "value": "Name a river."}, {"from": "gpt", "value": "The Elbe."}]},
        {"question": "Name a river."},
        {"input": "Name a river.", "output_1": "Elbe", "output_2": "Oder"},
    ],
)
def test_the_prompt_of_a_row_of_any_shape(row: dict[str, Any]) -> None:
    assert prompt_of(row) == "Name a river."


def test_an_instruction_includes_its_input() -> None:
    assert prompt_of({"instruction": "Translate.", "input": "Guten Tag"}) == "Translate.\n\nGuten Tag"
    seed_task = {"instruction": "Translate.", "instances": [{"input": "Guten Tag", "output": "Good day"}]}
    assert prompt_of(seed_task) == "Translate.\n\nGuten Tag"


def test_the_turns_of_a_conversation_are_those_of_the_roles_asked_for() -> None:
    said = [("system", "Be brief."), ("user", "Name a river."), ("assistant", "The Elbe."), ("user", "And another.")]
    row = {"messages": [{"role": role, "content": text} for role, text in said]}
    assert turns_of(row) == ["Name a river.", "And another."]
    assert turns_of(row, ("system", "user")) == ["Be brief.", "Name a river.", "And another."]
    assert turns_of({"turns": row["messages"]}) == turns_of(row)
    assert turns_of({"turns": ["Name a river.", "And another."]}) == turns_of(row)


def test_prompts_are_named_after_file_and_line(tmp_path: Path) -> None:
    file = tmp_path / "rivers.jsonl"
    file.write_text('{"prompt": "one"}\n\n{"prompt": "two"}\n')
    assert [(one.id, one.text, one.source) for one in read_prompts([file])] == [
        ("rivers:1", "one", "rivers.jsonl"),
        ("rivers:3", "two", "rivers.jsonl"),
    ]


def test_a_row_without_a_prompt_is_an_error_with_its_place_and_the_fix(tmp_path: Path) -> None:
    file = tmp_path / "rivers.jsonl"
    file.write_text('{"prompt": "one"}\n{"id": 7, "answer": "Elbe"}\n')
    told = r"rivers.jsonl, row 2: contains no prompt.* messages.*prompt.*it has id, answer"
    with pytest.raises(DataError, match=told):
        read_prompts([file])


@pytest.mark.parametrize(
    "row", [{"prompt": 7}, {"messages": "hello"}, {"turns": []}, {"messages": [{"role": "system"}]}]
)
def test_a_prompt_that_is_no_text_is_none(tmp_path: Path, row: dict[str, Any]) -> None:
    file = tmp_path / "rivers.jsonl"
    file.write_text(json.dumps(row))
    with pytest.raises(DataError, match="row 1: contains no prompt"):
        read_prompts([file])


def test_damaged_and_missing_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "broken.jsonl").write_text('{"prompt": "one"}\n{"prompt": ')
    (tmp_path / "object.json").write_text("{}")
    with pytest.raises(DataError, match=r"broken.jsonl, line 2: not JSON"):
        read_prompts([tmp_path / "broken.jsonl"])
    with pytest.raises(DataError, match=r"object.json: must be an array of objects"):
        read_prompts([tmp_path / "object.json"])
    with pytest.raises(DataError, match=r"none.jsonl: no such file"):
        read_prompts([tmp_path / "none.jsonl"])


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    paths = [tmp_path / folder / "seeds.jsonl" for folder in "ab"]
    for path in paths:
        path.write_text('{"prompt": "one"}\n')
    with pytest.raises(ConfigError, match="several files are called seeds"):
        read_prompts(paths)


def test_real_seed_collections_are_read_whole() -> None:
    counts = {path.stem: len(read_prompts([path])) for path in sorted(data_set("seed_prompts").glob("*.jsonl"))}
    assert counts == {
        "arena_hard_v0.1_question_en": 500,
        "self_instruct_seed_tasks": 175,
        "self_instruct_user_oriented_instructions": 252,
        "vicuna_question": 80,
    }
