"""Several completions of one chat: in one request where the engine takes that, else in a call for each."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol, TypeGuard

from spar_core.backends.base import Backend
from spar_core.errors import BackendError, BackendRejected
from spar_core.types import Completion, Message, Sampling


class ManyCompletions(Protocol):
    """What a backend has besides whose engine completes one chat several times in one request.

    `takes_many` is whether that is worth trying; who finds out that it is not says so here.
    """

    takes_many: bool

    async def complete_many(self, messages: Sequence[Message], sampling: Sampling, count: int) -> list[Completion]:
        """At most `count` completions, at least one, each by the same sampling and independent of the others.

        Engines count such a request as a whole: its usage, the prompt once, is the first completion's.
        """
        ...


def completes_many(backend: object) -> TypeGuard[ManyCompletions]:
    """Whether it is such a backend."""
    return hasattr(backend, "complete_many")


async def complete_many(
    backend: Backend, messages: Sequence[Message], samplings: Sequence[Sampling]
) -> list[Completion | BackendError]:
    """A completion, or why it failed, for each of `samplings`, which differ in their seeds alone.

    In one request the first one's seed is that of them all. What an engine refuses or leaves out is asked for call
    by call, and so is everything after that if these calls went well. Any other failure is that of all of them.
    """
    got: list[Completion] = []
    together = backend if len(samplings) > 1 and completes_many(backend) and backend.takes_many else None
    if together is not None:
        try:
            got = await together.complete_many(messages, samplings[0], len(samplings))
        except BackendRejected:
            # For what it asks, or for how many it asks: the calls for one tell.
            pass
        except BackendError as error:
            return [error] * len(samplings)
    rest = await _one_by_one(backend, messages, samplings[len(got) :])
    if together is not None and any(isinstance(each, Completion) for each in rest):
        together.takes_many = False
    return [*got, *rest]


async def _one_by_one(
    backend: Backend, messages: Sequence[Message], samplings: Sequence[Sampling]
) -> list[Completion | BackendError]:
    async def one(sampling: Sampling) -> Completion | BackendError:
        try:
            return await backend.complete(messages, sampling)
        except BackendError as error:
            return error

    if not samplings:
        return []
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(sampling)) for sampling in samplings]
    return [task.result() for task in tasks]
