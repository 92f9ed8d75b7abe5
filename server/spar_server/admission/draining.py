"""Graceful shutdown: refuse new requests, let running ones finish, and stop within the grace time.

While the server drains, new requests get a 503 and /ready reports false, but the port stays open and running requests
continue. Shortly before the grace time ends, searches return their best answer so far; requests without an answer
fail with an error that lets the client retry elsewhere.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from spar_core.cutoff import Cutoff
from spar_server.errors import ApiError

# The fraction of the grace time that is reserved for sending answers after the cutoff.
_RESERVE: Final = 0.2
_MAX_RESERVE_S: Final = 3.0
# How long a server that was told to stop at once waits until the requests that it cut off are answered.
_HURRY_S: Final = 2.0


@dataclass(eq=False, slots=True)
class Generation:
    """The requests that arrived between two changes of the settings."""

    running: int = 0


class Draining:
    """The state of a shutdown. `delay_s` is the minimum time that the port stays open."""

    def __init__(self, *, grace_s: float, delay_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.cutoff = Cutoff()
        # Requests that arrive are counted here.
        self.generation = Generation()
        self._earlier: list[Generation] = []
        self._reserve_s = min(_MAX_RESERVE_S, grace_s * _RESERVE)
        self._grace_s = grace_s
        self._delay_s = delay_s
        self._clock = clock
        self._started_at: float | None = None
        self._hurried_at: float | None = None

    @property
    def running(self) -> int:
        """The number of running requests."""
        return self.generation.running + sum(earlier.running for earlier in self._earlier)

    def next_generation(self) -> Generation:
        """Count requests anew from now on; returns the count of those that may use what is about to be replaced."""
        earlier, self.generation = self.generation, Generation()
        self._earlier = [each for each in (*self._earlier, earlier) if each.running]
        return earlier

    @property
    def started(self) -> bool:
        return self._started_at is not None

    def start(self) -> None:
        """Start draining; a second call stops at once. Only records the call, so a signal handler can use it."""
        if self._started_at is None:
            self._started_at = self._clock()
        elif self._hurried_at is None:
            self._hurried_at = self._clock()

    def tick(self) -> bool:
        """Advance the shutdown; return True when it is time to close the port. Call this several times a second."""
        if self._started_at is None:
            return False
        now = self._clock()
        age = now - self._started_at
        hurried = self._hurried_at is not None
        if (hurried or age >= self._grace_s - self._reserve_s) and not self.cutoff.reached:
            self.cutoff.now()
        if not self.running and (hurried or age >= self._delay_s):
            return True
        if self._hurried_at is not None and now - self._hurried_at >= _HURRY_S:
            return True
        return age >= self._grace_s - self._reserve_s / 2

    def waiting_for(self) -> str:
        """What the server waits for, as text for people. Empty if it stops at once or is not stopping."""
        if self._started_at is None or self._hurried_at is not None:
            return ""
        age = self._clock() - self._started_at
        if running := self.running:
            left = max(0.0, self._grace_s - self._reserve_s - age)
            requests = "1 request that is" if running == 1 else f"{running} requests that are"
            return f"waiting up to {left:.0f} s for {requests} running"
        left = self._delay_s - age
        return f"keeping the port open for another {left:.0f} s (shutdown_delay_s)" if left > 0 else ""

    async def until_cutoff(self, frames: AsyncGenerator[str, None]) -> AsyncGenerator[str, None]:
        """Pass `frames` on, and fail at the cutoff: a stream that passes through has no best answer so far."""
        async with aclosing(frames):
            with self.cutoff.waits() as wait:
                while True:
                    try:
                        # One wait per frame: the cutoff must not interrupt the code that consumes the frame.
                        with wait:
                            frame = await anext(frames)
                    except StopAsyncIteration:
                        return
                    except TimeoutError as error:
                        raise stopping_error() from error
                    yield frame


class _StoppingError(ApiError):
    @property
    def headers(self) -> dict[str, str]:
        # On the same connection the client's retry would reach this server again, past any load balancer.
        return super().headers | {"Connection": "close"}


def stopping_error() -> ApiError:
    # Another replica can answer now, and a restarting server soon.
    return _StoppingError(503, "this server is stopping", "overloaded_error", code="server_stopping", retry_after=1)
