"""Growing and distilling over real HTTP: through this project's own server, and through an upstream that breaks."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from spar_core.errors import BackendTimeout, BackendUnavailable, ConfigError
from spar_core.types import Message, Sampling
from spar_server.cli.main import app
from spar_server.models.pair import ServedPair
from spar_training.inference.client import open_backend
from spar_training.pipeline.runner import Policy
from spar_training.prompt_evolution.pipeline import EvolvePipeline
from spar_training.prompt_evolution.settings import EvolveSettings
from tests.support.data_sets import data_set
from tests.support.faulty_upstream import FaultyUpstream
from tests.support.pairs import scripted_pair

SEEDS = [
    "Tell how the old bridge was built and who paid for it.",
    "What would a miller worry about after a dry summer?",
    "Advise a friend who wants to open a bakery in a village.",
    "Why do harbours freeze in some winters only?",
    "Suggest games for a birthday party of nine children indoors.",
    "Compare keeping bees with keeping hens for a beginner.",
    "Draft an apology to neighbours for last night's noise.",
    "Which books would you take along to a lighthouse?",
    "Explain compound interest without any formula at all.",
    "Describe the way from the station to the museum on foot.",
]


def grow(prompt: str) -> str:
    seed = prompt.split("<instruction>\n")[1].split("\n</instruction>")[0]
    return f"<new_instruction>\n{seed} Write it as a diary entry.\n</new_instruction>"


def strong(messages: Sequence[Message], sampling: Sampling) -> str:
    """Grows prompts, answers, judges the answers on a bridge and on a miller good, and refines."""
    first = messages[0].text
    if len(messages) == 3:
        return "[[start]]\nA better entry.\n[[end]]"
    if "<new_instruction>" in first:
        return grow(first)
    if "strict reviewer" in first:
        good = "bridge" in first or "miller" in first
        return f"1. A diary entry.\nFinal Judgement: {'Yes' if good else 'No'}"
    return "Dear diary."


def seeds_file(folder: Path) -> Path:
    file = folder / "seeds.jsonl"
    file.write_text("".join(json.dumps({"instruction": text, "input": ""}) + "\n" for text in SEEDS))
    return file


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_prompts_are_grown_and_distilled_by_the_commands_through_the_gateway(
    tmp_path: Path, serving: Callable[[ServedPair], AbstractContextManager[str]]
) -> None:
    with serving(scripted_pair(actor=strong)) as url:
        at = ["--model", "pair", "--url", f"{url}/v1", "--in-flight", "4"]
        grown, taught = tmp_path / "grown", tmp_path / "taught"
        seeds = str(seeds_file(tmp_path))
        evolved = CliRunner().invoke(app, ["train", "evolve", seeds, "--out", str(grown), *at])
        assert evolved.exit_code == 0, evolved.exception
        prompts = grown / "prompts.jsonl"
        distilled = CliRunner().invoke(
            app, ["train", "distill", str(prompts), "--out", str(taught), "--balance", "2", *at]
        )
        assert distilled.exit_code == 0, distilled.exception
    assert len(lines(prompts)) == 10
    assert all("diary entry" in row["messages"][0]["content"] for row in lines(prompts))
    assert (grown / "card.md").read_text().startswith("# Evolved prompts\n\n10 prompts")
    assert [row["prompt_id"] for row in lines(taught / "sft_actor.jsonl")] == [row["id"] for row in lines(prompts)]
    refiner = lines(taught / "sft_refiner.jsonl")
    assert Counter(row.get("verdict", row["role"]) for row in refiner) == {"Yes": 2, "No": 4, "refiner": 8}
    assert "2 Yes, 4 No" in distilled.stderr


async def test_a_run_whose_upstream_failed_resumes_without_losing_anything(tmp_path: Path) -> None:
    upstream = FaultyUpstream(
        say=lambda call: grow(call.messages[0]["content"]),
        fault=lambda call: "none" if len(upstream.calls) <= 4 else "reset",
    )
    settings = EvolveSettings(seeds=(seeds_file(tmp_path),), out=tmp_path / "cut")
    policy = Policy(in_flight=2, tries=1, give_up_after=2)

    async def run() -> list[dict[str, Any]]:
        pipeline = EvolvePipeline(settings)
        work = pipeline.prepare()
        async with open_backend("strong", urls=[upstream.url]) as backend:
            return pipeline.finish(work, await pipeline.request(work, backend, policy, lambda progress: None), "strong")

    with upstream.serving():
        with pytest.raises(BackendUnavailable, match="run again"):
            await run()
        answered = [call for call in upstream.calls if call.answered]
        assert 0 < len(answered) < 10
        upstream.fault = lambda call: "none"
        prompts = await run()
        # Each prompt was asked for until it was answered, and not again.
        asked = Counter(call.messages[0]["content"] for call in upstream.calls if call.answered)
    assert [row["seed_id"] for row in prompts] == [f"seeds:{line}" for line in range(1, 11)]
    assert set(asked.values()) == {1}
    assert len(asked) == 10


@pytest.mark.parametrize("url", ["localhost:8270/v1", "", "http://", "http://host:port/v1"])
@pytest.mark.parametrize("command", ["evolve", "distill"])
def test_a_url_that_is_none_is_refused_before_a_call(tmp_path: Path, command: str, url: str) -> None:
    seeds = tmp_path / "seeds.jsonl"
    seeds.write_text(json.dumps({"prompt": SEEDS[0]}) + "\n")
    refused = CliRunner().invoke(
        app, ["train", command, str(seeds), "--out", str(tmp_path / "out"), "--model", "m", "--url", url]
    )
    assert isinstance(refused.exception, ConfigError)
    assert str(refused.exception) == f"--url {url!r}: must be an address such as http://127.0.0.1:8000/v1"
    assert not (tmp_path / "out").exists()


async def test_an_answer_may_take_the_time_that_is_configured() -> None:
    with FaultyUpstream(fault=lambda call: "none", delay_s=0.5).serving() as upstream:
        async with open_backend("strong", urls=[upstream.url], answer_s=30) as backend:
            await backend.complete([Message("user", "Hi")], Sampling())
        async with open_backend("strong", urls=[upstream.url], answer_s=0.1) as backend:
            with pytest.raises(BackendTimeout):
                await backend.complete([Message("user", "Hi")], Sampling())


async def test_real_seed_prompts_go_through_every_filter(tmp_path: Path) -> None:
    settings = EvolveSettings(
        seeds=(data_set("seed_prompts") / "vicuna_question.jsonl",),
        out=tmp_path / "out",
        benchmarks=(data_set("ifeval"), data_set("followbench"), data_set("llmbar")),
        drop_leaks=True,
    )
    with FaultyUpstream(say=lambda call: grow(call.messages[0]["content"])).serving() as upstream:
        pipeline = EvolvePipeline(settings)
        work = pipeline.prepare()
        async with open_backend("strong", urls=[upstream.url]) as backend:
            rows = await pipeline.request(work, backend, Policy(in_flight=16), lambda progress: None)
    prompts = pipeline.finish(work, rows, "strong")
    removed = Counter((row["stage"], row["reason"]) for row in pipeline.funnel.removed)
    # Nine of its ten guesses at numbers are in one and the same form; six of its questions are in the benchmarks.
    assert removed == {("seeds: diversity", "too similar"): 9, ("seeds: benchmarks", "in a benchmark"): 6}
    assert len(prompts) == 80 - 9 - 6
