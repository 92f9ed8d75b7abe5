"""SPaR's data stages: useless models, malformed prompts and a full disk."""

from __future__ import annotations

import json
import resource
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from spar_core.backends.scripted import Script
from spar_core.errors import DataError
from spar_core.types import Completion, Message, Sampling, Usage
from spar_training.data.negatives import JudgedItem
from spar_training.data.prompts import read_prompts
from spar_training.data.search_results import Searched
from spar_training.methods.spar import Spar
from spar_training.runs.folder import Iteration
from spar_training.runs.recipe import Recipe
from spar_training.storage.files import write_rows
from tests.support.pairs import refiner_script
from tests.support.scripted_stages import ScriptedExecutor

PROMPTS = [{"id": f"p{n}", "messages": [{"role": "user", "content": f"Say {n}."}]} for n in range(6)]
ASKED = {"id": "x", "messages": [{"role": "user", "content": "Say so."}]}
CHECK = "punctuation:no_comma"


class Collected(NamedTuple):
    judged: list[JudgedItem]
    searches: list[Searched]


def draft(messages: Sequence[Message], sampling: Sampling) -> str:
    return "" if "Say 3" in messages[-1].text else "a plain draft " * 50


def silent(messages: Sequence[Message], sampling: Sampling) -> str:
    return "I like this response."


async def collected(folder: Path, executor: ScriptedExecutor, prompts: Sequence[object] = PROMPTS) -> Collected:
    write_rows(folder / "prompts.jsonl", prompts)  # type: ignore[arg-type]
    recipe = Recipe.model_validate(
        {
            "name": "r",
            "templates": "compact",
            "in_flight": 1,
            "sample": {"responses": 2},
            "judge": {"votes": 3},
            "prompts": {"source": "file", "file": str(folder / "prompts.jsonl"), "per_iteration": len(PROMPTS)},
        }
    )

    iteration = Iteration(1, folder / "iteration-1")
    await executor.run_stages(recipe, iteration)
    method = Spar(recipe)
    return Collected(method.judged(iteration), method.searches(iteration))


def steps(folder: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads((folder / "iteration-1" / "steps.json").read_text())
    return found


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """A full disk as a process sees it: writes fail after so many bytes of a file."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_empty_responses_are_counted_and_not_judged(tmp_path: Path) -> None:
    found = await collected(tmp_path, ScriptedExecutor(draft, refiner_script))
    assert steps(tmp_path)["sample"]["empty_or_cut_off"] == 2
    assert [item.responses for item in found.judged if item.id == "p3"] == [(None, None)]
    assert steps(tmp_path)["judge"]["judgements"] == 10
    assert len(found.searches) == 5


async def test_a_model_stays_served_for_all_stages_in_a_row_that_call_it(tmp_path: Path) -> None:
    executor = ScriptedExecutor(draft, refiner_script)
    await collected(tmp_path, executor)
    assert executor.opened == ["actor", "refiner"]
    # Everything is finished, so no model is served again.
    await collected(tmp_path, executor)
    assert executor.opened == ["actor", "refiner"]


async def test_the_error_for_votes_without_verdicts_quotes_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none of the refiner's 30 votes has a verdict; .*I like this response"):
        await collected(tmp_path, ScriptedExecutor(draft, silent))
    assert "judge" not in steps(tmp_path)


async def test_responses_judged_without_a_verdict_are_judged_again_once_the_refiner_is_fixed(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"iteration-1/judgements\.useless\.jsonl: none of"):
        await collected(tmp_path, ScriptedExecutor(draft, silent))
    fixed = ScriptedExecutor(draft, refiner_script)
    assert (await collected(tmp_path, fixed)).searches
    assert not any(call.startswith("sample") for call in fixed.calls)


@pytest.mark.parametrize(
    ("draft_of", "error"),
    [
        (lambda messages, sampling: " ", "none of the actor's 12 answers can be used: 0 were cut off.* 12 are empty"),
        (
            lambda messages, sampling: Completion("The", "length", Usage()),
            "12 were cut off .*is 2048.* 0 are",
        ),
    ],
)
async def test_an_actor_without_a_usable_answer_is_an_error_before_the_refiner_is_called(
    draft_of: Script, error: str, tmp_path: Path
) -> None:
    executor = ScriptedExecutor(draft_of, refiner_script)
    with pytest.raises(DataError, match=error):
        await collected(tmp_path, executor)
    assert not any(call.startswith("judge") for call in executor.calls)
    assert "sample" not in steps(tmp_path)
    assert (await collected(tmp_path, ScriptedExecutor(draft, refiner_script))).searches


@pytest.mark.parametrize(
    ("row", "error"),
    [
        ({"id": "x"}, r"prompts\.jsonl, line 7: lacks messages"),
        ({"id": "x", "messages": []}, r"line 7 \('x'\): messages: must be a non-empty list"),
        ({"id": "p1", "messages": [{"role": "user", "content": "Hi"}]}, r"line 7: id 'p1' is already used in line 2"),
        ({"id": "x", "messages": [{"role": "user", "content": " "}]}, r"messages\[0\]\.content: must not be empty"),
        ({"id": "x", "messages": [{"role": "assistant", "content": "a"}]}, "the last one must be the user's"),
        ({"id": "x", "messages": [{"role": "usr", "content": "a"}]}, r"messages\[0\]\.role: must be system, .*'usr'"),
        ({"id": "x", "messages": [{"role": ["user"], "content": "a"}]}, r"messages\[0\]\.role: must be system, user"),
        ({**ASKED, "checks": 5}, "line 7 .*checks: must be a list"),
        ({**ASKED, "checks": [5]}, r"checks\[0\]: must be an object"),
        ({**ASKED, "checks": [{"id": CHECK}]}, r"checks\[0\]\.kwargs: must be an object"),
        ({**ASKED, "checks": [{"id": CHECK, "kwargs": []}]}, r"checks\[0\]\.kwargs: must be an object"),
        ({**ASKED, "checks": [{"id": "length", "kwargs": {}}]}, "checks: there is no check 'length'"),
        ({**ASKED, "checks": [{"id": CHECK, "kwargs": {"of": 1}}]}, "checks: punctuation.* has no kwarg 'of'"),
    ],
)
async def test_a_malformed_prompt_is_named_before_any_model_is_called(
    row: dict[str, object], error: str, tmp_path: Path
) -> None:
    executor = ScriptedExecutor(draft, refiner_script)
    with pytest.raises(DataError, match=error):
        await collected(tmp_path, executor, prompts=[*PROMPTS, row])
    assert executor.calls == []


def test_line_numbers_count_empty_lines(tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text('\n\n{"id": "x", "messages": []}\n')
    with pytest.raises(DataError, match=r"p\.jsonl, line 3 "):
        read_prompts(tmp_path / "p.jsonl")


def test_checks_may_be_null(tmp_path: Path) -> None:
    write_rows(tmp_path / "p.jsonl", [{**ASKED, "checks": None}])
    assert read_prompts(tmp_path / "p.jsonl")[0].checks == ()


async def test_a_full_disk_loses_nothing_and_the_run_resumes_once_there_is_room(tmp_path: Path) -> None:
    executor = ScriptedExecutor(draft, refiner_script)
    # Room for the samples of some prompts and not of all.
    with files_of_at_most(6000), pytest.raises(DataError, match=r"samples\.jsonl\.journal: cannot be written"):
        await collected(tmp_path, executor)
    journal = (tmp_path / "iteration-1" / "samples.jsonl.journal").read_text()
    kept = [json.loads(line)["id"] for line in journal.splitlines()]
    assert 0 < len(kept) < len(PROMPTS)
    executor.calls.clear()
    await collected(tmp_path, executor)
    again = {call.split()[1] for call in executor.calls if call.startswith("sample")}
    assert again == {prompt["id"] for prompt in PROMPTS} - {*kept}
    await collected(tmp_path / "whole", ScriptedExecutor(draft, refiner_script))
    for name in ("samples", "judgements", "searches"):
        file = f"iteration-1/{name}.jsonl"
        assert (tmp_path / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()


async def test_the_journal_stays_if_the_output_file_does_not_fit(tmp_path: Path) -> None:
    executor = ScriptedExecutor(draft, refiner_script)
    whole = await collected(tmp_path / "whole", executor)
    size = (tmp_path / "whole/iteration-1/samples.jsonl").stat().st_size
    assert whole.judged
    # The journal fits, and on a disk that is nearly full its copy does not.
    journal = tmp_path / "iteration-1" / "samples.jsonl.journal"
    with files_of_at_most(size - 10), pytest.raises(DataError, match="samples"):
        await collected(tmp_path, executor)
    assert journal.exists()
    assert not (tmp_path / "iteration-1" / "samples.jsonl").exists()


@pytest.mark.parametrize(("settings", "kinds"), [({}, ["refined"]), ({"sampled_pairs": True}, ["refined", "sampled"])])
async def test_prompts_with_both_verdicts_make_sampled_pairs_if_asked_for(
    tmp_path: Path, settings: dict[str, bool], kinds: list[str]
) -> None:
    write_rows(tmp_path / "prompts.jsonl", PROMPTS[:1])
    recipe = Recipe.model_validate(
        {
            "name": "r",
            "templates": "compact",
            "in_flight": 1,
            "method": {"kind": "spar", **settings},
            "sample": {"responses": 2},
            "judge": {"votes": 1},
            "prompts": {"source": "file", "file": str(tmp_path / "prompts.jsonl"), "per_iteration": 1},
        }
    )
    drafts = iter(("better answer", "a plain draft"))
    iteration = Iteration(1, tmp_path / "iteration-1")
    await ScriptedExecutor(lambda messages, sampling: next(drafts), refiner_script).run_stages(recipe, iteration)
    pairs = Spar(recipe).training_data(iteration).rows["actor"]
    assert [pair["provenance"]["kind"] for pair in pairs] == kinds
    assert {(pair["chosen"][0]["content"], pair["rejected"][0]["content"]) for pair in pairs} == {
        ("better answer", "a plain draft")
    }
