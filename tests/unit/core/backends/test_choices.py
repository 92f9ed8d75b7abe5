"""Several completions of one chat: in one request if the engine supports it, with the same usage either way."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from spar_core.backends.choices import complete_many
from spar_core.backends.openai import OpenAIBackend
from spar_core.backends.pool import PoolBackend
from spar_core.backends.scripted import ScriptedBackend
from spar_core.budget import Budget
from spar_core.errors import BackendError
from spar_core.judge import Judge
from spar_core.prompts import load_templates
from spar_core.types import Cancelled, Completion, Message, Sampling, Usage
from tests.support.loopback import HELLO, upstream
from tests.support.pooling import ManualClock, Notes
from tests.support.virtual_time import run_in_virtual_time

FIVE = [Sampling(seed=seed) for seed in range(5)]


@dataclass
class Server:
    """Answers with as many choices as it is asked for, `most` of them.

    It refuses more than one when `refuses`, by the status `refusal`, and the next `fails` requests by `failure`.
    """

    most: int = 99
    refuses: str = ""
    refusal: int = 400
    fails: int = 0
    failure: int = 500
    bodies: list[dict[str, Any]] = field(default_factory=list)

    @property
    def counts(self) -> list[int]:
        return [body.get("n", 1) for body in self.bodies]

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.bodies.append(body)
        asked = body.get("n", 1)
        if self.refuses == "everything" or (self.refuses and asked > 1):
            return web.Response(status=self.refusal, text=json.dumps({"error": {"message": "no"}}))
        if self.fails:
            self.fails -= 1
            return web.Response(status=self.failure)
        said = [f"vote {number} of {body['seed']}" for number in range(min(asked, self.most))]
        message = [{"message": {"role": "assistant", "content": text}, "finish_reason": "stop"} for text in said]
        usage = {"prompt_tokens": 7, "completion_tokens": 4 * len(said)}
        return web.json_response({"choices": message, "usage": usage})


def texts(made: Sequence[Completion | BackendError]) -> list[str]:
    return [each.text if isinstance(each, Completion) else type(each).__name__ for each in made]


async def test_several_completions_are_one_request_whose_usage_is_counted_once() -> None:
    server = Server()
    async with upstream(server.answer) as backend:
        made = await complete_many(backend, HELLO, [Sampling(seed=seed, max_tokens=9) for seed in (3, 4, 5)])
    assert texts(made) == ["vote 0 of 3", "vote 1 of 3", "vote 2 of 3"]
    assert [each.usage for each in made if isinstance(each, Completion)] == [Usage(7, 12), Usage(), Usage()]
    assert [(body["n"], body["seed"], body["max_tokens"]) for body in server.bodies] == [(3, 3, 9)]


async def test_a_pool_sends_one_request_too_and_a_single_completion_is_an_ordinary_call() -> None:
    server = Server()
    async with upstream(server.answer) as backend:
        pool = PoolBackend([backend])
        assert len(await complete_many(pool, HELLO, FIVE)) == 5
        assert texts(await complete_many(pool, HELLO, FIVE[:1])) == ["vote 0 of 0"]
    assert server.counts == [5, 1]
    assert "n" not in server.bodies[1]


@pytest.mark.parametrize("pooled", [False, True])
async def test_missing_completions_are_requested_one_by_one_and_so_are_all_later_ones(pooled: bool) -> None:
    server = Server(most=1)
    async with upstream(server.answer) as replica:
        backend: OpenAIBackend | PoolBackend = PoolBackend([replica]) if pooled else replica
        made = await complete_many(backend, HELLO, FIVE)
        assert sorted(texts(made)) == [f"vote 0 of {seed}" for seed in range(5)]
        assert len(await complete_many(backend, HELLO, FIVE)) == 5
    assert server.counts == [5, *[1] * 4, *[1] * 5]


@pytest.mark.parametrize("status", [400, 422, 500, 501, 502])
async def test_a_server_that_refuses_n_gets_single_requests(status: int) -> None:
    server = Server(refuses="several", refusal=status)
    async with upstream(server.answer) as backend:
        assert texts(await complete_many(backend, HELLO, FIVE)) == [f"vote 0 of {seed}" for seed in range(5)]
        await complete_many(backend, HELLO, FIVE)
    assert server.counts == [5, *[1] * 10]


@pytest.mark.parametrize(("status", "error"), [(400, "BackendRejected"), (500, "BackendUnavailable")])
async def test_a_request_that_is_refused_either_way_shows_nothing_about_n(status: int, error: str) -> None:
    server = Server(refuses="everything", refusal=status)
    async with upstream(server.answer) as backend:
        assert set(texts(await complete_many(backend, HELLO, FIVE))) == {error}
        server.refuses = ""
        assert len(await complete_many(backend, HELLO, FIVE)) == 5
    assert server.counts == [5, *[1] * 5, 5]


async def test_a_server_that_fails_on_n_is_neither_retried_by_the_pool_nor_counted_as_failing() -> None:
    server, notes = Server(refuses="several", refusal=500), Notes()
    async with upstream(server.answer) as backend:
        pool = PoolBackend([backend], observer=notes)
        made = await asyncio.gather(*(complete_many(pool, HELLO, FIVE) for _ in range(10)))
        assert all(texts(each) == [f"vote 0 of {seed}" for seed in range(5)] for each in made)
        await complete_many(pool, HELLO, FIVE)
    assert Counter(server.counts) == {5: 10, 1: 55}
    assert Counter(notes.calls) == {(0, "unavailable"): 10, (0, "ok"): 55}
    assert (notes.retries, notes.breakers) == ([], [(0, "closed")])


async def test_a_pool_tries_n_again_after_ten_minutes() -> None:
    server, clock = Server(refuses="several"), ManualClock()
    async with upstream(server.answer) as backend:
        pool = PoolBackend([backend], clock=clock)
        await complete_many(pool, HELLO, FIVE)
        server.refuses = ""
        await clock.advance(599)
        await complete_many(pool, HELLO, FIVE)
        await clock.advance(1)
        await complete_many(pool, HELLO, FIVE)
    assert server.counts == [5, *[1] * 10, 5]


async def test_a_failed_request_for_several_fails_them_all_and_is_retried_as_one() -> None:
    server = Server(fails=1, failure=503)
    async with upstream(server.answer) as backend:
        assert texts(await complete_many(backend, HELLO, FIVE)) == ["BackendOverloaded"] * 5
        assert server.counts == [5]
        server.fails = 1
        assert len(await complete_many(PoolBackend([backend]), HELLO, FIVE)) == 5
    assert server.counts == [5, 5, 5]


def test_engines_without_n_get_concurrent_single_requests() -> None:
    backend = ScriptedBackend(lambda messages, sampling: f"seed {sampling.seed}", latency_s=1.0)
    answers, seconds = run_in_virtual_time(complete_many(backend, HELLO, FIVE))
    assert texts(answers) == [f"seed {seed}" for seed in range(5)]
    assert seconds == pytest.approx(1.0)


async def test_cancelling_aborts_it() -> None:
    aborted = asyncio.Event()
    begun = asyncio.Event()

    async def stuck(request: web.Request) -> web.Response:
        begun.set()
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            aborted.set()
            raise
        return web.Response()

    async with upstream(stuck) as backend:
        task = asyncio.create_task(complete_many(PoolBackend([backend]), HELLO, FIVE))
        await begun.wait()
        task.cancel()
        await asyncio.wait_for(aborted.wait(), 60)
        assert (await asyncio.gather(task, return_exceptions=True))[0].__class__ is asyncio.CancelledError


@pytest.mark.parametrize(("left", "asked", "each"), [(None, 5, 40), (500, 5, 40), (50, 5, 10), (39, 4, 9), (12, 1, 12)])
async def test_the_tokens_that_are_left_are_shared_and_never_overspent(left: int | None, asked: int, each: int) -> None:
    server, budget = Server(), Budget(tokens=left)
    async with upstream(server.answer) as backend:
        made = await budget.complete_many("judge", backend, HELLO, [Sampling(seed=1, max_tokens=40)] * 5)
    assert len(made) == asked
    assert (server.bodies[0].get("n", 1), server.bodies[0]["max_tokens"]) == (asked, each)
    # Each is a call, in one request or not; unused tokens remain for the next one.
    assert (budget.calls["judge"], budget.usage["judge"]) == (asked, Usage(7, 4 * asked))
    if left is not None:
        await budget.complete("judge", ScriptedBackend(lambda messages, sampling: "x " * 999), HELLO, Sampling())
        assert budget.usage["judge"].completion_tokens == left


async def test_finished_calls_are_charged_their_tokens_and_cancelled_ones_their_limit() -> None:
    ended = asyncio.Semaphore(0)

    class SecondNeverEnds(ScriptedBackend):
        async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
            if sampling.seed == 1:
                await asyncio.Event().wait()
            completion = await super().complete(messages, sampling)
            ended.release()
            return completion

    backend, budget = SecondNeverEnds(lambda messages, sampling: "one two three"), Budget(tokens=100)
    task = asyncio.create_task(budget.complete_many("judge", backend, HELLO, FIVE[:3]))
    for _ in range(2):
        await ended.acquire()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert (budget.calls["judge"], budget.usage["judge"].completion_tokens) == (3, 6)
    await budget.complete("judge", ScriptedBackend(lambda messages, sampling: "x " * 999), HELLO, Sampling())
    assert budget.cancelled["judge"] == Cancelled(1, 33)
    assert budget.usage["judge"].completion_tokens + 33 == 100


async def test_a_judgement_is_one_request_for_each_of_its_rounds() -> None:
    verdicts = iter(["Yes", "No", "Yes", "No", "No"])
    counts: list[int] = []

    async def vote(request: web.Request) -> web.Response:
        counts.append((await request.json()).get("n", 1))
        said = [f"Final Judgement: {next(verdicts)}" for _ in range(counts[-1])]
        choices = [{"message": {"content": text}, "finish_reason": "stop"} for text in said]
        return web.json_response({"choices": choices, "usage": {"prompt_tokens": 7, "completion_tokens": 3}})

    async with upstream(vote) as backend:
        judge = Judge(backend=backend, templates=load_templates("compact"))
        budget = Budget()
        judgement = await judge.judge([Message("user", "Write.")], "text", seed=1, budget=budget)
    assert counts == [3, 2]
    assert (judgement.yes, judgement.no, judgement.accepted) == (2, 3, False)
    assert sum((vote.usage for vote in judgement.votes), Usage()) == budget.usage["judge"] == Usage(14, 6)
    assert budget.calls["judge"] == 5
