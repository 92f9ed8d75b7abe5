"""The data stages, each on one item: what is asked for, and what a failed call does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from spar_core.backends.scripted import ScriptedBackend, always
from spar_core.errors import BackendError, BackendUnavailable
from spar_core.types import Message, Sampling
from spar_training.data.prompts import PromptRecord
from spar_training.inference.client import open_backend
from spar_training.stages.judge import JudgeResponses, Judging, SampledItem
from spar_training.stages.sample import Sample
from tests.support.faulty_upstream import FaultyUpstream

PROMPT = PromptRecord("p", (Message("user", "Say hello."),))
SAMPLE = Sample(responses=3, sampling=Sampling(max_tokens=9), seed=1)
JUDGE = JudgeResponses(Judging("holistic", "compact", votes=2, sampling=Sampling(max_tokens=9)), seed=1)
SAMPLED = SampledItem(PROMPT, ("hello", None, "good day", "hello"))


async def test_an_engine_with_one_answer_per_call_gets_one_seed_per_response() -> None:
    backend = ScriptedBackend(always("hello"))
    row = await SAMPLE.work(PROMPT, backend)
    assert [answer["text"] for answer in row["responses"]] == ["hello"] * 3
    assert len({sampling.seed for _, sampling in backend.calls}) == 3


async def test_a_greedy_answer_comes_beside_the_sampled_ones() -> None:
    backend = ScriptedBackend(always("hello"))
    row = await replace(SAMPLE, greedy=True).work(PROMPT, backend)
    assert len(row["responses"]) == 4
    assert [sampling.temperature for _, sampling in backend.calls].count(0) == 1


async def test_a_server_gets_one_request_for_all_responses_to_a_prompt() -> None:
    with FaultyUpstream().serving() as upstream:
        async with open_backend("actor", urls=[upstream.url]) as backend:
            row = await SAMPLE.work(PROMPT, backend)
    assert [call.n for call in upstream.calls] == [3]
    assert [answer["text"] for answer in row["responses"]] == ["one two three four"] * 3


async def test_a_checklist_lets_code_decide_what_it_recognizes_without_a_call() -> None:
    prompt = PromptRecord("p", (Message("user", "Describe a river. Do not use commas."),))
    stage = JudgeResponses(Judging("checklist", "compact", votes=2, sampling=Sampling(max_tokens=9)), seed=1)
    backend = ScriptedBackend(always("Final Judgement: Yes"))
    row = await stage.work(SampledItem(prompt, ("It is long, and cold.", "It is long.")), backend)
    assert list(stage.verdicts(row)) == [False, True]
    assert backend.calls == []


async def test_equal_responses_share_a_judgement_and_unusable_ones_have_none() -> None:
    backend = ScriptedBackend(always("Final Judgement: Yes"))
    row = await JUDGE.work(SAMPLED, backend)
    first, unusable, other, again = row["judgements"]
    assert len(backend.calls) == 2 * JUDGE.judging.votes
    assert unusable is None
    assert first == again
    assert len(other["votes"]) == len(first["votes"]) == JUDGE.judging.votes


@pytest.mark.parametrize(("stage", "item"), [(SAMPLE, PROMPT), (JUDGE, SAMPLED)])
async def test_an_item_fails_with_any_of_its_calls(
    stage: Sample | JudgeResponses, item: PromptRecord | SampledItem
) -> None:
    left = iter(["Final Judgement: Yes"])

    def once(messages: Sequence[Message], sampling: Sampling) -> str | BackendError:
        return next(left, BackendUnavailable("502"))

    with pytest.raises(BackendUnavailable, match="502"):
        await stage.work(item, ScriptedBackend(once))  # type: ignore[arg-type]
