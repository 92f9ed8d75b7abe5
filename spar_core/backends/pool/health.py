"""What calls tell of a pool's endpoints, and what these are asked besides.

A lost connection, a time-out or a 503 is the endpoint's failure. Another answered 5xx, or a time-out that was answered,
may be the request's own fault, and no client may shut an endpoint for the others by a few such requests. It is held
against the endpoint when the same call then goes well at another one. And it has the endpoint asked whether it lives,
unless it was seen to lately: not to is a failure as well. So an endpoint that fails everything gets no calls while
others answer them, and the only one is called as long as it says that it lives. A call counts once for an endpoint,
however often it was tried there.
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
# An endpoint that answered so recently need not be asked whether it lives.
_SEEN_S: Final = 5.0
# Who asks for a longer pause is asked again all the same: quotas are raised, servers restarted.
_LONGEST_PAUSE_S: Final = 60.0


class Health:
    """Of the endpoints that `places` deals with. What those in trouble need is done in the background."""

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        places: Slots,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._endpoints = endpoints
        self._places = places
        self._clock = clock
        self._sleep = sleep
        self._tasks: dict[tuple[_Work, Endpoint], asyncio.Task[None]] = {}
        self._closed = False

    async def ready(self) -> bool:
        """Whether an endpoint lives. Those that were not heard of lately are asked."""
        candidates = [endpoint for endpoint in self._endpoints if endpoint.breaker.state != "open"]
        if any(self._seen_lately(endpoint) for endpoint in candidates):
            return True
        return any(await asyncio.gather(*(self._seen_alive(endpoint) for endpoint in candidates)))

    async def aclose(self) -> None:
        self._closed = True
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def began(self, endpoint: Endpoint) -> None:
        """A call to it has."""
        if endpoint.breaker.trying:
            self._start(self._widen, endpoint)

    def ended(self, endpoint: Endpoint) -> None:
        """A call to it has, and its place was given back."""
        if not endpoint.breaker.trying and (task := self._tasks.pop((self._widen, endpoint), None)):
            task.cancel()

    def opened(self, endpoint: Endpoint) -> None:
        """Its breaker has."""
        self._start(self._probe, endpoint)

    def went_well(self, call: Call, place: Slot) -> None:
        self._lives(place)
        for doubtful in call.doubtful:
            if doubtful.endpoint is not place.endpoint:
                self._failed(call, doubtful)

    def went_wrong(self, call: Call, place: Slot, error: BackendError) -> None:
        endpoint = place.endpoint
        match error:
            case BackendRejected():
                # A server that reads requests well enough to refuse them lives.
                self._lives(place)
            case _ if call.many and may_be_rejecting_n(error):
                # The calls for one tell whether it is the server's fault.
                pass
            case BackendProtocol():
                # Some servers answer a bad request so.
                pass
            case BackendOverloaded(status=429):
                # A quota, not a fault.
                endpoint.seen_at = self._clock()
            case BackendUnavailable(status=int()) | BackendTimeout(status=int()):
                self._doubt(call, place)
            case _:
                self._failed(call, place)
        if isinstance(error, BackendOverloaded) and error.retry_after:
            pause = min(error.retry_after, _LONGEST_PAUSE_S)
            endpoint.paused_until = max(endpoint.paused_until, self._clock() + pause)

    def _lives(self, place: Slot) -> None:
        place.endpoint.seen_at = self._clock()
        place.endpoint.breaker.succeeded()
        if place.paused:
            place.endpoint.paused_until = float("-inf")

    def _failed(self, call: Call, place: Slot) -> None:
        if place not in call.failed:
            call.failed.add(place)
            place.endpoint.breaker.failed(place.epoch)

    def _doubt(self, call: Call, place: Slot) -> None:
        call.doubtful.add(place)
        if not self._seen_lately(place.endpoint):
            self._start(self._check, place.endpoint)

    def _start(self, work: _Work, endpoint: Endpoint) -> None:
        """Do it in the background, unless that is under way."""

        async def run() -> None:
            await work(endpoint)
            del self._tasks[work, endpoint]

        if not self._closed and (work, endpoint) not in self._tasks:
            self._tasks[work, endpoint] = asyncio.get_running_loop().create_task(run())

    async def _probe(self, endpoint: Endpoint) -> None:
        """Ask an endpoint whether it lives until it does, or until late news says so."""
        while endpoint.breaker.state == "open":
            await self._sleep(endpoint.breaker.cooldown_s)
            if await self._seen_alive(endpoint):
                endpoint.breaker.half_open()

    async def _check(self, endpoint: Endpoint) -> None:
        epoch = endpoint.breaker.epoch
        if not await self._seen_alive(endpoint):
            endpoint.breaker.failed(epoch)

    async def _widen(self, endpoint: Endpoint) -> None:
        """Let further trials begin in time."""
        while endpoint.breaker.trying:
            await self._sleep(endpoint.breaker.policy.trial_s)
            self._places.dispatch()

    def _seen_lately(self, endpoint: Endpoint) -> bool:
        return self._clock() - endpoint.seen_at < _SEEN_S

    async def _seen_alive(self, endpoint: Endpoint) -> bool:
        alive = await endpoint.replica.alive()
        if alive:
            endpoint.seen_at = self._clock()
        return alive
