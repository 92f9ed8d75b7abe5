"""A search of a real server in a real Phoenix: its spans, their tree and its scores."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

PROMPT = "Tell me about the river. Do not use commas. Include the words lamp and bell. Write at least 4 sentences."


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def eventually(found: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + 900
    while not (value := found()):
        assert time.monotonic() < deadline, what
        time.sleep(0.2)
    return value


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=60).is_success
    except httpx.TransportError:
        return False


@contextmanager
def running(*command: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(command, env=os.environ | environment, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=120)


@pytest.fixture(scope="module")
def phoenix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    port = free_port()
    environment = {
        "PHOENIX_PORT": str(port),
        "PHOENIX_GRPC_PORT": str(free_port()),
        "PHOENIX_HOST": "127.0.0.1",
        "PHOENIX_WORKING_DIR": str(tmp_path_factory.mktemp("phoenix")),
        "PHOENIX_TELEMETRY_ENABLED": "false",
    }
    url = f"http://127.0.0.1:{port}"
    log = tmp_path_factory.mktemp("log") / "phoenix.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [str(Path(sys.executable).with_name("phoenix")), "serve"],
            env=os.environ | environment,
            stdout=output,
            stderr=output,
        )
    try:
        eventually(lambda: answers(f"{url}/healthz"), f"Phoenix did not start: see {log}")
        with httpx.Client(base_url=url, timeout=60) as client:
            yield client
    finally:
        process.terminate()
        process.wait(120)


@pytest.fixture(scope="module")
def refinement(phoenix: httpx.Client) -> dict[str, Any]:
    """A search of `spar serve --pair tiny`, all of whose telemetry Phoenix shows."""
    environment = {
        "SPAR_TELEMETRY__ENABLED": "true",
        "SPAR_TELEMETRY__ENDPOINT": str(phoenix.base_url).rstrip("/"),
        "SPAR_TELEMETRY__SIGNALS": "traces",
        "SPAR_TELEMETRY__SCORES": "phoenix",
        "SPAR_TELEMETRY__CONTENT": "true",
        "OTEL_RESOURCE_ATTRIBUTES": "openinference.project.name=spar",
    }
    serve = (sys.executable, "-m", "spar_server.cli", "serve", "--pair", "tiny", "--port", "0")
    with running(*serve, **environment) as server:
        assert server.stdout is not None
        ready = re.match(r"SPaR Server is ready on (\S+)", server.stdout.readline())
        assert ready
        body = {"model": "spar-tiny", "seed": 3, "refine_budget": 8, "messages": [{"role": "user", "content": PROMPT}]}
        body["model"] = httpx.get(f"{ready[1]}/v1/models").json()["data"][0]["id"]
        answer = httpx.post(f"{ready[1]}/v1/chat/completions", json=body, timeout=300).json()
        used: dict[str, Any] = answer["usage"]["refinement"]
        # Phoenix stores each a while after it was sent.
        eventually(lambda: len(spans_of(phoenix)) > sum(used["calls"].values()), "spans are missing")
        eventually(lambda: {used["draft_value"], used["value"]} <= scores_of(phoenix), "scores are missing")
    return used


def spans_of(phoenix: httpx.Client) -> list[dict[str, Any]]:
    answer = phoenix.get("/v1/projects/spar/spans", params={"limit": 1000})
    return list(answer.json()["data"]) if answer.is_success else []


def annotations_of(phoenix: httpx.Client) -> list[dict[str, Any]]:
    ids = [span["context"]["span_id"] for span in spans_of(phoenix)]
    answer = phoenix.get("/v1/projects/spar/span_annotations", params={"span_ids": ids, "limit": 1000})
    return list(answer.json()["data"]) if ids and answer.is_success else []


def scores_of(phoenix: httpx.Client) -> set[float]:
    return {each["result"]["score"] for each in annotations_of(phoenix)}


def test_the_search_is_a_tree_of_its_calls(phoenix: httpx.Client, refinement: dict[str, Any]) -> None:
    spans = spans_of(phoenix)
    (root,) = [span for span in spans if span["parent_id"] is None]
    assert root["name"].startswith("invoke_workflow ")
    assert root["span_kind"] == "CHAIN"
    assert root["attributes"]["spar.stop_reason"] == refinement["stop_reason"]
    calls = [span for span in spans if span is not root]
    by_id = {span["context"]["span_id"]: span for span in spans}
    parents = {span["name"]: by_id[span["parent_id"]]["name"] for span in calls}
    assert parents["draft"] == root["name"]
    assert {parent for name, parent in parents.items() if name.startswith("refine ")} <= {"draft", *parents}
    judged = {name: parent for name, parent in parents.items() if name.startswith("judge ")}
    assert judged["judge draft"] == "draft"
    assert all(parent.removeprefix("refine ") == name.removeprefix("judge ") for name, parent in judged.items())
    assert {span["span_kind"] for span in calls} == {"LLM"}
    roles = [span["attributes"]["spar.role"] for span in calls]
    assert {role: roles.count(role) for role in set(roles)} == refinement["calls"]
    nodes = {span["attributes"]["graph.node.id"] for span in spans}
    assert {span["attributes"].get("graph.node.parent_id", "search") for span in spans} <= nodes


def test_the_calls_have_models_tokens_and_texts(phoenix: httpx.Client, refinement: dict[str, Any]) -> None:
    (draft,) = [span for span in spans_of(phoenix) if span["attributes"].get("graph.node.id") == "draft"]
    attributes = draft["attributes"]
    # Phoenix makes these of the attributes of the conventions.
    assert attributes["llm.token_count.completion"] == refinement["tokens"]["actor"]["completion"]
    assert attributes["llm.model_name"].endswith("-actor")
    assert attributes["llm.input_messages.0.message.content"] == PROMPT


def test_the_verdicts_are_annotations_of_the_calls_that_they_judge(
    phoenix: httpx.Client, refinement: dict[str, Any]
) -> None:
    spans = {span["context"]["span_id"]: span["attributes"] for span in spans_of(phoenix)}
    scores = {spans[each["span_id"]]["graph.node.id"]: each for each in annotations_of(phoenix)}
    assert scores["draft"]["result"]["score"] == refinement["draft_value"]
    assert max(each["result"]["score"] for each in scores.values()) == refinement["value"]
    assert {each["annotator_kind"] for each in scores.values()} == {"LLM"}
    assert {spans[each["span_id"]]["spar.role"] for each in scores.values()} <= {"actor", "refiner"}
