"""Leaving in good order: no new requests, an end for those that run, and no longer than the grace time.

Once it has begun, requests get a 503 and whoever asks whether the server is ready is told no, while the port stays
open and what runs goes on. Shortly before the grace time ends, searches return their best answer so far, and what has
no answer yet is refused in a way that lets its client ask elsewhere.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Final

from spar_core.cutoff import Cutoff
from spar_server.errors import ApiError

# Of the grace time, for answers to be sent in once they have been cut short.
_RESERVE: Final = 0.2
_MOST_RESERVE_S: Final = 3.0


class Draining:
    """Whether the server is leaving, and what still runs. `delay_s` is how long the port stays open at least."""

    def __init__(self, *, grace_s: float, delay_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.cutoff = Cutoff()
        self.running = 0
        self._reserve_s = min(_MOST_RESERVE_S, grace_s * _RESERVE)
        self._grace_s = grace_s
        self._delay_s = delay_s
        self._clock = clock
        self._began: float | None = None
        self._hurried = False

    @property
    def begun(self) -> bool:
        return self._began is not None

    def begin(self) -> None:
        """Told to leave; told again, to leave at once. Does nothing but note it, so that a signal handler may call."""
        self._hurried = self.begun
        self._began = self._clock() if self._began is None else self._began

    def tick(self) -> bool:
        """Do what is due; True when it is time to close the port. To be called several times a second."""
        if self._began is None:
            return False
        age = self._clock() - self._began
        if (self._hurried or age >= self._grace_s - self._reserve_s) and not self.cutoff.reached:
            self.cutoff.now()
        over = age >= self._grace_s - self._reserve_s / 2
        return self._hurried or over or (self.running == 0 and age >= self._delay_s)

    def waiting_for(self) -> str:
        """For people: what has to end before the server leaves. Empty if it leaves at once or is not leaving."""
        if self._began is None or self._hurried:
            return ""
        age = self._clock() - self._began
        if self.running:
            left = max(0.0, self._grace_s - self._reserve_s - age)
            requests = "1 request that is" if self.running == 1 else f"{self.running} requests that are"
            return f"waiting up to {left:.0f} s for {requests} running"
        left = self._delay_s - age
        return f"keeping the port open for another {left:.0f} s (shutdown_delay_s)" if left > 0 else ""

    async def until_cutoff(self, frames: AsyncGenerator[str, None]) -> AsyncGenerator[str, None]:
        """`frames`, which have no best-so-far to end with: at the cutoff they end as an error."""
        async with aclosing(frames):
            with self.cutoff.waits() as wait:
                while True:
                    try:
                        # Each by itself: what ends while its reader is slow must not end the reader.
                        with wait:
                            frame = await anext(frames)
                    except StopAsyncIteration:
                        return
                    except TimeoutError as error:
                        raise leaving() from error
                    yield frame


class _Leaving(ApiError):
    @property
    def headers(self) -> dict[str, str]:
        # On this connection the client's next attempt would come here again, past any load balancer.
        return super().headers | {"Connection": "close"}


def leaving() -> ApiError:
    # Another server can take it now; one that restarts is back soon.
    return _Leaving(503, "this server is stopping", "overloaded_error", code="server_stopping", retry_after=1)
