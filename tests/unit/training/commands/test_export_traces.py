"""Training data from the stored searches of a real server, by the rules of self-play."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from spar_core.backends.scripted import ScriptedBackend
from spar_core.prompts import load_templates
from spar_core.types import Message, Sampling
from spar_server.models.pair import ServedPair
from spar_server.settings import Settings, TraceSettings
from spar_training.commands.export_traces import export, read_traces
from spar_training.storage.files import read_rows
from spar_training.trainers.rows import dpo_problem, sft_problem

Serving = Callable[..., AbstractContextManager[str]]
QUESTION = "Write about rivers."


def refiner(messages: Sequence[Message], sampling: Sampling) -> str:
    """Rejects everything but refined answers, with a dissenting vote in eight, and refines `draft` in one step."""
    number = re.findall(r"(?:Judgement|start) (\d{6})", messages[-1].text)[-1]
    if len(messages) > 1:
        return f"It lacks detail.\n[[start {number}]]\nrefined answer\n[[end {number}]]"
    good = "refined answer" in messages[0].text and "rivers" in messages[0].text
    dissents = (sampling.seed or 0) % 8 == 0
    return f"1. detail -> {good}\nFinal Judgement {number}: {'Yes' if good != dissents else 'No'}"


@pytest.fixture(scope="module")
def url(serving: Serving, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    pair = ServedPair(
        name="pair",
        actor=ScriptedBackend(lambda messages, sampling: f"draft {len(messages)}"),
        refiner=ScriptedBackend(refiner),
        # As a server does: its marks are its own secret.
        templates=load_templates("default", key=b"the server's"),
        actor_sampling=Sampling(),
        judge_sampling=Sampling(max_tokens=64),
        refine_sampling=Sampling(max_tokens=64),
        lineage={"actor": {"sha256": "ac"}, "refiner": {"sha256": "fe"}},
    )
    path = tmp_path_factory.mktemp("traces") / "traces.sqlite"
    with serving(pair, Settings(traces=TraceSettings(record=1, path=path))) as url:
        yield url


def ask(url: str, content: Any = QUESTION, **body: Any) -> str:
    asked = {
        "model": "pair",
        "messages": [{"role": "user", "content": content}],
        "refine_budget": 3,
        # Without one, votes may happen to dissent.
        "seed": 1,
        "refine": {"early_vote_stop": False, "stop": "level", **body.pop("refine", {})},
    }
    response = httpx.post(f"{url}/v1/chat/completions", json=asked | body)
    id: str = response.headers["x-spar-trace-id"]
    assert httpx.get(f"{url}/v1/traces/{id}").status_code == 200, response.text
    return id


def trace(url: str, id: str) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{url}/v1/traces/{id}").json()
    return found


def test_an_accepted_refinement_makes_a_pair_with_the_draft_that_it_refines(url: str) -> None:
    id = ask(url)
    exported = export(iter([trace(url, id)]), form="dpo")
    (row,) = exported.rows
    assert dpo_problem(row) is None
    assert row["prompt"] == [{"role": "user", "content": QUESTION}]
    assert (row["chosen"][0]["content"], row["rejected"][0]["content"]) == ("refined answer", "draft 1")
    origin = row["provenance"]["trace"]
    assert (origin["id"], origin["model"], origin["weights"]) == (id, "pair", {"actor": "ac", "refiner": "fe"})
    assert (row["provenance"]["kind"], row["provenance"]["depth"]) == ("refined", 1)


def test_contested_judgements_and_refinements_become_conversations_in_the_wording_of_training(url: str) -> None:
    ids = [ask(url, question, seed=seed) for question in (QUESTION, "Write about lakes.") for seed in range(6)]
    exported = export((trace(url, id) for id in ids), form="rft")
    assert {row["kind"] for row in exported.rows} == {"refinement", "tree_yes", "tree_no", "sample_no"}
    ours = load_templates("default")
    for row in exported.rows:
        assert sft_problem(row) is None
        prompt, reply = row["messages"][0]["content"], row["messages"][-1]["content"]
        question = QUESTION if "rivers" in prompt else "Write about lakes."
        response = "refined answer" if row["kind"].startswith("tree") else "draft 1"
        conversation = [Message("user", question)]
        assert prompt == ours.judge(conversation, response)[0].text
        # The marks of the server would teach a refiner to write numbers that its prompt does not have.
        assert ours.mark(conversation, response) in reply
        assert row["provenance"]["trace"]["templates"] == "default"


def test_what_cannot_be_trained_on_is_left_out_and_counted(url: str) -> None:
    image = [{"type": "image_url", "image_url": {"url": "data:,"}}, {"type": "text", "text": "What is it?"}]
    bad = ask(url)
    httpx.post(f"{url}/v1/traces/{bad}/feedback", json={"score": -1})
    traces = [trace(url, id) for id in (ask(url), ask(url), ask(url, image), bad)]
    exported = export(iter([*traces, {**traces[0], "trees": [{}]}]), form="dpo")
    assert (len(exported.rows), exported.traces) == (1, 5)
    assert exported.left_out["repeated pair"] == 1
    assert exported.left_out["feedback below 0"] == 1
    assert any("must be a text part" in reason for reason in exported.left_out)
    assert any("damaged" in reason for reason in exported.left_out)


def test_an_answer_that_is_a_fresh_draft_makes_no_pair(url: str) -> None:
    id = ask(url, refine={"algorithm": "best_of_n", "stop": "level"})
    found = trace(url, id)
    assert found["notes"][0]["drafts"]
    assert export(iter([found]), form="dpo").rows == []


def test_the_command_reads_every_page_and_writes_a_file(url: str, tmp_path: Path) -> None:
    import typer

    from spar_training.cli.traces import export as command

    app = typer.Typer()
    app.command()(command)
    out = tmp_path / "dpo.jsonl"
    done = CliRunner().invoke(app, ["--out", str(out), "--format", "dpo", "--url", f"{url}/v1", "--model", "pair"])
    assert done.exit_code == 0, done.output
    assert re.search(r"\d+ rows from \d+ traces are in", done.output)
    assert all(dpo_problem(row) is None for row in read_rows(out))
    stored = httpx.get(f"{url}/v1/traces", params={"limit": 100}).json()["data"]
    assert [each["id"] for each in read_traces(url, {}, None)] == [each["id"] for each in stored]


def test_rows_survive_a_trip_through_json(url: str) -> None:
    exported = export(iter([trace(url, ask(url))]), form="rft")
    assert json.loads(json.dumps(exported.rows)) == exported.rows
