"""The judge as a reward function of TRL's trainers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest

from spar_client.errors import UpstreamError
from spar_client.rewards import JudgeReward
from spar_core.errors import BackendUnavailable
from tests.support.pairs import scripted_pair

Serving = Callable[..., AbstractContextManager[str]]


@pytest.fixture(scope="module")
def url(serving: Serving) -> Iterator[str]:
    with serving(scripted_pair()) as url:
        yield url


def test_a_batch_is_rewarded_in_order(url: str) -> None:
    reward = JudgeReward(url, name="quality")
    assert reward.__name__ == "quality"
    completions = ["bad", "better answer", "worse"]
    assert reward(prompts=["Hi"] * 3, completions=completions, answer=[1, 2, 3]) == [0.0, 1.0, 0.0]


def test_conversations_are_rewarded_too(url: str) -> None:
    prompt, completion = [{"role": "user", "content": "Hi"}], [{"role": "assistant", "content": "better answer"}]
    assert JudgeReward(url)(prompts=[prompt], completions=[completion]) == [1.0]


def test_columns_of_the_data_set_are_the_rubric(url: str) -> None:
    # A data set gives all rows the same keys, and fills them with None.
    checks: list[Any] = [
        [{"id": "punctuation:no_comma", "kwargs": {"keywords": None}}],
        [{"id": "keywords:existence", "kwargs": {"keywords": ["lamp"]}}],
        None,
    ]
    rewards = JudgeReward(url)(prompts=["Hi"] * 3, completions=["better answer"] * 3, checks=checks)
    assert rewards == [1.0, 0.0, 1.0]


def test_an_abstention_is_left_out(serving: Serving) -> None:
    with serving(scripted_pair(refiner=lambda m, s: "Hm.")) as url:
        assert JudgeReward(url)(prompts=["Hi"], completions=["x"]) == [None]


def test_a_judge_that_fails_raises(serving: Serving) -> None:
    with serving(scripted_pair(refiner=lambda m, s: BackendUnavailable("down"))) as url, pytest.raises(UpstreamError):
        JudgeReward(url)(prompts=["Hi"], completions=["x"])
