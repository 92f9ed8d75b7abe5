"""The health of a pool's endpoints: what calls show about them, and background probes.

A lost connection, a timeout or a 503 counts as the endpoint's failure. Any other 5xx answer, or a timeout that the
upstream itself reports, may be the request's own fault, and a client must not be able to close an endpoint for others
by a few such requests. It counts against the endpoint if the same call then succeeds at another one. It also makes the
pool probe the endpoint, unless that answered recently; a failed probe is a failure. So an endpoint that fails every
call gets none while others answer, and the only endpoint is called as long as its probes succeed. A call counts at most
once per endpoint, however often it was tried there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final

from spar_core.backends.choices import may_be_rejecting_n
from spar_core.backends.pool.call import Call
from spar_core.backends.pool.replica import Endpoint
from spar_core.backends.pool.slots import Slot, Slots
from spar_core.errors import (
    BackendError,
    BackendOverloaded,
    BackendProtocol,
    BackendRejected,
    BackendTimeout,
    BackendUnavailable,
)

_Work = Callable[[Endpoint], Coroutine[Any, Any, None]]
# An endpoint that answered this recently is not probed.
_RECENT_S: Final = 5.0
# Longer pauses are cut to this: quotas are raised and servers restarted.
_LONGEST_PAUSE_S: Final = 60.0


class Health:
    """The health of the endpoints of `slots`. Probes run in background tasks."""

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        slots: Slots,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._endpoints = endpoints
        self._slots = slots
        self._clock = clock
        self._sleep = sleep
        self._tasks: dict[tuple[_Work, Endpoint], asyncio.Task[None]] = {}
        self._closed = False

    async def ready(self) -> bool:
        """Whether an endpoint is alive; probes those that have not answered recently."""
        candidates = [endpoint for endpoint in self._endpoints if endpoint.breaker.state != "open"]
        if any(self._answered_recently(endpoint) for endpoint in candidates):
            return True
        return any(await asyncio.gather(*(self._is_alive(endpoint) for endpoint in candidates)))

    async def aclose(self) -> None:
        self._closed = True
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def on_start(self, endpoint: Endpoint) -> None:
        """A call to the endpoint started."""
        if endpoint.breaker.trying:
            self._start(self._widen, endpoint)

    def on_end(self, endpoint: Endpoint) -> None:
        """A call to the endpoint ended, and its slot was released."""
        if not endpoint.breaker.trying and (task := self._tasks.pop((self._widen, endpoint), None)):
            task.cancel()

    def on_open(self, endpoint: Endpoint) -> None:
        """The endpoint's breaker opened."""
        self._start(self._probe, endpoint)

    def on_success(self, call: Call, slot: Slot) -> None:
        self._record_alive(slot)
        for doubtful in call.doubtful:
            if doubtful.endpoint is not slot.endpoint:
                self._record_failure(call, doubtful)

    def on_failure(self, call: Call, slot: Slot, error: BackendError) -> None:
        endpoint = slot.endpoint
        match error:
            case BackendRejected():
                # A server that refuses a request is alive.
                self._record_alive(slot)
            case _ if call.many and may_be_rejecting_n(error):
                # Calls for one completion will show whether it is the server's fault.
                pass
            case BackendProtocol():
                # Some servers answer a bad request in this way.
                pass
            case BackendOverloaded(status=429):
                # A quota, not a fault.
                endpoint.seen_at = self._clock()
            case BackendUnavailable(status=int()) | BackendTimeout(status=int()):
                self._record_doubt(call, slot)
            case _:
                self._record_failure(call, slot)
        if isinstance(error, BackendOverloaded) and error.retry_after:
            pause = min(error.retry_after, _LONGEST_PAUSE_S)
            endpoint.paused_until = max(endpoint.paused_until, self._clock() + pause)

    def _record_alive(self, slot: Slot) -> None:
        slot.endpoint.seen_at = self._clock()
        slot.endpoint.breaker.record_success()
        if slot.paused:
            slot.endpoint.paused_until = float("-inf")

    def _record_failure(self, call: Call, slot: Slot) -> None:
        if slot not in call.failed:
            call.failed.add(slot)
            slot.endpoint.breaker.record_failure(slot.epoch)

    def _record_doubt(self, call: Call, slot: Slot) -> None:
        call.doubtful.add(slot)
        if not self._answered_recently(slot.endpoint):
            self._start(self._check, slot.endpoint)

    def _start(self, work: _Work, endpoint: Endpoint) -> None:
        """Run the work in the background, unless it is running already."""

        async def run() -> None:
            await work(endpoint)
            del self._tasks[work, endpoint]

        if not self._closed and (work, endpoint) not in self._tasks:
            self._tasks[work, endpoint] = asyncio.get_running_loop().create_task(run())

    async def _probe(self, endpoint: Endpoint) -> None:
        """Probe an endpoint until it is alive, or until an earlier call succeeds."""
        while endpoint.breaker.state == "open":
            await self._sleep(endpoint.breaker.cooldown_s)
            if await self._is_alive(endpoint):
                endpoint.breaker.half_open()

    async def _check(self, endpoint: Endpoint) -> None:
        epoch = endpoint.breaker.epoch
        if not await self._is_alive(endpoint):
            endpoint.breaker.record_failure(epoch)

    async def _widen(self, endpoint: Endpoint) -> None:
        """Dispatch whenever more trial calls are due."""
        while endpoint.breaker.trying:
            await self._sleep(endpoint.breaker.policy.trial_s)
            self._slots.dispatch()

    def _answered_recently(self, endpoint: Endpoint) -> bool:
        return self._clock() - endpoint.seen_at < _RECENT_S

    async def _is_alive(self, endpoint: Endpoint) -> bool:
        alive = await endpoint.replica.alive()
        if alive:
            endpoint.seen_at = self._clock()
        return alive
