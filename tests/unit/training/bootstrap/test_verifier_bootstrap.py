"""A pair from a base by verifiers: every step resumes; what is trained on is balanced and apart from validation."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from spar_core.backends.base import Backend
from spar_core.backends.scripted import ScriptedBackend
from spar_core.errors import BackendRejected, BackendUnavailable, ConfigError, DataError
from spar_core.prompts import load_templates
from spar_core.types import Message, Sampling
from spar_server.cli.main import app
from spar_training.bootstrap.verifiers.base import base_folder
from spar_training.bootstrap.verifiers.measure import VerifierEval, judge_figures
from spar_training.bootstrap.verifiers.recipe import VerifierRecipe, load_verifier_recipe
from spar_training.bootstrap.verifiers.run import VerifierBootstrap
from spar_training.data.prompts import PromptRecord
from spar_training.prompt_evolution.contamination import read_benchmarks
from spar_training.storage.files import read_rows, write_json, write_rows
from spar_training.trainers.job import Job

TEXT = (
    "It was a cold day, and nobody was about. A man came along the road with a bag. He had walked for a week.\n\n"
    "At the end of the road there was a house. He knocked, and a woman let him in. They talked until morning."
)
SMALL: dict[str, Any] = {
    "name": "small",
    "publication": {"name": "theirs", "base": "somebody/Base", "license": "apache-2.0"},
    "seed": 3,
    "templates": "brief",
    "in_flight": 4,
    "tasks": {"instructions": 0, "own": 60},
    "prompts_each": 3,
    "crossed": 2,
    "answers": {"tasks": 30, "temperature": 0.7, "max_tokens": 200},
    "own_answers": {"tasks": 5, "temperature": 0.7, "max_tokens": 200},
    "rows": {"answers": 80, "refinements": 40},
    "actor": {"learning_rate": 1e-4},
    "refiner": {"learning_rate": 1e-4},
    "validation": {"prompts": 12, "budget": 2, "max_tokens": 200},
}


def answers(messages: Sequence[Message], sampling: Sampling) -> str:
    """What a model says: a story to a request, a verdict to a judge's prompt, a refinement to a refiner's."""
    asked = messages[-1].text
    if asked.startswith("Check whether"):
        return "1. all of it: seen -> yes\nFinal Judgement: Yes"
    if asked.startswith("Improve"):
        return f"To change: this.\n[[start]]\n{TEXT}\n[[end]]"
    return TEXT.replace("morning", f"morning {(sampling.seed or 0) % 7}")


@dataclass
class Models:
    """Stands in for engine and trainer. Fails after `calls` calls, if given."""

    calls: int | None = None
    opened: list[str] = field(default_factory=list)
    trained: list[Job] = field(default_factory=list)

    @asynccontextmanager
    async def open(self, model: Path) -> AsyncIterator[Backend]:
        self.opened.append(model.name)
        yield ScriptedBackend(self._script)

    def _script(self, messages: Sequence[Message], sampling: Sampling) -> str | BaseException:
        if self.calls is not None:
            if not self.calls:
                return BackendUnavailable("gone")
            self.calls -= 1
        return answers(messages, sampling)

    def train(self, job: Job, *, on_progress: Callable[[Any], None]) -> Path:
        if not job.out.exists():
            self.trained.append(job)
            on_progress({"step": 1, "total": 1, "loss": 2.0})
            write_json(job.out / "config.json", {})
        return job.out


def bootstrap(folder: Path, models: Models, **changes: Any) -> VerifierBootstrap:
    return VerifierBootstrap(
        recipe=VerifierRecipe.model_validate({**SMALL, **changes}),
        base=folder.parent / "base",
        folder=folder,
        seeds=(),
        benchmarks=None,
        open_model=models.open,
        print_line=lambda line: None,
        train_model=models.train,
    )


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.name != "lock" and path.is_file()
    }


def test_a_run_makes_a_pair_and_measures_it_against_the_base(tmp_path: Path) -> None:
    models = Models()
    figures = asyncio.run(bootstrap(tmp_path / "run", models).run())
    assert models.opened == ["base", "actor", "base", "actor", "refiner"]
    assert [(job.out.name, job.kind, job.model) for job in models.trained] == [
        ("actor", "sft", str(tmp_path / "base")),
        ("refiner", "sft", str(tmp_path / "base")),
    ]
    assert figures["base"]["answers"].n == figures["pair"]["searched"].n == 12
    # This judge accepts everything.
    assert figures["pair"]["judge_on_bad"].mean == 0
    assert figures["pair"]["verdicts_read"].mean == 1
    assert (tmp_path / "run" / "pair.json").exists()
    assert (tmp_path / "run" / "validation.json").exists()


def test_judgements_are_balanced_and_no_validation_task_is_trained_on(tmp_path: Path) -> None:
    run = bootstrap(tmp_path / "run", Models())
    asyncio.run(run.run())
    rows = list(read_rows(tmp_path / "run" / "data" / "refiner.jsonl"))
    verdicts = [row["verdict"] for row in rows]
    assert verdicts.count(False) == verdicts.count(True) == 40
    assert {row["kind"] for row in rows} == {"judgement", "refinement"}
    trained_on = [row["messages"][0]["content"] for row in rows]
    trained_on += [row["messages"][0]["content"] for row in read_rows(tmp_path / "run" / "data" / "actor.jsonl")]
    held_out = {prompt.task.text for prompt in run.prompts("validation")}
    unused = {row["messages"][0]["content"] for row in read_rows(tmp_path / "run" / "prompts" / "self_play.jsonl")}
    assert held_out
    assert unused
    assert not any(text in one for text in (*held_out, *unused) for one in trained_on)


@pytest.mark.parametrize("calls", [3, 59, 75, 90])
def test_an_interrupted_run_resumes_to_the_same_result(tmp_path: Path, calls: int) -> None:
    whole = bootstrap(tmp_path / "whole", Models())
    asyncio.run(whole.run())
    with pytest.raises(BackendUnavailable):
        asyncio.run(bootstrap(tmp_path / "run", Models(calls)).run())
    models = Models()
    asyncio.run(bootstrap(tmp_path / "run", models).run())
    moved = {name: data.replace(b"/whole/", b"/run/") for name, data in files(tmp_path / "whole").items()}
    assert files(tmp_path / "run") == moved
    again = Models()
    asyncio.run(bootstrap(tmp_path / "run", again).run())
    assert again.trained == []


def test_a_folder_is_not_resumed_with_another_recipe(tmp_path: Path) -> None:
    with pytest.raises(BackendUnavailable):
        asyncio.run(bootstrap(tmp_path / "run", Models(5)).run())
    with pytest.raises(ConfigError, match="crossed was 2, is 1"):
        asyncio.run(bootstrap(tmp_path / "run", Models(), crossed=1).run())


def test_prompts_that_are_in_a_benchmark_are_dropped_and_counted(tmp_path: Path) -> None:
    unchecked = bootstrap(tmp_path / "unchecked", Models())
    said: list[str] = []
    asyncio.run(replace(unchecked, print_line=said.append).run())
    assert "No --benchmark is given: the prompts are not compared with any." in said
    card = json.loads((tmp_path / "unchecked" / "prompts" / "card.json").read_text())
    assert (card["benchmarks"], card["train"]["left_out_in_a_benchmark"]) == ({}, 0)
    # A task, and a constrained prompt whose own task is too short beside its constraints to be close to it.
    train = unchecked.prompts("train")
    leaked = max(train, key=lambda one: len(one.text) - len(one.task.text))
    task = next(one.task for one in train if one.task != leaked.task)
    (tmp_path / "bench").mkdir()
    write_rows(tmp_path / "bench" / "test.jsonl", [{"prompt": leaked.text}, {"prompt": task.text}])
    checked = replace(
        bootstrap(tmp_path / "run", Models()), benchmarks=read_benchmarks([tmp_path / "bench"]), print_line=said.append
    )
    said.clear()
    asyncio.run(checked.run())
    card = json.loads((tmp_path / "run" / "prompts" / "card.json").read_text())
    assert card["benchmarks"] == {"bench/test.jsonl": 2}
    assert card["left_out"]["in a benchmark"] >= 1
    assert card["train"]["left_out_in_a_benchmark"] >= 1
    written = [row["messages"][0]["content"] for row in read_rows(tmp_path / "run" / "prompts" / "train.jsonl")]
    assert len(written) == card["train"]["prompts"]
    assert leaked.text not in written
    assert not any(task.text in text for text in written)
    assert not any(line.startswith("No --benchmark") for line in said)
    with pytest.raises(ConfigError, match=r"benchmarks\.bench/test\.jsonl was 2, is null"):
        asyncio.run(replace(checked, benchmarks=None).run())


def test_an_invalid_training_key_is_reported_before_anything_is_sampled(tmp_path: Path) -> None:
    models = Models()
    with pytest.raises(ConfigError, match=r"refiner: .*rank"):
        asyncio.run(bootstrap(tmp_path / "run", models, refiner={"learning_rate": 1e-4, "rank": 3}).run())
    assert models.opened == []


def test_the_shipped_recipe_is_valid_and_its_trainings_are_jobs(tmp_path: Path) -> None:
    recipe = load_verifier_recipe("smollm2-135m")
    run = bootstrap(tmp_path / "run", Models(), **recipe.model_dump())
    for role in ("actor", "refiner"):
        lora = run.job(role).lora
        assert lora is not None
        assert lora.r == 16


def test_the_number_of_threads_does_not_affect_the_data(tmp_path: Path) -> None:
    run = bootstrap(tmp_path / "run", Models())
    one = replace(run, threads=1)
    assert (run.job("actor").threads, one.job("actor").threads) == (None, 1)
    asyncio.run(run.run())
    asyncio.run(one.run())


def test_a_missing_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere: neither a shipped recipe \(smollm2-135m\) nor a file"):
        load_verifier_recipe("nowhere")


def test_options_for_a_base_are_refused_without_one(tmp_path: Path) -> None:
    told = CliRunner().invoke(app, ["train", "bootstrap", "--out", str(tmp_path), "--seeds", "seeds.jsonl"])
    assert told.exit_code != 0
    assert "--seeds and --benchmark need --base" in str(told.exception or told.output)


@pytest.mark.parametrize("option", ["--seeds", "--benchmark"])
def test_missing_prompts_are_named_before_the_base_is_looked_up(tmp_path: Path, option: str) -> None:
    wrong = ["--base", str(tmp_path), option, str(tmp_path / "typo.jsonl"), "--out", str(tmp_path / "run")]
    told = CliRunner().invoke(app, ["train", "bootstrap", *wrong])
    assert isinstance(told.exception, DataError)
    assert "typo.jsonl: no such file" in str(told.exception)


@pytest.mark.parametrize(
    ("base", "same"),
    [
        ("HuggingFaceTB/SmolLM2-135M-Instruct", True),
        ("smollm2-135m-instruct", True),
        ("SmolLM2-135M-Instruct", True),
        ("SmolLM2-135M-Instruct.Q4_1.gguf", True),
        ("SmolLM2-135M-Instruct-mine", False),
        ("HuggingFaceTB/SmolLM2-360M-Instruct", False),
    ],
)
def test_adapters_are_not_shipped_over_another_base_than_their_recipe_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, base: str, same: bool
) -> None:
    for name in ("SmolLM2-135M-Instruct", "SmolLM2-135M-Instruct-mine"):
        (tmp_path / name).mkdir()
    (tmp_path / "SmolLM2-135M-Instruct.Q4_1.gguf").touch()
    monkeypatch.chdir(tmp_path)
    # A missing file ends the command before it looks for the base.
    words = ["--base", base, "--ship", "pair", "--seeds", "missing.jsonl", "--out", "run"]
    told = CliRunner().invoke(app, ["train", "bootstrap", *words])
    wanted = "missing.jsonl" if same else "smollm2-135m publishes adapters over HuggingFaceTB/SmolLM2-135M-Instruct"
    assert wanted in str(told.exception)


def test_a_base_that_is_not_a_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="neither a model's folder"):
        base_folder(str(tmp_path / "empty"), tmp_path / "out")


def test_a_judgement_without_a_verdict_counts_as_wrong() -> None:
    abstained = {"good": False, "accepted": False, "value": None, "verdicts": [None, None]}
    rejected = {"good": False, "accepted": False, "value": 0.0, "verdicts": [False, None]}
    figures = judge_figures([abstained, rejected])
    assert figures["judge_on_bad"].mean == 0.5
    assert figures["verdicts_read"].mean == 0.25


async def test_an_answer_whose_refinement_failed_counts_as_wrong_in_every_figure(tmp_path: Path) -> None:
    no_commas = ({"id": "punctuation:no_comma", "kwargs": {}},)
    drafts = {"good": "It was cold.", "lost": "Wet, it was.", "bad": "Cold, it was."}

    def refiner(messages: Sequence[Message], sampling: Sampling) -> str | BaseException:
        if messages[-1].text.startswith("Improve"):
            lost = any("Wet" in message.text for message in messages)
            return BackendRejected("too long", status=400) if lost else "[[start]]\nIt was cold.\n[[end]]"
        return f"1. no commas: seen.\nFinal Judgement: {'No' if ', it' in messages[-1].text else 'Yes'}"

    evaluation = VerifierEval(
        folder=tmp_path,
        prompts=[PromptRecord(name, (Message("user", name),), no_commas) for name in drafts],
        templates=load_templates("brief"),
        budget=0,
        max_tokens=50,
        seed=0,
        in_flight=1,
    )
    actor = ScriptedBackend(lambda messages, sampling: drafts[messages[-1].text])
    figures = await evaluation.run(actor, ScriptedBackend(refiner), label="pair")
    found = {name: (one.mean, one.n) for name, one in figures.items()}
    assert (found["judge_on_good"], found["judge_on_bad"], found["refined"]) == ((1, 1), (0.5, 2), (0.5, 2))
    assert (found["judge_balanced"][0], found["verdicts_read"][0]) == (0.75, 2 / 3)
