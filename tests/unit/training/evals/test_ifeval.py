"""IFEval: the four accuracies, from a model over HTTP and from a file, and agreement with IFEval's own checker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from spar_core.backends.scripted import ScriptedBackend
from spar_core.errors import BackendRejected, ConfigError, DataError
from spar_core.types import Message, Sampling
from spar_server.cli import main
from spar_training.evals.ifeval import scoring
from spar_training.evals.ifeval.command import run
from spar_training.evals.subject import Subject
from spar_training.reports.result import read_result
from tests.support.benchmark_data import REAL, knowing, needs_real_data, write_ifeval, write_lines
from tests.support.pairs import scripted_pair

Serving = Callable[..., AbstractContextManager[str]]
PROMPTS = ("No comma about rain.", "Two words or more, with a lamp.", "A title for a poem.")
# The first has a comma in its first line only, so it follows its instruction loosely but not strictly.
ANSWERS = {"rain": "Sure, here it is:\nIt rains.", "lamp": "lamp", "poem": "<<Rain>>\nIt rains."}


def test_four_accuracies_and_their_mean(tmp_path: Path) -> None:
    write_ifeval(tmp_path)
    prompts = scoring.read_prompts(tmp_path / scoring.FILE)
    answers = dict(zip((prompt.key for prompt in prompts), ANSWERS.values(), strict=True))
    found = scoring.figures(scoring.score(prompts, answers))
    assert {name: round(value.mean, 4) for name, value in found.items()} == {
        "prompt_strict": round(1 / 3, 4),
        "instruction_strict": 0.5,
        "prompt_loose": round(2 / 3, 4),
        "instruction_loose": 0.75,
        "mean": round((1 / 3 + 1 / 2 + 2 / 3 + 3 / 4) / 4, 4),
    }
    assert all(value.low <= value.mean <= value.high for value in found.values())
    assert (found["prompt_strict"].n, found["instruction_strict"].n) == (3, 4)


def test_a_model_behind_a_server_is_queried_and_scored(tmp_path: Path, serving: Serving) -> None:
    write_ifeval(tmp_path)
    with serving(scripted_pair(actor=knowing(ANSWERS))) as url:
        subject = Subject(
            model="pair", urls=(f"{url}/v1",), sampling=Sampling(temperature=0, extra={"refine_budget": 0})
        )
        run(subject=subject, responses=None, data=tmp_path, prompts=None, limit=None, out=tmp_path / "out")
    result = read_result(tmp_path / "out" / "result.json")
    assert [item["strict"] for item in result.items] == [[False], [False, True], [True]]
    version = {"version": result.versions["spar-server"], "pair": {"name": "pair"}}
    assert result.models["model"]["server"] == version
    assert result.config["sampling"] == {"temperature": 0, "top_p": 1.0, "extra": {"refine_budget": 0}}
    assert "keywords:existence" in (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert (tmp_path / "out" / "report.html").exists()


def test_a_file_of_responses_needs_no_model(tmp_path: Path) -> None:
    write_ifeval(tmp_path / "data")
    rows = [{"prompt": p, "response": r} for p, r in zip(PROMPTS, ANSWERS.values(), strict=True)]
    write_lines(tmp_path / "responses.jsonl", rows[:2])
    command = [sys.executable, "-m", "spar_server.cli", "eval", "ifeval", "--responses", "responses.jsonl"]
    done = subprocess.run(
        [*command, "--data", "data", "--out", "out"],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120,
        env={**os.environ, "COLUMNS": "120", "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "mean of the four" in done.stdout
    # A missing response is reported, and follows nothing.
    assert "1 prompts have no response" in done.stdout
    assert json.loads((tmp_path / "out" / "result.json").read_text())["figures"]["prompt_strict"]["mean"] == 0


def test_a_folder_holds_one_evaluation(tmp_path: Path) -> None:
    write_ifeval(tmp_path)
    write_lines(tmp_path / "r.jsonl", [])
    write_lines(tmp_path / "s.jsonl", [])

    def score(responses: str) -> None:
        file = tmp_path / responses
        run(subject=None, responses=file, data=tmp_path, prompts=None, limit=None, out=tmp_path / "out")

    score("r.jsonl")
    score("r.jsonl")
    with pytest.raises(ConfigError, match="holds work with other settings: responses was"):
        score("s.jsonl")


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    write_ifeval(tmp_path)
    write_lines(tmp_path / "r.jsonl", [])
    with pytest.raises(ConfigError, match="holds something else"):
        run(subject=None, responses=tmp_path / "r.jsonl", data=tmp_path, prompts=None, limit=None, out=tmp_path)


@pytest.mark.parametrize(
    ("rows", "error"),
    [
        ([{"prompt": "Unknown", "response": ""}], "line 1: the prompt is not one of the benchmark's"),
        ([{"prompt": 7, "response": ""}], "line 1: the prompt is not one of the benchmark's: '7'"),
        ([{"prompt": PROMPTS[0], "response": ""}] * 2, "line 2: a second response"),
        ([{"prompt": PROMPTS[0], "response": 5}], "line 1: response must be text"),
        ([{"prompt": PROMPTS[0]}], "line 1: lacks response"),
    ],
)
def test_malformed_responses_are_refused_with_their_line(
    tmp_path: Path, rows: list[dict[str, object]], error: str
) -> None:
    write_ifeval(tmp_path)
    write_lines(tmp_path / "r.jsonl", rows)
    with pytest.raises(DataError, match=error):
        scoring.read_responses(tmp_path / "r.jsonl", scoring.read_prompts(tmp_path / scoring.FILE))


def test_with_a_limit_the_file_may_hold_responses_to_other_prompts(tmp_path: Path) -> None:
    write_ifeval(tmp_path)
    rows: list[dict[str, object]] = [
        {"prompt": p, "response": r} for p, r in zip(PROMPTS, ANSWERS.values(), strict=True)
    ]
    write_lines(tmp_path / "r.jsonl", [rows[2], {**rows[1], "response": None}, rows[0]])
    run(subject=None, responses=tmp_path / "r.jsonl", data=tmp_path, prompts=None, limit=2, out=tmp_path / "out")
    items = read_result(tmp_path / "out" / "result.json").items
    assert [item["response"] for item in items] == [ANSWERS["rain"], None]


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"instruction_id_list": ["punctuation:no_coma"]}, r"line 1 \(key 7\).*no_comma"),
        ({"instruction_id_list": "punctuation:no_comma"}, "lists of the same length"),
        ({"instruction_id_list": [], "kwargs": []}, "must be non-empty lists"),
        ({"kwargs": None}, "lists of the same length"),
        ({"kwargs": [5]}, "kwargs must be a list of objects"),
        ({"prompt": 9}, "prompt must be text"),
    ],
)
def test_a_malformed_prompt_is_refused_with_its_line(tmp_path: Path, changed: dict[str, object], error: str) -> None:
    row = {"key": 7, "prompt": "x", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}], **changed}
    write_lines(tmp_path / "p.jsonl", [row])
    with pytest.raises(DataError, match=error):
        scoring.read_prompts(tmp_path / "p.jsonl")


@pytest.mark.parametrize(("times", "error"), [(0, "has no prompts"), (2, "line 2: a second prompt with the key 7")])
def test_prompts_must_exist_and_have_unique_keys(tmp_path: Path, times: int, error: str) -> None:
    row = {"key": 7, "prompt": "x", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}
    write_lines(tmp_path / "p.jsonl", [row] * times)
    with pytest.raises(DataError, match=error):
        scoring.read_prompts(tmp_path / "p.jsonl")


def test_missing_options_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPAR_DATA", raising=False)
    responses = tmp_path / "r.jsonl"
    with pytest.raises(ConfigError, match="--data is needed"):
        run(subject=None, responses=responses, data=None, prompts=None, limit=None, out=tmp_path / "out")
    with pytest.raises(ConfigError, match="must be the folder that holds ifeval/input_data"):
        run(subject=None, responses=responses, data=tmp_path, prompts=None, limit=None, out=tmp_path / "out")
    with pytest.raises(ConfigError, match="give either"):
        run(subject=None, responses=None, data=tmp_path, prompts=None, limit=None, out=tmp_path / "out")
    with pytest.raises(ConfigError, match="give its --url"):
        Subject(model="folder", sampling=Sampling(extra={"refine_budget": 2}))


def test_a_refused_prompt_follows_nothing_and_is_reported(tmp_path: Path, serving: Serving) -> None:
    write_ifeval(tmp_path)
    too_long = BackendRejected("upstream answered 400: too long", status=400)

    def short(messages: Sequence[Message], sampling: Sampling) -> str | BaseException:
        return too_long if "lamp" in messages[-1].text else "<<It rains>>"

    with serving(scripted_pair(actor=short)) as url:
        subject = Subject(model="pair", urls=(f"{url}/v1",), sampling=Sampling(temperature=0))
        run(subject=subject, responses=None, data=tmp_path, prompts=None, limit=None, out=tmp_path / "out")
    items = read_result(tmp_path / "out" / "result.json").items
    assert [item["strict"] for item in items] == [[True], [False, False], [True]]
    assert "1 prompts have no response" in (tmp_path / "out" / "report.md").read_text(encoding="utf-8")


def test_if_all_prompts_are_refused_the_reason_is_reported_and_nothing_is_scored(
    tmp_path: Path, serving: Serving
) -> None:
    write_ifeval(tmp_path)
    with serving(scripted_pair(actor=knowing(ANSWERS))) as url:
        wrong = Sampling(temperature=0, extra={"refine": {"brunch": 2}})
        subject = Subject(model="pair", urls=(f"{url}/v1",), sampling=wrong)
        with pytest.raises(BackendRejected, match=r"all 3 items failed.*this value of refine"):
            run(subject=subject, responses=None, data=tmp_path, prompts=None, limit=None, out=tmp_path / "out")
        assert not (tmp_path / "out" / "result.json").exists()
        # With the setting corrected, the folder can be used again.
        right = replace(subject, sampling=Sampling(temperature=0))
        run(subject=right, responses=None, data=tmp_path, prompts=None, limit=None, out=tmp_path / "out")
    assert len(read_result(tmp_path / "out" / "result.json").items) == 3


REFUSED_KEY = "Incorrect API key provided: sk-abc***xyz. You can find your key at https://keys.example."


def test_who_runs_it_reads_why_the_server_refuses_the_key(
    tmp_path: Path, running: Callable[..., AbstractContextManager[str]], capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    write_ifeval(tmp_path)

    async def refuse(request: Request) -> Response:
        return JSONResponse({"error": {"message": REFUSED_KEY, "code": "invalid_api_key"}}, status_code=401)

    with running(Starlette(routes=[Route("/v1/chat/completions", refuse, methods=["POST"])])) as url:
        words = f"eval ifeval --model big --url {url}/v1 --data {tmp_path} --out {tmp_path / 'out'}"
        monkeypatch.setattr(sys, "argv", ["spar", *words.split()])
        with pytest.raises(SystemExit) as ended:
            main()
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert "upstream answered 401: it refuses the key" in said
    assert 'it says "Incorrect API key provided: [key]***xyz. You can find your key at' in said


@needs_real_data
@pytest.mark.filterwarnings("ignore")
def test_the_checks_agree_with_ifevals_own_checker() -> None:
    """A part of the comparison by `spar eval agreement`."""
    from spar_training.evals.agreement import cases, corpus
    from spar_training.evals.agreement.compare import compare
    from spar_training.evals.agreement.reference import open_reference

    instructions = cases.read_instructions(REAL / scoring.FILE)
    written = corpus.real_texts(REAL)[::20]
    some = [
        *cases.constructed_cases(instructions, each=1, seed=1),
        *cases.text_cases("texts", written, instructions, each=1, seed=1),
        *cases.text_cases("damaged", cases.damage_texts(written, seed=1), instructions, each=1, seed=1),
    ]
    with open_reference(REAL) as reference:
        compared = compare(some, reference)
    assert len(compared) > 3000
    assert {one.case.instruction.id for one in compared if one.theirs} == {one.id for one in instructions}
    assert [one for one in compared if not one.agree and not one.randomized] == []


def test_each_prompts_own_checks_are_sent_as_a_client_would_that_knows_them(tmp_path: Path, serving: Serving) -> None:
    write_ifeval(tmp_path)
    pair = scripted_pair(actor=knowing(ANSWERS))
    with serving(pair) as url:
        sampling = Sampling(temperature=0, extra={"refine_budget": 1, "refine": {"algorithm": "dfs"}})
        subject = Subject(model="pair", urls=(f"{url}/v1",), sampling=sampling)
        run(
            subject=subject,
            responses=None,
            data=tmp_path,
            prompts=None,
            limit=None,
            own_checks=True,
            out=tmp_path / "out",
        )
    assert read_result(tmp_path / "out" / "result.json").config["own_checks"] is True
    assert isinstance(pair.refiner, ScriptedBackend)
    asked = [message.text for messages, _ in pair.refiner.calls for message in messages]
    assert any("no commas" in text for text in asked)


def test_own_checks_without_refinement_are_refused(tmp_path: Path) -> None:
    subject = Subject(model="pair", urls=("http://127.0.0.1:9/v1",), sampling=Sampling(temperature=0))
    with pytest.raises(ConfigError, match="--own-checks: needs"):
        run(subject=subject, responses=None, data=tmp_path, prompts=None, limit=None, own_checks=True, out=tmp_path)
