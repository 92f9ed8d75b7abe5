"""The data stages of an iteration with a refiner that is of no use, and with a disk that is full."""

from __future__ import annotations

import json
import resource
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from spar_core.backends.base import Backend
from spar_core.backends.scripted import Script, ScriptedBackend
from spar_core.errors import DataError
from spar_core.types import Completion, Message, Sampling, Usage
from spar_training.data.prompts import read_prompts
from spar_training.inference.endpoint import ModelPlace
from spar_training.methods.spar import Collected, DataStages
from spar_training.pipeline.runner import Policy, Progress, run_items
from spar_training.pipeline.stage import Role, Stage
from spar_training.runs.folder import Iteration
from spar_training.runs.recipe import Recipe
from spar_training.storage.files import Row, write_rows
from tests.support.pairs import refiner_script

PROMPTS = [{"id": f"p{n}", "messages": [{"role": "user", "content": f"Say {n}."}]} for n in range(6)]
ASKED = {"id": "x", "messages": [{"role": "user", "content": "Say so."}]}
CHECK = "punctuation:no_comma"


class Scripted:
    """An executor whose models are scripts, by role."""

    def __init__(self, actor: Script, refiner: Script) -> None:
        self.models: dict[Role, Backend] = {"actor": ScriptedBackend(actor), "refiner": ScriptedBackend(refiner)}
        self.asked: list[str] = []

    async def run(
        self,
        stage: Stage[Any],
        items: Sequence[Any],
        *,
        model: ModelPlace,
        out: Path,
        policy: Policy,
        tell: Callable[[Progress], None],
    ) -> list[Row]:
        return await run_items(items, partial(self._work, stage), out=out, policy=policy, on_progress=tell)

    async def _work(self, stage: Stage[Any], item: Any) -> dict[str, Any]:
        self.asked.append(f"{stage.name} {item.id}")
        return await stage.work(item, self.models[stage.role])


def draft(messages: Sequence[Message], sampling: Sampling) -> str:
    return "" if "Say 3" in messages[-1].text else "a plain draft " * 50


def silent(messages: Sequence[Message], sampling: Sampling) -> str:
    return "I like this response."


async def collected(
    folder: Path, executor: Scripted, opened: list[Role] | None = None, prompts: Sequence[object] = PROMPTS
) -> Collected:
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

    @asynccontextmanager
    async def of(role: Role) -> AsyncIterator[ModelPlace]:
        (opened if opened is not None else []).append(role)
        yield ModelPlace(role)

    return await DataStages(
        recipe=recipe, iteration=Iteration(1, folder / "iteration-1"), executor=executor, served=of
    ).run()


def steps(folder: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads((folder / "iteration-1" / "steps.json").read_text())
    return found


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """What a disk with no more room is to a process that writes: an error after so many bytes of a file."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_empty_responses_are_counted_and_not_judged(tmp_path: Path) -> None:
    found = await collected(tmp_path, Scripted(draft, refiner_script))
    assert steps(tmp_path)["sample"]["empty_or_cut_off"] == 2
    assert [item.responses for item in found.judged if item.id == "p3"] == [(None, None)]
    assert steps(tmp_path)["judge"]["judgements"] == 10
    assert len(found.searches) == 5


async def test_a_model_stays_served_for_all_stages_in_a_row_that_call_it(tmp_path: Path) -> None:
    opened: list[Role] = []
    await collected(tmp_path, Scripted(draft, refiner_script), opened)
    assert opened == ["actor", "refiner"]
    # All is done: none is served again.
    await collected(tmp_path, Scripted(draft, refiner_script), opened)
    assert opened == ["actor", "refiner"]


async def test_a_refiner_that_never_says_a_verdict_is_named_by_what_it_says(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none of the refiner's 30 votes says a verdict; .*I like this response"):
        await collected(tmp_path, Scripted(draft, silent))
    assert "judge" not in steps(tmp_path)


async def test_what_a_refiner_judged_without_a_verdict_is_judged_again_when_it_is_mended(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"iteration-1/judgements\.useless\.jsonl: none of"):
        await collected(tmp_path, Scripted(draft, silent))
    mended = Scripted(draft, refiner_script)
    assert (await collected(tmp_path, mended)).searches
    assert not any(asked.startswith("sample") for asked in mended.asked)


@pytest.mark.parametrize(
    ("draft_of", "told"),
    [
        (lambda messages, sampling: " ", "none of the actor's 12 answers can be used: 0 were cut off.* 12 are empty"),
        (lambda messages, sampling: Completion("The", "length", Usage()), "12 were cut off.*max_tokens of 2048, 0 are"),
    ],
)
async def test_an_actor_that_gives_no_whole_answer_is_told_before_the_refiner_is_called(
    draft_of: Script, told: str, tmp_path: Path
) -> None:
    executor = Scripted(draft_of, refiner_script)
    with pytest.raises(DataError, match=told):
        await collected(tmp_path, executor)
    assert not any(asked.startswith("judge") for asked in executor.asked)
    assert "sample" not in steps(tmp_path)
    assert (await collected(tmp_path, Scripted(draft, refiner_script))).searches


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"id": "x"}, r"prompts\.jsonl, line 7: lacks messages"),
        ({"id": "x", "messages": []}, r"line 7 \('x'\): messages: must be a list"),
        ({"id": "p1", "messages": [{"role": "user", "content": "Hi"}]}, r"line 7: id 'p1' stands in line 2 too"),
        ({"id": "x", "messages": [{"role": "user", "content": " "}]}, r"messages\[0\]\.content: must be text"),
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
    row: dict[str, object], told: str, tmp_path: Path
) -> None:
    executor = Scripted(draft, refiner_script)
    with pytest.raises(DataError, match=told):
        await collected(tmp_path, executor, prompts=[*PROMPTS, row])
    assert executor.asked == []


def test_a_line_is_counted_with_the_empty_ones_before_it(tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text('\n\n{"id": "x", "messages": []}\n')
    with pytest.raises(DataError, match=r"p\.jsonl, line 3 "):
        read_prompts(tmp_path / "p.jsonl")


def test_no_checks_may_be_written_as_null(tmp_path: Path) -> None:
    write_rows(tmp_path / "p.jsonl", [{**ASKED, "checks": None}])
    assert read_prompts(tmp_path / "p.jsonl")[0].checks == ()


async def test_a_full_disk_loses_nothing_and_the_run_goes_on_when_there_is_room(tmp_path: Path) -> None:
    executor = Scripted(draft, refiner_script)
    # Room for the samples of some prompts and not of all.
    with files_of_at_most(6000), pytest.raises(DataError, match=r"samples\.jsonl\.journal: cannot be written"):
        await collected(tmp_path, executor)
    journal = (tmp_path / "iteration-1" / "samples.jsonl.journal").read_text()
    kept = [json.loads(line)["id"] for line in journal.splitlines()]
    assert 0 < len(kept) < len(PROMPTS)
    executor.asked.clear()
    await collected(tmp_path, executor)
    again = {asked.split()[1] for asked in executor.asked if asked.startswith("sample")}
    assert again == {prompt["id"] for prompt in PROMPTS} - {*kept}
    await collected(tmp_path / "whole", Scripted(draft, refiner_script))
    for name in ("samples", "judgements", "searches"):
        file = f"iteration-1/{name}.jsonl"
        assert (tmp_path / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()


async def test_a_stages_file_that_finds_no_room_leaves_its_journal(tmp_path: Path) -> None:
    executor = Scripted(draft, refiner_script)
    whole = await collected(tmp_path / "whole", executor)
    size = (tmp_path / "whole/iteration-1/samples.jsonl").stat().st_size
    assert whole.judged
    # The journal fits, and on a disk that is nearly full its copy does not.
    journal = tmp_path / "iteration-1" / "samples.jsonl.journal"
    with files_of_at_most(size - 10), pytest.raises(DataError, match="samples"):
        await collected(tmp_path, executor)
    assert journal.exists()
    assert not (tmp_path / "iteration-1" / "samples.jsonl").exists()
