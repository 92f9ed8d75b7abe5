"""Trainings as processes: progress, resumption after the worst, the same weights again, and where they come from."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from spar_core.backends.local import LocalBackend, LocalEngine
from spar_core.errors import ConfigError, DataError, TrainingError
from spar_core.types import Message, Sampling
from spar_training.storage.files import Row, write_rows
from spar_training.trainers.job import Job
from spar_training.trainers.launch import train
from spar_training.trainers.run import run

pytestmark = pytest.mark.real
MODELS = files("spar_core") / "models"
RECIPE = {"name": "mine", "sha256": "ab" * 32, "seed": 4, "iteration": 2}
WORDS = ("river", "mill", "lamp", "bell", "garden", "market", "harbour", "bridge")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    asked = [{"role": "user", "content": f"Tell me about the {word}."} for word in WORDS]
    good = [{"role": "assistant", "content": f"The {word} is old and quiet."} for word in WORDS]
    bad = [{"role": "assistant", "content": f"The {word}, the {word}."} for word in WORDS]
    write_rows(
        folder / "sft.jsonl", [{"id": w, "messages": [q, a]} for w, q, a in zip(WORDS, asked, good, strict=True)]
    )
    write_rows(
        folder / "dpo.jsonl",
        [
            {"id": w, "prompt": [q], "chosen": [a], "rejected": [b]}
            for w, q, a, b in zip(WORDS, asked, good, bad, strict=True)
        ],
    )
    return folder


def job_of(data: Path, out: Path, kind: str = "dpo", **more: Any) -> Job:
    common = {"learning_rate": 1e-4, "batch_size": 2, "max_length": 128, "dtype": "fp32", "threads": 1, "log_every": 1}
    values = {"kind": kind, "model": str(MODELS / "actor"), "data": [str(data / f"{kind}.jsonl")], "out": str(out)}
    return Job.model_validate({**values, **common, **more})


def weights(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def lineage(folder: Path) -> Mapping[str, Any]:
    found: dict[str, Any] = json.loads((folder / "lineage.json").read_text(encoding="utf-8"))
    return found


def trainer_of(job: Job) -> int:
    """The process that trains now."""
    return int((job.work / "lock").read_text())


def is_running(process: int) -> bool:
    """Whether the process exists and is not a zombie, which has no command line."""
    try:
        return bool(Path(f"/proc/{process}/cmdline").read_bytes())
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_killed_training_resumes_to_the_weights_of_an_uninterrupted_one(data: Path, tmp_path: Path) -> None:
    job = job_of(data, tmp_path / "killed", epochs=5, save_every=2)
    rows: list[Row] = []

    def kill_it(row: Row) -> None:
        rows.append(row)
        if row["step"] >= 6:
            os.kill(trainer_of(job), signal.SIGKILL)

    with pytest.raises(TrainingError, match="was killed by signal 9; the same job resumes"):
        train(job, on_progress=kill_it)
    # It may have been killed before there was anything of the newest checkpoint but its folder.
    saved = job.work.glob("checkpoints/checkpoint-*/model.safetensors")
    newest = max(saved, key=lambda path: int(path.parent.name.split("-")[1]))
    # As if it had been killed while it wrote this one.
    with newest.open("rb+") as file:
        file.truncate(1000)
    rows.clear()
    assert train(job, on_progress=rows.append) == job.out
    assert not job.work.exists()
    assert rows[-1]["step"] == rows[-1]["total"] == 20
    assert {"loss", "rewards/accuracies", "seconds"} <= rows[-1].keys()
    whole = run(job_of(data, tmp_path / "whole", epochs=5, save_every=2))
    assert weights(job.out) == weights(whole) != weights(Path(str(MODELS / "actor")))
    steps = [json.loads(line)["step"] for line in (job.out / "progress.jsonl").read_text().splitlines()]
    assert sorted(set(steps)) == list(range(21))
    # A finished one is not run again.
    before = (job.out / "lineage.json").stat().st_mtime_ns
    assert train(job) == run(job) == job.out
    assert (job.out / "lineage.json").stat().st_mtime_ns == before


def test_a_training_ends_with_its_launcher(data: Path, tmp_path: Path) -> None:
    job = job_of(data, tmp_path / "out", epochs=500)
    script = (
        "import sys; from spar_training.trainers.job import load_job; from spar_training.trainers.launch import train; "
        "from pathlib import Path; train(load_job(Path(sys.argv[1])), "
        "on_progress=lambda row: print(row['step'], flush=True))"
    )
    given = tmp_path / "job.json"
    given.write_text(job.model_dump_json(exclude_unset=True), encoding="utf-8")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", script, str(given)], stdout=subprocess.PIPE, env=env) as starter:
        assert starter.stdout is not None
        starter.stdout.readline()
        trainer = trainer_of(job)
        with pytest.raises(DataError, match="another process is using it"):
            run(job)
        starter.kill()
    deadline = time.monotonic() + 120
    while is_running(trainer):
        assert time.monotonic() < deadline, "the training goes on"
        time.sleep(0.05)


def test_a_model_has_its_lineage(data: Path, tmp_path: Path) -> None:
    made = run(
        job_of(data, tmp_path / "out", "sft", max_steps=2, seed=7, dtype="bf16", edit_token_weight=2.0, recipe=RECIPE)
    )
    record = lineage(made)
    assert record["recipe"] == RECIPE
    assert record["parent"]["model"].endswith("actor")
    assert len(record["parent"]["sha256"]) == 64
    data_file = data / "sft.jsonl"
    digest = hashlib.sha256(data_file.read_bytes()).hexdigest()
    assert record["data"] == [{"path": str(data_file), "sha256": digest, "rows": 8}]
    assert (record["job"]["seed"], record["steps"], record["rows"]["trained"], record["processes"]) == (7, 2, 8, 1)
    assert {"torch", "transformers", "trl", "peft", "python", "spar-server"} <= record["versions"].keys()
    assert "supervised fine-tuning" in (made / "README.md").read_text(encoding="utf-8")
    log = json.loads((made / "training_log.json").read_text(encoding="utf-8"))
    assert [entry["step"] for entry in log if "loss" in entry] == [1, 2]
    assert {str(tensor.dtype) for tensor in load_file(made / "model.safetensors").values()} == {"torch.bfloat16"}
    config = json.loads((made / "config.json").read_text())
    assert (config["dtype"], config["use_cache"]) == ("bfloat16", True)


async def test_a_model_learns_its_answers_and_to_stop(data: Path, tmp_path: Path) -> None:
    made = run(job_of(data, tmp_path / "out", "sft", epochs=25, learning_rate=2e-3, schedule="constant"))
    backend = LocalBackend(LocalEngine(made, device="cpu"), "made")
    answer = await backend.complete(
        [Message("user", "Tell me about the lamp.")], Sampling(temperature=0, max_tokens=60)
    )
    await backend.aclose()
    assert (answer.text, answer.finish_reason) == ("The lamp is old and quiet.", "stop")


def test_an_adapter_may_be_merged_or_stay_separate(data: Path, tmp_path: Path) -> None:
    lora = {"r": 4, "alpha": 8, "targets": ["q_proj", "v_proj"]}
    merged = run(job_of(data, tmp_path / "merged", max_steps=2, lora=lora))
    alone = run(job_of(data, tmp_path / "alone", max_steps=2, lora={**lora, "merge": False}))
    assert (merged / "model.safetensors").exists()
    adapter = "adapter_model.safetensors"
    assert (merged / "adapter" / adapter).read_bytes() == (alone / adapter).read_bytes()
    assert not (alone / "model.safetensors").exists()
    assert "LoRA, rank 4" in (alone / "README.md").read_text(encoding="utf-8")


def test_a_training_that_cannot_run_is_an_error_of_its_kind(data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="longer than max_length, 8 tokens"):
        train(job_of(data, tmp_path / "long", max_length=8))
    # Beyond this, a process of its own would change nothing.
    with pytest.raises(ConfigError, match="keep_steps: the training has only 3 steps and never reaches 1000"):
        run(job_of(data, tmp_path / "short", max_steps=3, keep_steps=[2, 1000]))
    with pytest.raises(
        ConfigError,
        match=r"no weight matrix in a module query; it has embed_tokens, q_proj, k_proj, v_proj, o_proj",
    ):
        run(job_of(data, tmp_path / "lora", lora={"targets": ["q_proj", "query"]}))
    taken = tmp_path / "taken"
    taken.mkdir()
    with pytest.raises(ConfigError, match="was not made by a training"):
        run(job_of(data, taken))
    made = run(job_of(data, tmp_path / "made", max_steps=1))
    with pytest.raises(ConfigError, match=r"other settings: seed was 0, is 1; beta was 0\.1, is 0\.5"):
        train(job_of(data, made, max_steps=1, seed=1, beta=0.5))


def test_a_job_that_changed_is_not_resumed(data: Path, tmp_path: Path) -> None:
    rows = tmp_path / "dpo.jsonl"
    rows.write_bytes((data / "dpo.jsonl").read_bytes())
    job = job_of(tmp_path, tmp_path / "out", epochs=500, save_every=1)

    def stop(row: Row) -> None:
        # With a checkpoint of the step before.
        if row["step"] > 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(job, on_progress=stop)
    with rows.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"id": "new", "prompt": [], "chosen": [], "rejected": []}) + "\n")
    with pytest.raises(ConfigError, match=r"other settings: files\..*dpo\.jsonl was .*remove the folder"):
        run(job)


def test_a_job_without_a_checkpoint_may_start_over_with_other_keys(data: Path, tmp_path: Path) -> None:
    job = job_of(data, tmp_path / "out", epochs=500)

    def stop(row: Row) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(job, on_progress=stop)
    rows: list[Row] = []
    train(job_of(data, tmp_path / "out", batch_size=1, max_length=64), on_progress=rows.append)
    assert [row["total"] for row in rows] == [8] * 9
    again: list[Row] = []
    # Stopped before its caller heard, it still tells what it did.
    train(job_of(data, tmp_path / "out", batch_size=1, max_length=64), on_progress=again.append)
    assert again == rows


@pytest.mark.slow
def test_two_processes_train_one_model(data: Path, tmp_path: Path) -> None:
    launcher = (sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "-m")
    job = job_of(data, tmp_path / "two")
    rows: list[Row] = []
    made = train(job, on_progress=rows.append, launcher=launcher)
    # Eight rows, two at a time on each of two devices.
    assert (lineage(made)["processes"], rows[-1]["total"]) == (2, 2)
    assert weights(made) != weights(Path(str(MODELS / "actor")))
