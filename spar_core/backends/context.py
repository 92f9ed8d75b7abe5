"""What the model calls of one request have in common, carried beside their arguments.

A search makes its calls through judge and refiner, many at once; a context variable reaches them all, and the tasks
that they are made in, without a parameter on every way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final, Protocol


class OffLoop(Protocol):
    """Does `work` elsewhere than on the event loop and returns what it returns.

    `size` says how much there is to do, in the unit of a check's `work`.
    """

    async def __call__(self, work: Callable[[], Any], size: int) -> Any: ...


async def in_a_thread(work: Callable[[], Any], size: int) -> Any:
    """In any thread that is free."""
    return await asyncio.to_thread(work)


@dataclass(frozen=True, slots=True)
class Caller:
    """For whom calls are made: calls of different callers share an upstream by `weight`.

    At most the part `share` of an upstream's places, and `most_calls`, are one caller's at once.
    """

    name: str = ""
    weight: float = 1.0
    share: float = 1.0
    most_calls: int | None = None


NOBODY: Final = Caller()


@dataclass(frozen=True, slots=True)
class CallContext:
    """`request_id` goes upstream, made unique for each call. Calls with one `affinity` are best served by one replica.

    `deadline` is on `time.monotonic`'s clock: after it nobody waits for an answer. `length` is that of the request in
    bytes: what takes time for a long one is done by `off_loop`.
    """

    request_id: str | None = None
    affinity: str | None = None
    deadline: float | None = None
    caller: Caller = NOBODY
    length: int = 0
    off_loop: OffLoop = in_a_thread


_UNBOUND: Final = CallContext()
_CURRENT: ContextVar[CallContext] = ContextVar("spar_call_context", default=_UNBOUND)


def call_context() -> CallContext:
    """That of the calls which this task makes."""
    return _CURRENT.get()


def bind_calls(
    *,
    request_id: str | None = None,
    affinity: str | None = None,
    deadline: float | None = None,
    caller: Caller | None = None,
    length: int | None = None,
    off_loop: OffLoop | None = None,
) -> None:
    """Set what is given, for this task and the tasks that it starts from now on."""
    now = _CURRENT.get()
    _CURRENT.set(
        CallContext(
            now.request_id if request_id is None else request_id,
            now.affinity if affinity is None else affinity,
            now.deadline if deadline is None else deadline,
            now.caller if caller is None else caller,
            now.length if length is None else length,
            now.off_loop if off_loop is None else off_loop,
        )
    )
