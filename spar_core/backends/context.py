"""Context shared by all model calls of one request: caller, deadline, request id, cache affinity.

A search makes many calls at once, through judge and refiner. A context variable reaches all of them, and their tasks,
without a parameter in every function between.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol


class OffLoop(Protocol):
    """Runs `work` off the event loop and returns its result.

    `size` is the amount of work, in the unit of `Check.work`.
    """

    async def __call__(self, work: Callable[[], Any], size: int) -> Any: ...


async def in_a_thread(work: Callable[[], Any], size: int) -> Any:
    """Run the work in the default thread pool."""
    return await asyncio.to_thread(work)


@dataclass(frozen=True, slots=True)
class Caller:
    """On whose behalf calls are made. Callers share an upstream in proportion to `weight`.

    One caller has at most `share` of an upstream's slots, and at most `most_calls` calls, at once.
    """

    name: str = ""
    weight: float = 1.0
    share: float = 1.0
    most_calls: int | None = None


NOBODY: Final = Caller()


class CallContext(NamedTuple):
    """The context of a call.

    `request_id` is sent upstream, made unique for each call. Calls with the same `affinity` prefer the same replica.
    `deadline` is on `time.monotonic`'s clock; no one waits for an answer beyond it. `length` is the request's size in
    bytes: work on long requests is run by `off_loop`. `trace_id` is what the request's trace is found by.
    """

    request_id: str | None = None
    affinity: str | None = None
    deadline: float | None = None
    caller: Caller = NOBODY
    length: int = 0
    off_loop: OffLoop = in_a_thread
    trace_id: str | None = None


_UNBOUND: Final = CallContext()
_CURRENT: ContextVar[CallContext] = ContextVar("spar_call_context", default=_UNBOUND)


def call_context() -> CallContext:
    """The context of the calls that this task makes."""
    return _CURRENT.get()


def bind_calls(
    *,
    request_id: str | None = None,
    affinity: str | None = None,
    deadline: float | None = None,
    caller: Caller | None = None,
    length: int | None = None,
    off_loop: OffLoop | None = None,
    trace_id: str | None = None,
) -> None:
    """Set the values that are not None, for this task and the tasks that it starts from now on."""
    now = _CURRENT.get()
    _CURRENT.set(
        CallContext(
            now.request_id if request_id is None else request_id,
            now.affinity if affinity is None else affinity,
            now.deadline if deadline is None else deadline,
            now.caller if caller is None else caller,
            now.length if length is None else length,
            now.off_loop if off_loop is None else off_loop,
            now.trace_id if trace_id is None else trace_id,
        )
    )


class CallTrace(NamedTuple):
    """What is needed to trace a call.

    `node` is the path of the tree's node that the call is made for, and `choice` the number of the answer. `headers`
    are complete header lines that continue a trace upstream. `private` says that the client forbids to keep its texts.
    `request` is the caller's own record of the request, for whoever observes its calls, and `trace_id` the trace that
    this belongs to.
    """

    node: tuple[int, ...] = ()
    choice: int = 0
    headers: bytes = b""
    private: bool = False
    request: Any = None
    trace_id: str | None = None


_UNTRACED: Final = CallTrace()
# Apart from the context above, because most requests bind none of it.
_TRACE: ContextVar[CallTrace] = ContextVar("spar_call_trace", default=_UNTRACED)


def call_trace() -> CallTrace:
    """What is needed to trace the calls that this task makes."""
    return _TRACE.get()


def bind_trace(
    *,
    node: tuple[int, ...] | None = None,
    choice: int | None = None,
    headers: bytes | None = None,
    private: bool | None = None,
    request: Any = None,
    trace_id: str | None = None,
) -> None:
    """Set the values that are not None, for this task and the tasks that it starts from now on."""
    now = _TRACE.get()
    _TRACE.set(
        CallTrace(
            now.node if node is None else node,
            now.choice if choice is None else choice,
            now.headers if headers is None else headers,
            now.private if private is None else private,
            now.request if request is None else request,
            now.trace_id if trace_id is None else trace_id,
        )
    )


def continue_trace(now: CallTrace, headers: bytes) -> None:
    """Set the headers of the next call, whose trace is `now`; `bind_trace` at less cost, because every call does it."""
    _TRACE.set(CallTrace(now.node, now.choice, headers, now.private, now.request, now.trace_id))


def trace_id() -> str | None:
    """The id of the trace that this task's request belongs to: that of its caller if there is one, else its own."""
    return _TRACE.get().trace_id or _CURRENT.get().trace_id
