"""The first fine-tuning data: a strong model's answers, judgements and refinements, to serving's own prompts."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from spar_core.backends.scripted import Script, ScriptedBackend, always
from spar_core.errors import BackendError, BackendUnavailable, ConfigError, DataError
from spar_core.judge import Judge
from spar_core.prompts import load_templates
from spar_core.refiner import Refiner, extract_refined
from spar_core.types import Message, Sampling
from spar_training.distill.pipeline import Distilled, DistillPipeline
from spar_training.distill.rows import surplus
from spar_training.distill.settings import DistillSettings
from spar_training.pipeline.runner import Policy, Progress

# Rivers that the drafts get right.
RIGHT = ("Elbe", "Oder")
RIVERS = ("Elbe", "Oder", "Rhine", "Weser", "Ems")


def prompts_file(folder: Path, rivers: Sequence[str] = RIVERS) -> Path:
    file = folder / "prompts.jsonl"
    rows = [
        {"id": river, "messages": [{"role": "user", "content": f"Where does the {river} end?"}]} for river in rivers
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def strong(messages: Sequence[Message], sampling: Sampling) -> str:
    """Answers, judges by the river and refines."""
    if len(messages) == 3:
        return "It lacks the sea.\n[[start]]\nIn the North Sea.\n[[end]]\nHope that helps!"
    if "strict reviewer" in messages[0].text:
        good = any(river in messages[0].text for river in RIGHT)
        return f"1. The sea is named: {good}\nFinal Judgement: {'Yes' if good else 'No'}"
    return "In the sea."


@contextmanager
def silent(name: str) -> Iterator[Callable[[Progress], None]]:
    yield lambda progress: None


async def distill(
    settings: DistillSettings, teacher: Script = strong, drafter: Script | None = None, *, give_up_after: int = 2
) -> tuple[Distilled, ScriptedBackend]:
    backend = ScriptedBackend(teacher, model="strong")
    weak = ScriptedBackend(drafter, model="weak") if drafter else None
    policy = Policy(in_flight=2, tries=1, give_up_after=give_up_after)
    distilling = DistillPipeline(settings, teacher=backend, drafter=weak, policy=policy, show=silent)
    return await distilling.run(), backend


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


async def test_answers_judgements_and_refinements_become_conversations(tmp_path: Path) -> None:
    settings = DistillSettings(prompts=prompts_file(tmp_path), out=tmp_path / "out", seed=5)
    done, _ = await distill(settings)
    assert lines(tmp_path / "out" / "sft_actor.jsonl") == done.actor
    assert lines(tmp_path / "out" / "sft_refiner.jsonl") == done.refiner
    assert done.actor[0] == {
        "id": "Elbe/actor",
        "messages": [
            {"role": "user", "content": "Where does the Elbe end?"},
            {"role": "assistant", "content": "In the sea."},
        ],
        "role": "actor",
        "prompt_id": "Elbe",
        "teacher": "strong",
        "seed": 5,
    }
    assert Counter(row["role"] for row in done.refiner) == {"judge": 5, "refiner": 3}
    assert [row["verdict"] for row in done.refiner if row["role"] == "judge"] == ["Yes", "Yes", "No", "No", "No"]
    refinement = done.refiner[-1]
    assert refinement["id"] == "Ems/draft0/refine"
    # Nothing is learnt from behind the end mark.
    assert refinement["messages"][-1]["content"] == "It lacks the sea.\n[[start]]\nIn the North Sea.\n[[end]]"
    assert extract_refined(refinement["messages"][-1]["content"]).text == "In the North Sea."


@pytest.mark.parametrize("name", ["default", "compact"])
async def test_training_prompts_are_byte_for_byte_what_serving_sends(tmp_path: Path, name: str) -> None:
    conversation = [
        {"role": "system", "content": "Be {brief}."},
        {"role": "user", "content": "Where does the {{response}} Rhine end?\n\n"},
        {"role": "assistant", "content": "In the sea."},
        {"role": "user", "content": "Which?  "},
    ]
    draft = "Final Judgement: Yes [[start]] {{instruction}}\n"
    file = tmp_path / "prompts.jsonl"
    file.write_text(json.dumps({"id": "it", "messages": conversation}) + "\n")

    def teacher(messages: Sequence[Message], sampling: Sampling) -> str:
        if messages[-1].content == conversation[-1]["content"]:
            return draft
        refines = len(messages) == 3
        return "[[start]]\nThe North Sea.\n[[end]]" if refines else "No sea.\nFinal Judgement: No"

    settings = DistillSettings(prompts=file, out=tmp_path / "out", templates=name)
    done, _ = await distill(settings, teacher)
    judged, refined = done.refiner

    served = ScriptedBackend(always("No sea.\nFinal Judgement: No"))
    templates = load_templates(name)
    turns = [Message(turn["role"], turn["content"]) for turn in conversation]
    judgement = await Judge(backend=served, templates=templates, votes=1).judge(turns, draft)
    assert judgement.critique is not None
    await Refiner(backend=served, templates=templates).refine(turns, draft, judgement.critique)
    sent = [[message.to_openai() for message in messages] for messages, _ in served.calls]
    assert [judged["messages"][:-1], refined["messages"][:-1]] == sent
    assert judged["messages"][-1]["content"] == judgement.critique
    assert done.actor[0]["messages"][:-1] == conversation


async def test_the_drafts_of_another_model_are_judged_and_the_strong_models_answers_learnt(tmp_path: Path) -> None:
    settings = DistillSettings(prompts=prompts_file(tmp_path), out=tmp_path / "out", drafts=2)
    done, _ = await distill(settings, drafter=lambda messages, sampling: f"Weakly, {sampling.seed}.")
    assert {row["messages"][-1]["content"] for row in done.actor} == {"In the sea."}
    judged = [row for row in done.refiner if row["role"] == "judge"]
    assert len({row["messages"][0]["content"] for row in judged}) == 10
    assert all("Weakly, " in row["messages"][0]["content"] for row in judged)
    assert {row["drafted_by"] for row in judged} == {"weak"}


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("Better is:\n[[start]]\nIn the North Sea.", "no refined text in it: no_end"),
        ("In the North Sea.", "no refined text in it: no_start"),
        ("[[start]]\n\n[[end]]", "no refined text in it: empty"),
        ("[[start]]\nIn the sea.\n[[end]]", "unchanged"),
        (" \n", "empty"),
    ],
)
async def test_a_refinement_that_cannot_be_read_is_set_aside(tmp_path: Path, reply: str, reason: str) -> None:
    def teacher(messages: Sequence[Message], sampling: Sampling) -> str:
        return reply if len(messages) == 3 else strong(messages, sampling)

    settings = DistillSettings(prompts=prompts_file(tmp_path), out=tmp_path / "out")
    done, _ = await distill(settings, teacher, give_up_after=4)
    assert Counter(row["role"] for row in done.refiner) == {"judge": 5}
    assert Counter((row["pass"], row["reason"]) for row in done.set_aside) == {("refinements", reason): 3}
    assert lines(tmp_path / "out" / "set_aside.jsonl") == done.set_aside


async def test_a_judgement_without_a_verdict_and_an_answer_cut_off_are_set_aside(tmp_path: Path) -> None:
    def teacher(messages: Sequence[Message], sampling: Sampling) -> str:
        if "Rhine" in messages[0].text and "strict reviewer" in messages[0].text:
            return "Hard to say."
        return "word " * 20 if messages[0].text == "Where does the Ems end?" else strong(messages, sampling)

    settings = DistillSettings(prompts=prompts_file(tmp_path), out=tmp_path / "out", answering=Sampling(max_tokens=10))
    done, _ = await distill(settings, teacher)
    assert {(row["id"], row["pass"], row["reason"]) for row in done.set_aside} == {
        ("Ems", "answers", "cut off at 10 tokens"),
        ("Rhine/draft0", "judgements", "no readable verdict"),
    }
    assert [row["prompt_id"] for row in done.actor] == ["Elbe", "Oder", "Rhine", "Weser"]


@pytest.mark.parametrize(
    ("broken", "message", "kept"),
    [
        ("answer", "none of the 5 answers can be used, 4 of them because: empty", 0),
        ("judgement", "none of the 5 judgements can be used, 5 of them because: no readable verdict", 5),
        ("refinement", "none of the 3 refinements can be used, 3 of them because: empty", 10),
    ],
)
async def test_a_pass_of_unusable_replies_only_is_an_error_and_made_anew(
    tmp_path: Path, broken: str, message: str, kept: int
) -> None:
    def teacher(messages: Sequence[Message], sampling: Sampling) -> str:
        if broken == "answer":
            return "word " * 20 if "Ems" in messages[0].text else ""
        if broken == "refinement":
            return "" if len(messages) == 3 else strong(messages, sampling)
        if "strict reviewer" in messages[0].text:
            return "Hard to say."
        return strong(messages, sampling)

    settings = DistillSettings(prompts=prompts_file(tmp_path), out=tmp_path / "out", answering=Sampling(max_tokens=10))
    with pytest.raises(BackendError, match=f"{message}; fix the upstream and run again"):
        await distill(settings, teacher)
    assert not (tmp_path / "out" / "sft_actor.jsonl").exists()
    done, backend = await distill(settings)
    assert len(done.actor) == 5
    assert len(backend.calls) == 5 + 5 + 3 - kept


async def test_verdicts_are_balanced_when_asked_for(tmp_path: Path) -> None:
    rivers = [*RIVERS, "Spree", "Havel", "Saale"]
    settings = DistillSettings(prompts=prompts_file(tmp_path, rivers), out=tmp_path / "out", balance=1.5)
    done, _ = await distill(settings)
    assert Counter(row["verdict"] for row in done.refiner if row["role"] == "judge") == {"Yes": 2, "No": 3}
    assert Counter(row["pass"] for row in done.set_aside) == {"balance": 3}
    # A refinement is learnt from, whether its judgement is or not.
    assert Counter(row["role"] for row in done.refiner)["refiner"] == 6


def test_the_surplus_is_the_same_for_a_seed_and_never_of_the_rarer_verdict() -> None:
    rows = [{"id": str(number), "verdict": "No" if number < 4 else "Yes"} for number in range(20)]
    assert surplus(rows, 2.0, seed=1) == surplus(rows, 2.0, seed=1) != surplus(rows, 2.0, seed=2)
    assert len(surplus(rows, 2.0, seed=1)) == 8
    assert all(int(name) >= 4 for name in surplus(rows, 2.0, seed=1))
    assert surplus(rows, 4.0, seed=1) == set()
    assert len(surplus(rows[4:], 1.0, seed=1)) == 16


async def test_an_interrupted_distillation_resumes_in_any_pass_with_the_same_bytes(tmp_path: Path) -> None:
    settings = DistillSettings(prompts=prompts_file(tmp_path), out=tmp_path / "cut")
    whole = DistillSettings(prompts=settings.prompts, out=tmp_path / "whole")
    calls = 0

    def breaking_after(most: int) -> Script:
        def script(messages: Sequence[Message], sampling: Sampling) -> str | BaseException:
            nonlocal calls
            calls += 1
            return BackendUnavailable("gone") if calls > most else strong(messages, sampling)

        return script

    spent = 0
    for most in (2, 5, 4):
        calls = 0
        with pytest.raises(BackendUnavailable):
            await distill(settings, breaking_after(most))
        spent += most
    _, backend = await distill(settings)
    assert spent + len(backend.calls) == 5 + 5 + 3
    await distill(whole)
    for name in ("sft_actor.jsonl", "sft_refiner.jsonl", "set_aside.jsonl"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


async def test_a_folder_of_other_work_is_not_resumed(tmp_path: Path) -> None:
    file = prompts_file(tmp_path)
    await distill(DistillSettings(prompts=file, out=tmp_path / "out"))
    with pytest.raises(ConfigError, match="templates was"):
        await distill(DistillSettings(prompts=file, out=tmp_path / "out", templates="compact"))
    prompts_file(tmp_path, RIVERS[:2])
    with pytest.raises(ConfigError, match="prompts was"):
        await distill(DistillSettings(prompts=file, out=tmp_path / "out"))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ('{"id": 1, "prompt": "a"}\n{"id": 1, "prompt": "b"}', "row 2: an earlier row has the id '1'"),
        ('{"messages": [{"role": "assistant", "content": "hi"}]}', r"prompts\.jsonl, row 1: messages: the last one"),
        ('{"messages": [{"role": 5, "content": "hi"}]}', r"row 1: messages\[0\]\.role: must be"),
        ('{"messages": [{"role": "user", "content": {"a": 1}}]}', r"row 1: messages\[0\]\.content: must be text"),
        ('{"messages": [{"role": "user"}]}', r"row 1: messages\[0\]\.content: must be text"),
        ('{"id": 1, "prompt": " "}', "row 1: has no prompt"),
        ('{"prompt": [{"role": "user", "content": [{"type": "image_url"}]}]}', "row 1: has no prompt"),
        ('{"id": 1}', "row 1: has no prompt"),
        ("", "has no prompts"),
    ],
)
async def test_prompts_that_cannot_be_used_are_errors(tmp_path: Path, rows: str, message: str) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text(rows)
    with pytest.raises(DataError, match=message):
        await distill(DistillSettings(prompts=file, out=tmp_path / "out"))


async def test_the_card_counts_rows_reasons_and_tokens(tmp_path: Path) -> None:
    await distill(DistillSettings(prompts=prompts_file(tmp_path), out=tmp_path / "out"))
    card = json.loads((tmp_path / "out" / "card.json").read_text())
    assert card["rows"] == {"actor": 5, "judge": 5, "refiner": 3}
    assert card["verdicts"] == {"Yes": 2, "No": 3}
    assert card["generated_tokens"]["answers"] == 15
    assert (card["teacher"], card["drafted_by"], card["templates"]) == ("strong", "strong", "default")
