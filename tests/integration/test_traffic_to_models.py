"""The whole circle on real models: serve traffic, export its traces, train on them, serve the result."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from importlib.resources import files
from itertools import count, islice
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from spar_server.cli.traces.commands import app as traces_app
from spar_server.models.pair import build_pair
from spar_server.settings import Settings, TraceSettings
from spar_training.cli.train import app as train_app
from spar_training.commands.export_traces import run as export
from spar_training.runs.prompts import world_prompt
from spar_training.storage.files import read_rows

pytestmark = pytest.mark.real
Serving = Callable[..., AbstractContextManager[str]]
# Its drafts fail often enough for a little traffic to teach something.
PAIR = Path(str(files("spar_training") / "models" / "bootstrap"))
SEARCHES = 48


def questions() -> Iterator[str]:
    """Prompts of the small world with several constraints, which are hard for the pair."""
    for index in count(2**43):
        prompt = world_prompt("train", index)
        if len(prompt.checks) >= 2:
            yield prompt.conversation[0].text


def ask(url: str, question: str, seed: int) -> str:
    """Ask with a budget; the trace id."""
    body = {
        "model": "pair",
        "messages": [{"role": "user", "content": question}],
        "refine_budget": 8,
        "seed": seed,
        "refine": {"stop": "level", "early_vote_stop": False},
    }
    response = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=300)
    assert response.status_code == 200, response.text
    return str(response.headers["x-spar-trace-id"])


def train(folder: Path, kind: str, role: str, data: Path, **more: Any) -> None:
    values = {"kind": kind, "model": str(PAIR / role), "data": [str(data)], "out": str(folder / role)}
    common = {"learning_rate": 1e-5, "batch_size": 4, "max_length": 512, "dtype": "fp32", "threads": 1, "max_steps": 2}
    (folder / f"{role}.json").write_text(json.dumps(values | common | more))
    done = CliRunner().invoke(train_app, ["model", str(folder / f"{role}.json")])
    assert done.exit_code == 0, done.output


def test_traffic_becomes_the_next_pair(serving: Serving, tmp_path: Path) -> None:
    recording = TraceSettings(record=1, path=tmp_path / "traces.sqlite")
    settings = Settings(pair=PAIR, model="pair", templates="compact", traces=recording)
    with serving(build_pair(settings), settings) as url:
        with ThreadPoolExecutor(16) as clients:
            asked = list(islice(questions(), SEARCHES))
            ids = list(clients.map(ask, [url] * SEARCHES, asked, range(SEARCHES)))
        for id in ids:
            # Traces are written in batches.
            while httpx.get(f"{url}/v1/traces/{id}", timeout=60).status_code != 200:
                time.sleep(0.1)
        replayed = CliRunner().invoke(traces_app, ["replay", ids[0], "--url", url])
        assert replayed.exit_code == 0, replayed.output
        dpo, rft = tmp_path / "dpo.jsonl", tmp_path / "rft.jsonl"
        told = export(url=url, api_key=None, query={}, form="dpo", out=dpo, templates=None)
        export(url=url, api_key=None, query={}, form="rft", out=rft, templates=None)
    assert f"from {SEARCHES} traces" in told
    pairs, conversations = list(read_rows(dpo)), list(read_rows(rft))
    assert len(pairs) >= 2, told
    assert {"refinement"} < {row["kind"] for row in conversations}
    assert {row["provenance"]["trace"]["id"] for row in pairs} <= set(ids)
    weights = pairs[0]["provenance"]["trace"]["weights"]
    assert set(weights) == {"actor", "refiner"}
    next_pair = tmp_path / "next"
    next_pair.mkdir()
    train(next_pair, "dpo", "actor", dpo)
    train(next_pair, "sft", "refiner", rft)
    again = Settings(pair=next_pair, model="pair", templates="compact", traces=recording)
    with serving(build_pair(again), again) as url:
        id = ask(url, asked[0], seed=0)
        # The traces of the pair before it are still there.
        assert httpx.get(f"{url}/v1/traces/{ids[0]}").status_code == 200
        trace = httpx.get(f"{url}/v1/traces/{id}").json()
    assert trace["usage"]["refinement"]["calls"]["judge"]
    assert trace["weights"] != weights
