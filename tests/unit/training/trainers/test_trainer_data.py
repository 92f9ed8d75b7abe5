"""Training jobs and their data: what is refused before the first step, and in which words."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from spar_core.errors import ConfigError, DataError
from spar_training.trainers.chat_template import Renderer
from spar_training.trainers.job import Job, load_job, parse_job
from spar_training.trainers.sampler import LengthGrouped
from spar_training.trainers.status import is_finished
from spar_training.trainers.tokenize import Prepared, edit_positions, prepare

MODEL = str(files("spar_core") / "models" / "actor")


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def said(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def sft_row(name: str, answer: str = "The river runs.", **more: Any) -> dict[str, Any]:
    return {"id": name, "messages": [user("Tell me about the river."), said(answer)], "from": "a test", **more}


def dpo_row(name: str, chosen: str = "The river runs.", rejected: str = "The mill.") -> dict[str, Any]:
    return {"id": name, "prompt": [user("Go on.")], "chosen": [said(chosen)], "rejected": [said(rejected)]}


def prepared(folder: Path, rows: Sequence[object], kind: str, **more: Any) -> Prepared:
    file = folder / "data.jsonl"
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    values = {"kind": kind, "model": MODEL, "data": [str(file)], "out": str(folder / "out"), "learning_rate": 1e-5}
    return prepare(parse_job({**values, **more}, source="test"), Renderer(AutoTokenizer.from_pretrained(MODEL)))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"learning_rat": 1}, "learning_rat: there is no such key; did you mean learning_rate"),
        ({"learning_rate": 0}, "learning_rate: "),
        ({"kind": "ppo"}, "kind: "),
        ({"data": []}, "data: "),
        ({"lora": {"rank": 4}}, "lora.rank: there is no such key; there are r, alpha, dropout, targets, merge"),
        ({"threads": 100_000}, "threads: "),
        ({"kind": "sft", "beta": 0.2}, "beta: does not apply to a job of kind sft"),
        ({"edit_token_weight": 2}, "edit_token_weight: does not apply to a job of kind dpo"),
        ({"keep_steps": [0]}, "keep_steps.0: "),
        ({"keep_steps": [5], "lora": {}}, "keep_steps: saves full weights only"),
    ],
)
def test_an_invalid_job_is_refused_with_its_key(tmp_path: Path, change: dict[str, Any], error: str) -> None:
    file = tmp_path / "job.json"
    job = {"kind": "dpo", "model": "m", "data": ["d"], "out": "o", "learning_rate": 1e-6}
    file.write_text(json.dumps({**job, **change}), encoding="utf-8")
    with pytest.raises(ConfigError, match=f"job.json: .*{error}"):
        load_job(file)


def test_the_defaults_are_the_papers() -> None:
    job = Job.model_validate({"kind": "dpo", "model": "m", "data": ["d"], "out": "o", "learning_rate": 2e-7})
    assert (job.beta, job.sft_weight, job.schedule, job.warmup, job.epochs, job.max_length) == (
        0.1, 0.1, "linear", 0.1, 1, 2048,
    )  # fmt: skip
    assert (job.dtype, job.lora, job.edit_token_weight) == ("bf16", None, 1.0)
    # Jobs from before these keys existed are still the same jobs.
    assert "keep_steps" not in job.fingerprint_fields()
    assert job.model_copy(update={"keep_steps": (5,)}).fingerprint_fields()["keep_steps"] == [5]


def test_deprecated_keys_still_work_and_the_fingerprint_is_the_same() -> None:
    common = {"kind": "sft", "model": "m", "data": ["d"], "out": "o", "learning_rate": 1e-6}
    old = parse_job({**common, "cutoff": 99, "departure_weight": 3}, source="test")
    new = parse_job({**common, "max_length": 99, "edit_token_weight": 3}, source="test")
    assert old == new
    fields = new.fingerprint_fields()
    assert (fields["cutoff"], fields["departure_weight"]) == (99, 3)
    assert not {"max_length", "edit_token_weight"} & fields.keys()
    with pytest.raises(ConfigError, match="cutoff"):
        parse_job({**common, "cutoff": 99, "max_length": 98}, source="test")


@pytest.mark.parametrize("key", ["fingerprint_fields", "essence"])
def test_a_model_counts_as_finished_for_its_own_job_only(key: str, tmp_path: Path) -> None:
    values = {"kind": "dpo", "model": "m", "data": ["d"], "out": str(tmp_path), "learning_rate": 1e-6}
    job = parse_job(values, source="test")
    (tmp_path / "lineage.json").write_text(json.dumps({key: job.fingerprint_fields()}))
    assert is_finished(job)
    other = parse_job({**values, "max_length": 9, "beta": 0.5}, source="test")
    with pytest.raises(ConfigError, match=r"other settings: max_length was 2048, is 9; beta was 0\.1, is 0\.5"):
        is_finished(other)


@pytest.mark.parametrize(
    ("row", "kind", "error"),
    [
        ({"id": "a"}, "sft", "messages: must be a list with at least one turn"),
        ({"id": "a", "messages": [user("x")]}, "sft", "the last turn must be the assistant's"),
        (
            {"id": "a", "messages": [user("x"), {"role": "tool", "content": "y"}]},
            "sft",
            "messages.1: role must be one of",
        ),
        (sft_row("a", "  "), "sft", "messages.1: the assistant's turn is empty"),
        (sft_row("a", source_text=3), "sft", "source_text: must be a string"),
        ({**dpo_row("a"), "prompt": [said("x")]}, "dpo", "prompt: the last turn must not be the assistant's"),
        ({**dpo_row("a"), "rejected": [user("x")]}, "dpo", "rejected: must be a single turn of the assistant"),
        ({**dpo_row("a"), "chosen": "text"}, "dpo", "chosen: must be a list with at least one turn"),
        (dpo_row("a", "same", "same"), "dpo", "chosen and rejected are the same"),
    ],
)
def test_an_invalid_row_is_refused_with_its_id(tmp_path: Path, row: dict[str, Any], kind: str, error: str) -> None:
    good = sft_row("b") if kind == "sft" else dpo_row("b")
    with pytest.raises(DataError, match=f"data.jsonl: 1 row \\(a\\): .*{error}"):
        prepared(tmp_path, [row, good], kind)


def test_all_problems_are_reported_at_once(tmp_path: Path) -> None:
    long = " ".join(["The river runs."] * 20)
    rows = [sft_row(f"long{n}", long) for n in range(7)] + [sft_row("empty", ""), sft_row("good")]
    with pytest.raises(DataError) as caught:
        prepared(tmp_path, rows, "sft", max_length=40)
    assert "1 row (empty): messages.1: the assistant's turn is empty" in str(caught.value)
    assert "7 rows (long0, long1, long2, long3, long4 and 2 more): longer than max_length, 40 tokens" in str(
        caught.value
    )
    assert "the longest has " in str(caught.value)


def test_rows_may_be_excluded_and_are_then_listed(tmp_path: Path) -> None:
    rows = [dpo_row("same", "x", "x"), dpo_row("long", "The river runs. " * 40), dpo_row("good")]
    left = prepared(tmp_path, rows, "dpo", max_length=60, on_too_long="exclude", on_no_difference="exclude")
    assert left.excluded == {"no_difference": ["same"], "too_long": ["long"]}
    assert (len(left.rows), left.files[0].rows) == (1, 3)
    with pytest.raises(DataError, match="no row is left"):
        prepared(tmp_path, rows[:2], "dpo", max_length=60, on_too_long="exclude", on_no_difference="exclude")


def test_a_rejected_answer_that_was_cut_off_does_not_end(tmp_path: Path) -> None:
    whole, cut = prepared(tmp_path, [dpo_row("whole"), {**dpo_row("cut"), "rejected_cut_off": True}], "dpo").rows
    assert cut["rejected_ids"] == whole["rejected_ids"][:-1]
    assert cut["chosen_ids"] == whole["chosen_ids"]


def test_a_line_that_is_not_a_row_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data.jsonl, line 2: lacks id"):
        prepared(tmp_path, [sft_row("a"), {"messages": []}], "sft")


def test_edit_positions_are_the_first_tokens_of_edits() -> None:
    assert edit_positions([1, 2, 3, 4], [1, 2, 9, 3, 4]) == [2]
    assert edit_positions([1, 2, 3, 4], [1, 2, 4]) == [2]
    assert edit_positions([1, 2, 3], [1, 2, 3]) == []


@pytest.mark.parametrize("key", ["source_text", "departs_from"])
def test_edit_tokens_weigh_more_and_the_row_as_a_whole_does_not(key: str, tmp_path: Path) -> None:
    row = sft_row("a", "The river runs slowly.", **{key: "The river runs."})
    plain = prepared(tmp_path, [row], "sft").rows[0]
    weighed = prepared(tmp_path, [row], "sft", edit_token_weight=5).rows[0]
    assert "weights" not in plain
    targets = [weight for weight, label in zip(weighed["weights"], weighed["labels"], strict=True) if label != -100]
    assert sum(targets) == pytest.approx(len(targets))
    heavy = [index for index, weight in enumerate(targets) if weight > 1]
    assert len(heavy) == 1
    assert max(targets) == pytest.approx(5 * min(targets))


def test_every_epoch_takes_each_row_once_with_little_padding() -> None:
    lengths = [(n * 37) % 200 for n in range(103)]
    sampler = LengthGrouped(lengths, batch=8, seed=1)
    first = list(sampler)
    assert sorted(first) == list(range(103))
    assert list(sampler) == first
    sampler.set_epoch(1)
    assert sorted(again := list(sampler)) == list(range(103))
    assert again != first
    spread = [max(batch) - min(batch) for n in range(0, 96, 8) if (batch := [lengths[row] for row in first[n : n + 8]])]
    assert max(spread) < 40
