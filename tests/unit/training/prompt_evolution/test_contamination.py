"""Prompts that are in a benchmark are found, whatever was added to them, and stop the work."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from spar_core.errors import ConfigError, DataError
from spar_server.cli.main import app
from spar_training.prompt_evolution.contamination import Benchmarks, read_benchmarks, refuse
from spar_training.prompt_evolution.load import SeedPrompt, read_prompts
from tests.support.data_sets import data_set

ITEM = "Write a letter to the mayor of a small town about the closing of its only library."


def prompts(*texts: str) -> list[SeedPrompt]:
    return [SeedPrompt(f"mine:{number}", text, "mine.jsonl") for number, text in enumerate(texts, start=1)]


BENCHMARKS = Benchmarks([SeedPrompt("bench:1", ITEM, "bench"), SeedPrompt("bench:2", "What is art?", "bench")])


@pytest.mark.parametrize(
    ("text", "exact"),
    [
        (ITEM, True),
        (ITEM.upper().replace(" of its", ", of its"), True),
        ("What is ART", True),
        (f"You are a pupil of nine. {ITEM} Use no commas, and close with a question.", False),
        ("Write a letter to the mayor of a small town about the closing of a bakery.", False),
        ("Write a letter to the mayor of a small town.", False),
    ],
)
def test_a_prompt_of_a_benchmark_is_found_whole_grown_or_cut(text: str, exact: bool) -> None:
    (leak,) = BENCHMARKS.leaks(prompts(text))
    assert leak is not None
    assert leak.exact == exact


@pytest.mark.parametrize(
    "text",
    [
        "Write a letter to the queen of a country.",
        "What is art for?",
        "Describe the closing of a library and what it would mean to the people of a small town.",
        "",
        "?!",
    ],
)
def test_a_phrase_or_a_topic_in_common_is_no_leak(text: str) -> None:
    assert BENCHMARKS.leaks(prompts(text)) == [None]


def test_the_error_lists_every_leak_and_the_fix() -> None:
    leaks = [leak for leak in BENCHMARKS.leaks(prompts("What is art?", "Name a river.", ITEM)) if leak]
    with pytest.raises(DataError, match=r"2 of 3 prompts are in the benchmarks") as refused:
        refuse(leaks, 3)
    assert 'mine:1 is the same as bench:2: "What is art?"' in str(refused.value)
    assert "mine:3 is the same as bench:1" in str(refused.value)
    assert "--drop-leaks" in str(refused.value)
    refuse([], 3)


def test_benchmarks_of_three_forms_are_read_from_a_folder(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "a.jsonl").write_text(json.dumps({"key": 1000, "prompt": ITEM, "kwargs": [{}]}) + "\n")
    (tmp_path / "b.json").write_text(json.dumps([{"level": 0, "instruction": "Explain the tides to a young child."}]))
    (tmp_path / "deep" / "dataset.json").write_text(json.dumps([{"input": "Name a river.", "output_1": "Elbe"}]))
    (tmp_path / "notes.txt").write_text("not a benchmark")
    benchmarks = read_benchmarks([tmp_path])
    found = benchmarks.leaks(prompts("Name a river", "Explain the tides to a young child", ITEM))
    name = tmp_path.name
    assert [leak and leak.item for leak in found] == [
        f"{name}/deep/dataset.json:1",
        f"{name}/b.json:1",
        f"{name}/a.jsonl:1",
    ]


def test_a_benchmark_without_prompts_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no .json, .jsonl or .csv file"):
        read_benchmarks([tmp_path])
    (tmp_path / "scores.json").write_text('[{"score": 1}]')
    with pytest.raises(DataError, match=r"scores.json: no prompts found"):
        read_benchmarks([tmp_path])
    with pytest.raises(DataError, match="no such file"):
        read_benchmarks([tmp_path / "missing.jsonl"])


def test_tables_and_packed_lines_are_read_too(tmp_path: Path) -> None:
    (tmp_path / "art_test.csv").write_text('question,choice0,answer\n"What, in short, is art?",a craft,0\n')
    packed = gzip.compress((json.dumps({"task_id": "0", "prompt": ITEM}) + "\n").encode())
    (tmp_path / "HumanEval.jsonl.gz").write_bytes(packed)
    found = read_benchmarks([tmp_path]).leaks(prompts("What, in short, is art", ITEM))
    name = tmp_path.name
    assert [leak and leak.item for leak in found] == [f"{name}/art_test.csv:1", f"{name}/HumanEval.jsonl.gz:1"]


@pytest.mark.parametrize("name", ["test.parquet", "deep/test.tsv", "test.ZIP"])
def test_data_that_would_be_passed_over_is_refused_by_name(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"prompt": ITEM}) + "\n")
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
    with pytest.raises(DataError, match=f"cannot read {name}; convert them to"):
        read_benchmarks([tmp_path])


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("a.jsonl.gz", b'{"prompt": "one"}', "not a complete gzip file"),
        ("a.jsonl.gz", gzip.compress(b'{"prompt": "one"}', mtime=0)[:-9], "not a complete gzip file"),
        ("a.jsonl.gz", gzip.compress(b'\n{"prompt"', mtime=0), "line 2: not JSON"),
        ("a.csv", b"question,answer\nWhy?,0,1\n", "row 1: has more fields"),
        ("a.csv", b"Why?,yes,no\nHow?,so,not\n", "no prompts found"),
        ("a.csv", b"\xff\xfe", "not UTF-8"),
    ],
)
def test_a_damaged_table_or_packed_file_is_named(tmp_path: Path, name: str, data: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=rf"{name}\b.*{says}"):
        read_benchmarks([tmp_path])


def test_mmlu_and_humaneval_are_read_whole() -> None:
    assert len(read_benchmarks([data_set("mmlu")])) == 285 + 14_042
    assert len(read_benchmarks([data_set("humaneval")])) == 164


def test_the_known_leaks_of_the_seed_collections_are_found() -> None:
    against = read_benchmarks([data_set(name) for name in ("ifeval", "followbench", "llmbar")])
    found = {
        leak.prompt: leak
        for path in sorted(data_set("seed_prompts").glob("*.jsonl"))
        for leak in against.leaks(read_prompts([path]))
        if leak
    }
    exact = {name: leak.item.split("/")[0] for name, leak in found.items() if leak.exact}
    assert exact == {
        **{f"vicuna_question:{line}": "followbench" for line in (1, 2, 4, 7, 9)},
        "vicuna_question:17": "llmbar",
    }
    # A question of an interview, and a news report of which LLMBar has a sentence.
    assert set(found) - set(exact) == {"self_instruct_seed_tasks:63", "self_instruct_seed_tasks:88"}


def check(folder: Path, mine: Path, *options: str) -> Result:
    bench = folder / "bench.jsonl"
    bench.write_text(json.dumps({"prompt": ITEM}) + "\n")
    return CliRunner().invoke(app, ["train", "check-leaks", str(mine), "--benchmark", str(bench), *options])


@pytest.mark.parametrize("place", range(4))
def test_every_turn_of_the_user_and_of_the_system_is_checked(tmp_path: Path, place: int) -> None:
    roles = ("system", "user", "assistant", "user")
    turns = [{"role": role, "content": f"Name a river, please, and then {place} more."} for role in roles]
    turns[place]["content"] = ITEM
    mine = tmp_path / "mine.jsonl"
    mine.write_text(json.dumps({"messages": turns}) + "\n")
    told = str(check(tmp_path, mine).exception)
    assert ("mine:1 is the same as" in told) == (roles[place] != "assistant")


def test_the_worst_turn_of_a_prompt_is_reported(tmp_path: Path) -> None:
    mine = tmp_path / "mine.jsonl"
    mine.write_text(json.dumps({"turns": [f"{ITEM} Be brief.", ITEM, "Go on."]}) + "\n")
    assert "1 of 1 prompts" in (told := str(check(tmp_path, mine).exception))
    assert "mine:1 is the same as" in told


@pytest.mark.parametrize(("name", "text"), [("mine.jsonl", ""), ("mine.json", "[]"), ("mine.csv", "prompt\n")])
def test_a_file_without_prompts_does_not_pass(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert "contains no prompts" in str(check(tmp_path, tmp_path / name).exception)


def test_the_other_rows_are_written_as_the_name_says_even_over_the_file_that_is_checked(tmp_path: Path) -> None:
    rows = [{"prompt": ITEM}, {"prompt": "Name a river, please."}]
    mine = tmp_path / "mine.json"
    mine.write_text(json.dumps(rows))
    assert check(tmp_path, mine, "--drop-to", str(tmp_path / "clean.jsonl")).exit_code == 0
    assert (tmp_path / "clean.jsonl").read_text() == json.dumps(rows[1]) + "\n"
    assert check(tmp_path, mine, "--drop-to", str(mine)).exit_code == 0
    assert json.loads(mine.read_text()) == rows[1:]
    refused = check(tmp_path, mine, "--drop-to", str(tmp_path / "clean.txt"))
    assert isinstance(refused.exception, ConfigError)
    assert "clean.txt: must end in .json" in str(refused.exception)


def test_the_command_fails_for_leaks_and_can_write_the_other_rows(tmp_path: Path) -> None:
    (tmp_path / "bench.jsonl").write_text(json.dumps({"prompt": ITEM}) + "\n")
    rows = [{"id": "a", "messages": [{"role": "user", "content": text}]} for text in (ITEM, "Name a river, please.")]
    mine = tmp_path / "mine.jsonl"
    mine.write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = ["train", "check-leaks", str(mine), "--benchmark", str(tmp_path / "bench.jsonl")]

    refused = CliRunner().invoke(app, command)
    assert isinstance(refused.exception, DataError)
    assert "1 of 2 prompts are in the benchmarks" in str(refused.exception)
    assert "--drop-to" in str(refused.exception)

    clean = tmp_path / "clean.jsonl"
    dropped = CliRunner().invoke(app, [*command, "--drop-to", str(clean)])
    assert dropped.exit_code == 0
    assert [json.loads(line) for line in clean.read_text().splitlines()] == rows[1:]
    assert CliRunner().invoke(app, ["train", "check-leaks", str(clean), *command[3:]]).exit_code == 0
