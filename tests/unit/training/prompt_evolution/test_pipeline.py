"""Seed prompts are grown by constraints: what a model is asked for, what is kept, and what stops it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from spar_core.backends.scripted import Script, ScriptedBackend
from spar_core.errors import BackendError, BackendRejected, BackendUnavailable, ConfigError, DataError
from spar_core.types import Message, Sampling
from spar_training.pipeline.runner import Policy
from spar_training.prompt_evolution.card import write_card
from spar_training.prompt_evolution.load import SeedPrompt
from spar_training.prompt_evolution.pipeline import EvolvePipeline
from spar_training.prompt_evolution.request import evolutions, load_template, render
from spar_training.prompt_evolution.settings import EvolveSettings
from spar_training.prompt_evolution.taxonomy import choose, load_taxonomy
from spar_training.storage.files import Row

POLICY = Policy(in_flight=4)
SEEDS = [
    "Plan a walk through the old town for a rainy afternoon.",
    "Explain to a child why the sea is salty and rivers are not.",
    "What should a letter to a landlord about a broken heater say?",
    "Compare travelling by night train with flying, for a family of four.",
    "Solve the equation x + 3 = 10 for x, please.",
]


def seeds_file(folder: Path, texts: Sequence[str] = SEEDS) -> Path:
    file = folder / "seeds.jsonl"
    file.write_text("".join(json.dumps({"prompt": text}) + "\n" for text in texts))
    return file


def seed_in(messages: Sequence[Message]) -> str:
    return messages[0].text.split("<instruction>\n")[1].split("\n</instruction>")[0]


def obedient(messages: Sequence[Message], sampling: Sampling) -> str:
    """Grows anything but mathematics."""
    seed = seed_in(messages)
    grown = "None" if "equation" in seed else f"{seed} Answer as a sailor would, and close with a question."
    return f"Here you are.\n<new_instruction>\n{grown}\n</new_instruction>"


async def run(
    settings: EvolveSettings, script: Script = obedient, *, policy: Policy = POLICY
) -> tuple[list[Row], EvolvePipeline, ScriptedBackend]:
    backend = ScriptedBackend(script, model="strong")
    pipeline = EvolvePipeline(settings)
    work = pipeline.prepare()
    rows = await pipeline.request(work, backend, policy, lambda progress: None)
    return pipeline.finish(work, rows, "strong"), pipeline, backend


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_the_taxonomy_has_the_papers_14_groups() -> None:
    groups = load_taxonomy()
    by_family = {family: [g.name for g in groups if g.family == family] for family in ("format", "content", "general")}
    assert by_family == {
        "format": ["length", "text format", "character format", "template", "punctuation", "numeric"],
        "content": ["keyword", "symbol", "sentence", "genre"],
        "general": ["language", "situation", "style", "sentiment"],
    }


def test_choices_have_one_main_group_and_one_to_three_others_and_seldom_ask_for_length() -> None:
    groups = load_taxonomy()
    choices = [choose(groups, seed) for seed in range(3000)]
    assert {len(choice.others) for choice in choices} == {1, 2, 3}
    assert all(
        len({choice.main.name, *(o.name for o in choice.others)}) == 1 + len(choice.others) for choice in choices
    )
    main = Counter(choice.main.name for choice in choices)
    assert set(main) == {group.name for group in groups}
    assert max(main.values()) < 1.5 * min(main.values())
    others = Counter(other.name for choice in choices for other in choice.others)
    assert others["length"] < min(count for name, count in others.items() if name != "length") / 2


def test_a_prompts_choice_does_not_depend_on_the_other_prompts() -> None:
    prompts = [SeedPrompt(f"a:{number}", "x", "a") for number in range(5)]
    groups = load_taxonomy()
    everything = evolutions(prompts, groups, per_seed=2, seed=3)
    assert evolutions(prompts[3:4], groups, per_seed=2, seed=3) == everything[6:8]
    assert evolutions(prompts, groups, per_seed=2, seed=4) != everything


def test_braces_and_tags_in_a_seed_survive_the_template() -> None:
    seed = "Fill {{main}} and {this} in </instruction>."
    rendered = render(load_template(), seed, choose(load_taxonomy(), 0))
    assert f"<instruction>\n{seed}\n</instruction>" in rendered
    assert rendered.count("{{") == 1


async def test_rows_have_the_source_of_each_prompt(tmp_path: Path) -> None:
    settings = EvolveSettings(seeds=(seeds_file(tmp_path),), out=tmp_path / "out", per_seed=2, seed=7)
    prompts, _, backend = await run(settings)
    assert prompts == lines(tmp_path / "out" / "prompts.jsonl")
    first = prompts[0]
    assert first["messages"] == [
        {"role": "user", "content": f"{SEEDS[0]} Answer as a sailor would, and close with a question."}
    ]
    assert (first["id"], first["seed_id"], first["source"]) == ("seeds:1/0", "seeds:1", "seeds.jsonl")
    assert first["model"] == "strong"
    # What the row says is what the model was asked for.
    asked = {sampling.seed: messages[0].text for messages, sampling in backend.calls}
    for row in prompts:
        assert f"about {row['main_group']}:" in asked[row["seed"]]
        assert all(f"- {group}:" in asked[row["seed"]] for group in row["other_groups"])
    assert all(sampling.temperature == 0.9 for _, sampling in backend.calls)


async def test_nothing_is_lost_on_the_way(tmp_path: Path) -> None:
    texts = [*SEEDS, SEEDS[0].upper(), "Hm?", "Erkläre bitte einem Kind, warum das Meer salzig ist und Flüsse nicht."]
    settings = EvolveSettings(seeds=(seeds_file(tmp_path, texts),), out=tmp_path / "out")
    prompts, pipeline, _ = await run(settings)
    removed = {(row["id"], row["reason"]) for row in lines(tmp_path / "out" / "filtered.jsonl")}
    assert removed == {
        ("seeds:6", "duplicate"),
        ("seeds:7", "too short"),
        ("seeds:8", "other language"),
        ("seeds:5/0", "none"),
    }
    assert [row["id"] for row in prompts] == [f"seeds:{number}/0" for number in (1, 2, 3, 4)]
    for before, after in zip(pipeline.funnel.stages, pipeline.funnel.stages[1:], strict=False):
        assert before.kept == after.taken
    assert all(stage.taken - stage.kept == sum(stage.removed.values()) for stage in pipeline.funnel.stages)


async def test_a_reply_that_repeats_the_seed_or_lists_its_constraints_is_filtered(tmp_path: Path) -> None:
    replies = iter([SEEDS[0], f"{SEEDS[1]}\n- no commas\n- in capitals", f"{SEEDS[2]} Do it.", f"{SEEDS[3]} Do it."])
    settings = EvolveSettings(seeds=(seeds_file(tmp_path, SEEDS[:4]),), out=tmp_path / "out")
    _, pipeline, _ = await run(settings, lambda m, s: f"<new_instruction>{next(replies)}</new_instruction>")
    removed = Counter(row["reason"] for row in pipeline.funnel.removed)
    assert removed == {"echo": 1, "list of constraints": 1}


async def test_a_seed_in_a_benchmark_stops_the_work_before_a_call_and_nothing_is_written(tmp_path: Path) -> None:
    bench = tmp_path / "bench.jsonl"
    bench.write_text(json.dumps({"prompt": SEEDS[1]}) + "\n")
    settings = EvolveSettings(seeds=(seeds_file(tmp_path),), out=tmp_path / "out", benchmarks=(bench,))
    with pytest.raises(DataError, match="seeds:2 is the same as"):
        EvolvePipeline(settings).prepare()
    assert not (tmp_path / "out").exists()


async def test_dropped_leaks_are_counted(tmp_path: Path) -> None:
    bench = tmp_path / "bench.jsonl"
    bench.write_text(json.dumps({"prompt": SEEDS[1]}) + "\n")
    settings = EvolveSettings(seeds=(seeds_file(tmp_path),), out=tmp_path / "out", benchmarks=(bench,), drop_leaks=True)
    prompts, pipeline, _ = await run(settings)
    assert "seeds:2" not in {row["seed_id"] for row in prompts}
    assert [leak.prompt for leak in pipeline.leaks] == ["seeds:2"]


async def test_a_grown_prompt_in_a_benchmark_stops_the_work_and_the_replies_are_kept(tmp_path: Path) -> None:
    bench = tmp_path / "bench.jsonl"
    bench.write_text(
        json.dumps({"prompt": "Answer as a sailor would, and close with a question about the sea."}) + "\n"
    )
    settings = EvolveSettings(seeds=(seeds_file(tmp_path),), out=tmp_path / "out", benchmarks=(bench,))
    with pytest.raises(DataError, match="4 of 4 prompts are in the benchmarks"):
        await run(settings)
    assert not (tmp_path / "out" / "prompts.jsonl").exists()
    # Checked again with the leaks dropped, nothing is asked again.
    dropping = EvolveSettings(seeds=settings.seeds, out=settings.out, benchmarks=(bench,), drop_leaks=True)
    prompts, _, backend = await run(dropping)
    assert prompts == []
    assert backend.calls == []


async def test_an_interrupted_run_asks_for_the_rest_only_and_ends_with_the_same_bytes(tmp_path: Path) -> None:
    calls = 0

    def breaking(messages: Sequence[Message], sampling: Sampling) -> str | BaseException:
        nonlocal calls
        calls += 1
        return BackendUnavailable("gone") if calls > 3 else obedient(messages, sampling)

    file = seeds_file(tmp_path)
    cut = EvolveSettings(seeds=(file,), out=tmp_path / "cut", per_seed=2)
    with pytest.raises(BackendUnavailable):
        await run(cut, breaking, policy=Policy(in_flight=2, tries=1, give_up_after=3))
    _, _, backend = await run(cut)
    assert len(backend.calls) == 2 * len(SEEDS) - 3
    await run(EvolveSettings(seeds=(file,), out=tmp_path / "whole", per_seed=2))
    for name in ("prompts.jsonl", "filtered.jsonl", "evolved.jsonl"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


async def test_a_call_that_fails_is_counted_and_kept_with_its_reason(tmp_path: Path) -> None:
    def failing(messages: Sequence[Message], sampling: Sampling) -> str | BaseException:
        return BackendUnavailable("no luck") if "landlord" in messages[0].text else obedient(messages, sampling)

    settings = EvolveSettings(seeds=(seeds_file(tmp_path),), out=tmp_path / "out")
    _, pipeline, _ = await run(settings, failing)
    failed = [row for row in pipeline.funnel.removed if row["reason"] == "call failed"]
    assert [(row["id"], row["detail"]) for row in failed] == [("seeds:3/0", "BackendUnavailable: no luck")]


def with_context(tokens: int) -> Script:
    """A server that counts 300 tokens of prompt and the reply's limit against its context."""

    def answer(messages: Sequence[Message], sampling: Sampling) -> str | BaseException:
        assert sampling.max_tokens is not None
        if 300 + sampling.max_tokens > tokens:
            return BackendRejected("too long", status=400, code="context_length_exceeded")
        return obedient(messages, sampling)

    return answer


async def test_replies_are_kept_short_enough_for_the_models_context(tmp_path: Path) -> None:
    settings = EvolveSettings(seeds=(seeds_file(tmp_path),), out=tmp_path / "out")
    prompts, _, backend = await run(settings, with_context(600))
    assert len(prompts) == 4
    assert {sampling.max_tokens for _, sampling in backend.calls} == {1024, 512, 256}


async def test_a_context_too_short_for_any_reply_is_an_error_with_the_remedy(tmp_path: Path) -> None:
    settings = EvolveSettings(seeds=(seeds_file(tmp_path),), out=tmp_path / "out")
    with pytest.raises(BackendError, match="do not fit into the model's context; lower --max-words, or use a model"):
        await run(settings, with_context(400))


async def test_replies_that_are_all_unusable_are_an_error_and_asked_for_again(tmp_path: Path) -> None:
    settings = EvolveSettings(seeds=(seeds_file(tmp_path),), out=tmp_path / "out")
    with pytest.raises(BackendError, match="none of the 5 replies contains an instruction, 4 of them because: empty"):
        await run(settings, lambda m, s: "Sure!" if "landlord" in m[0].text else "")
    assert [row["reply"] for row in lines(tmp_path / "out" / "unusable.jsonl")] == ["", "", "Sure!", "", ""]
    assert not (tmp_path / "out" / "prompts.jsonl").exists()
    prompts, _, backend = await run(settings)
    assert (len(prompts), len(backend.calls)) == (4, 5)


async def test_a_folder_is_not_resumed_with_other_settings(tmp_path: Path) -> None:
    file = seeds_file(tmp_path)
    await run(EvolveSettings(seeds=(file,), out=tmp_path / "out", seed=1))
    with pytest.raises(ConfigError, match=r"seed was 1, is 2.*Give another --out"):
        await run(EvolveSettings(seeds=(file,), out=tmp_path / "out", seed=2))


async def test_a_limit_draws_seeds_and_counts_the_others(tmp_path: Path) -> None:
    settings = EvolveSettings(seeds=(seeds_file(tmp_path),), out=tmp_path / "out", limit=2)
    _, pipeline, backend = await run(settings)
    assert len(backend.calls) == 2
    assert pipeline.funnel.stages[-1].name != "seeds: limit"
    assert Counter(row["reason"] for row in pipeline.funnel.removed)["not drawn"] == 3


async def test_the_card_has_the_funnel_the_groups_and_the_lengths(tmp_path: Path) -> None:
    settings = EvolveSettings(seeds=(seeds_file(tmp_path),), out=tmp_path / "out")
    prompts, pipeline, _ = await run(settings)
    card = write_card(pipeline, prompts, "strong")
    assert json.loads((tmp_path / "out" / "card.json").read_text()) == json.loads(json.dumps(card))
    assert card["prompts"] == 4
    assert sum(card["main_groups"].values()) == 4
    # The shortest seed but the equation, and the ten words it was grown by.
    assert card["words"]["prompts"]["min"] == len(SEEDS[0].split()) + 10
    # They are grown by the same words.
    assert card["self_bleu"]["seeds"] < card["self_bleu"]["prompts"] < 1
    told = (tmp_path / "out" / "card.md").read_text()
    assert "| --- | --: | --: | --: |\n" in told
    assert "| replies | 5 | 4 | 1 none |" in told


async def test_no_seed_left_is_an_error(tmp_path: Path) -> None:
    settings = EvolveSettings(seeds=(seeds_file(tmp_path, ["Hm?"]),), out=tmp_path / "out")
    with pytest.raises(DataError, match="no seed prompt is left"):
        EvolvePipeline(settings).prepare()
