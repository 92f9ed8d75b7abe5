"""What the model calls of one request have in common, carried beside their arguments.

A search makes its calls through judge and refiner, many at once; a context variable reaches them all, and the tasks
that they are made in, without a parameter on every way.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class CallContext:
    """`request_id` goes upstream, made unique for each call. Calls with one `affinity` are best served by one replica.

    `deadline` is on `time.monotonic`'s clock: after it nobody waits for an answer.
    """

    request_id: str | None = None
    affinity: str | None = None
    deadline: float | None = None


_UNBOUND: Final = CallContext()
_CURRENT: ContextVar[CallContext] = ContextVar("spar_call_context", default=_UNBOUND)


def call_context() -> CallContext:
    """That of the calls which this task makes."""
    return _CURRENT.get()


def bind_calls(*, request_id: str | None = None, affinity: str | None = None, deadline: float | None = None) -> None:
    """Set what is given, for this task and the tasks that it starts from now on."""
    now = _CURRENT.get()
    _CURRENT.set(
        CallContext(
            now.request_id if request_id is None else request_id,
            now.affinity if affinity is None else affinity,
            now.deadline if deadline is None else deadline,
        )
    )
