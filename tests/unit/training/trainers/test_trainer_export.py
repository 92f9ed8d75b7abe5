"""A job's data and settings as LLaMA-Factory and TRL read them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from spar_core.errors import ConfigError, DataError
from spar_training.storage.files import read_rows, write_rows
from spar_training.trainers.job import Job, parse_job
from spar_training.trainers.llama_factory import export

ASK = {"role": "user", "content": "Go on."}
GOOD = {"role": "assistant", "content": "The river runs."}
BAD = {"role": "assistant", "content": "The mill."}


def job_of(folder: Path, kind: str, rows: list[dict[str, Any]], **more: Any) -> Job:
    write_rows(folder / "rows.jsonl", rows)
    values = {"kind": kind, "model": "m", "data": [str(folder / "rows.jsonl")], "out": "o", "learning_rate": 2e-7}
    return parse_job({**values, **more}, source="test")


def test_pairs_and_settings_for_llama_factory(tmp_path: Path) -> None:
    rows = [{"id": "a", "prompt": [ASK], "chosen": [GOOD], "rejected": [BAD], "from": "tree 3"}]
    export(job_of(tmp_path, "dpo", rows), tmp_path / "lf", form="llama-factory", template="llama3")
    assert list(read_rows(tmp_path / "lf" / "dpo.jsonl")) == [{"messages": [ASK], "chosen": GOOD, "rejected": BAD}]
    info = json.loads((tmp_path / "lf" / "dataset_info.json").read_text())["spar_dpo"]
    assert (info["file_name"], info["formatting"], info["ranking"]) == ("dpo.jsonl", "sharegpt", True)
    assert info["columns"] == {"messages": "messages", "chosen": "chosen", "rejected": "rejected"}
    said = yaml.safe_load((tmp_path / "lf" / "train.yaml").read_text())
    expected = {
        "stage": "dpo", "pref_beta": 0.1, "pref_ftx": 0.1, "pref_loss": "sigmoid", "cutoff_len": 2048,
        "learning_rate": 2e-7, "lr_scheduler_type": "linear", "warmup_ratio": 0.1, "num_train_epochs": 1,
        "finetuning_type": "full", "template": "llama3", "bf16": True,
    }  # fmt: skip
    assert {key: said[key] for key in expected} == expected


def test_conversations_and_an_adapter_for_llama_factory(tmp_path: Path) -> None:
    rows = [{"id": "a", "messages": [{"role": "system", "content": "Brief."}, ASK, GOOD, ASK, BAD]}]
    job = job_of(tmp_path, "sft", rows, schedule="constant", epochs=5, max_length=4096, lora={"r": 8, "alpha": 16})
    export(job, tmp_path / "lf", form="llama-factory")
    assert list(read_rows(tmp_path / "lf" / "sft.jsonl")) == [{"messages": rows[0]["messages"]}]
    said = yaml.safe_load((tmp_path / "lf" / "train.yaml").read_text())
    assert (said["stage"], said["lr_scheduler_type"], said["lora_rank"]) == ("sft", "constant_with_warmup", 8)
    assert (said["lora_target"], said["cutoff_len"]) == ("all", 4096)
    assert not {"pref_beta", "template"} & said.keys()


def test_rows_that_llama_factory_would_skip_are_refused(tmp_path: Path) -> None:
    rows = [{"id": "odd", "messages": [ASK, ASK, GOOD]}]
    with pytest.raises(DataError, match="row odd: LLaMA-Factory skips"):
        export(job_of(tmp_path, "sft", rows), tmp_path / "lf", form="llama-factory")
    export(job_of(tmp_path, "sft", rows), tmp_path / "trl", form="trl")
    assert list(read_rows(tmp_path / "trl" / "sft.jsonl")) == [{"messages": rows[0]["messages"]}]
    with pytest.raises(DataError, match=r"rows.jsonl, row b: messages.1: the assistant's turn is empty"):
        export(job_of(tmp_path, "sft", [{"id": "b", "messages": [ASK, {**GOOD, "content": ""}]}]), tmp_path, form="trl")


@pytest.mark.parametrize(
    ("kind", "key", "value"), [("dpo", "length_normalized", True), ("sft", "edit_token_weight", 5)]
)
def test_a_setting_that_llama_factory_lacks_is_refused(tmp_path: Path, kind: str, key: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"{key}: LLaMA-Factory has no such setting"):
        export(job_of(tmp_path, kind, [], **{key: value}), tmp_path / "lf", form="llama-factory")
