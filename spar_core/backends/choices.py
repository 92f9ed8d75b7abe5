"""Several completions of one chat: in one request where the engine takes that, else in a call for each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol, TypeGuard

from spar_core.backends.base import Backend
from spar_core.errors import BackendError, BackendRejected, BackendUnavailable
from spar_core.types import Completion, Message, Sampling

Finished = Callable[[Completion], None]


class ManyCompletions(Protocol):
    """What a backend has besides whose engine completes one chat several times in one request.

    `supports_n` is whether that is worth trying; who finds out that it is not says so here.
    """

    supports_n: bool

    async def complete_many(self, messages: Sequence[Message], sampling: Sampling, count: int) -> list[Completion]:
        """At most `count` completions, at least one, each by the same sampling and independent of the others.

        Engines count such a request as a whole: its usage, the prompt once, is the first completion's.
        """
        ...


def completes_many(backend: object) -> TypeGuard[ManyCompletions]:
    """Whether it is such a backend."""
    return hasattr(backend, "complete_many")


def may_be_rejecting_n(error: BackendError) -> bool:
    """Whether one call could succeed where a request for several failed so: it was refused, or broke the server.

    Versions of llama.cpp's server answer 500 to `n`. 503 and time-outs tell of load, not of what was asked.
    """
    return isinstance(error, BackendRejected) or (isinstance(error, BackendUnavailable) and error.status is not None)


async def complete_many(
    backend: Backend,
    messages: Sequence[Message],
    samplings: Sequence[Sampling],
    finished: Finished = lambda _: None,
) -> list[Completion | BackendError]:
    """A completion, or why it failed, for each of `samplings`, which differ in their seeds alone.

    Each is handed to `finished` when it is there, so that what was made before a cancellation is known.
    In one request the first one's seed is that of them all. What an engine refuses, breaks over or leaves out is asked
    for call by call, and so is what comes after if these calls went well. Any other failure is that of all of them.
    """
    got: list[Completion] = []
    together = backend if len(samplings) > 1 and completes_many(backend) and backend.supports_n else None
    if together is not None:
        try:
            got = await together.complete_many(messages, samplings[0], len(samplings))
            for completion in got:
                finished(completion)
        except BackendError as error:
            # For what it asks, or for how many it asks: the calls for one tell.
            if not may_be_rejecting_n(error):
                return [error] * len(samplings)
    rest = await _one_by_one(backend, messages, samplings[len(got) :], finished)
    if together is not None and any(isinstance(each, Completion) for each in rest):
        together.supports_n = False
    return [*got, *rest]


async def _one_by_one(
    backend: Backend, messages: Sequence[Message], samplings: Sequence[Sampling], finished: Finished
) -> list[Completion | BackendError]:
    async def one(sampling: Sampling) -> Completion | BackendError:
        try:
            completion = await backend.complete(messages, sampling)
        except BackendError as error:
            return error
        finished(completion)
        return completion

    if not samplings:
        return []
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(sampling)) for sampling in samplings]
    return [task.result() for task in tasks]
