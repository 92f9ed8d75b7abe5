"""Several completions of one chat: in one request where the engine supports `n`, otherwise in one call each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol, TypeGuard

from spar_core.backends.base import Backend
from spar_core.errors import BackendError, BackendRejected, BackendUnavailable
from spar_core.types import Completion, Message, Sampling

Finished = Callable[[Completion], None]


class ManyCompletions(Protocol):
    """Optional protocol for backends that sample several completions in one request.

    `supports_n` says whether that is worth trying; a caller that finds out otherwise sets it to False.
    """

    supports_n: bool

    async def complete_many(self, messages: Sequence[Message], sampling: Sampling, count: int) -> list[Completion]:
        """One to `count` independent completions with the same sampling.

        Engines report one usage per request: it is the first completion's, with the prompt counted once.
        """
        ...


def completes_many(backend: object) -> TypeGuard[ManyCompletions]:
    """Whether the backend implements `ManyCompletions`."""
    return hasattr(backend, "complete_many")


def may_be_rejecting_n(error: BackendError) -> bool:
    """Whether the error may be about `n`, so that a request for one completion could succeed.

    Some versions of llama.cpp's server answer 500 to `n`. 503 and timeouts are about load instead.
    """
    return isinstance(error, BackendRejected) or (isinstance(error, BackendUnavailable) and error.status is not None)


async def complete_many(
    backend: Backend,
    messages: Sequence[Message],
    samplings: Sequence[Sampling],
    finished: Finished = lambda _: None,
) -> list[Completion | BackendError]:
    """A completion or its error for each of `samplings`, which differ only in their seeds.

    `finished` is called with each completion as it arrives, so that none is lost to a cancellation. A single request
    uses the first seed. Completions that the engine refuses, fails on or leaves out are requested one by one; if that
    works, so are all later ones. Any other error applies to all of them.
    """
    received: list[Completion] = []
    together = backend if len(samplings) > 1 and completes_many(backend) and backend.supports_n else None
    if together is not None:
        try:
            received = await together.complete_many(messages, samplings[0], len(samplings))
            for completion in received:
                finished(completion)
        except BackendError as error:
            # Calls for one completion will show whether `n` was the problem.
            if not may_be_rejecting_n(error):
                return [error] * len(samplings)
    rest = await _one_by_one(backend, messages, samplings[len(received) :], finished)
    if together is not None and any(isinstance(each, Completion) for each in rest):
        together.supports_n = False
    return [*received, *rest]


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
