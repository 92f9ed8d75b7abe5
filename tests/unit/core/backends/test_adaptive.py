"""A long job's calls to an upstream with a lower concurrency limit."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from spar_core.backends.pool import PoolBackend
from spar_core.backends.scripted import ScriptedBackend
from spar_core.backends.wrappers.adaptive import AdaptiveBackend
from spar_core.errors import BackendOverloaded
from spar_core.types import Completion, Message, Sampling

ASKED = [Message("user", "Hello.")]


class Limited(ScriptedBackend):
    """Refuses more than `most` calls at once."""

    most = 8
    refused = 0

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        if self.running >= self.most:
            self.refused += 1
            raise BackendOverloaded("upstream answered 429: slower", status=429, retry_after=0.01)
        return await super().complete(messages, sampling)

    async def alive(self) -> bool:
        return True


def patient(upstream: Limited, **options: float) -> AdaptiveBackend:
    return AdaptiveBackend(PoolBackend([upstream]), in_flight=64, **options)  # type: ignore[arg-type, list-item]


async def test_every_call_is_answered_and_most_are_sent_once() -> None:
    upstream = Limited(lambda m, s: "yes", latency_s=0.01)
    backend = patient(upstream)
    answers = await asyncio.gather(*(backend.complete(ASKED, Sampling(seed=seed)) for seed in range(400)))
    assert {answer.text for answer in answers} == {"yes"}
    assert upstream.finished == 400
    assert upstream.refused < 200


async def test_an_upstream_that_answers_nothing_exhausts_the_patience() -> None:
    upstream = Limited(lambda m, s: "yes")
    upstream.most = 0
    with pytest.raises(BackendOverloaded, match="slower"):
        await patient(upstream, patience_s=0.05).complete(ASKED, Sampling())


async def test_an_upstream_that_requests_an_hour_is_called_again_after_a_minute() -> None:
    pauses: list[float] = []

    class Quota(Limited):
        async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
            if not pauses:
                raise BackendOverloaded("upstream answered 429: later", status=429, retry_after=3600)
            return await super().complete(messages, sampling)

    async def slept(pause: float) -> None:
        pauses.append(pause)

    backend = AdaptiveBackend(PoolBackend([Quota(lambda m, s: "yes")], sleep=slept), in_flight=1, sleep=slept)  # type: ignore[list-item]
    assert (await backend.complete(ASKED, Sampling())).text == "yes"
    assert max(pauses) == 60
