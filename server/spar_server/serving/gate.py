"""The gate that every request to a model passes: quotas, brown-out, the queue and the deadline."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from functools import partial

from starlette.requests import Request

from spar_core.errors import BackendTimeout
from spar_server.admission.brownout import Brownout
from spar_server.admission.deadlines import first_byte_within, timeout_hint
from spar_server.admission.draining import Draining, stopping_error
from spar_server.admission.lane import Lane, Permit
from spar_server.auth.access import key_of
from spar_server.auth.quotas import Quotas
from spar_server.metrics.load import LoadMetrics
from spar_server.serving.long_work import LongWork
from spar_server.serving.plan import Allowance, Plan
from spar_server.settings import ApiKey, Settings


@dataclass(frozen=True, slots=True)
class Gate:
    """Admission control, shared by all requests. `max_wait_s` is the longest that a request waits in the queue."""

    searches: Lane
    passed_through: Lane
    max_wait_s: float
    quotas: Quotas
    brownout: Brownout
    draining: Draining
    metrics: LoadMetrics
    long_work: LongWork

    @asynccontextmanager
    async def admit(self, plan: Plan, request: Request) -> AsyncIterator[Allowance]:
        """Wait for the plan's turn and hold its permit while the context is open.

        The allowance holds what brown-out leaves of the budget, and the time that the wait leaves of the deadline.

        Raises:
            ApiError: 429, over the key's quota; 503, over the server's capacity, or the server is stopping.
        """
        budget, deadline_s = self.brownout.lowered(plan.config.budget), plan.config.deadline_s
        assert deadline_s is not None
        search, cost = plan.judges_with(budget), plan.cost_with(budget)
        async with self._permit(request, deadline_s, search=search, cost=cost) as left_s:
            yield Allowance(budget, left_s, self.draining.cutoff)

    @asynccontextmanager
    async def admit_calls(self, request: Request, deadline_s: float, *, cost: int) -> AsyncIterator[Allowance]:
        """Like `admit`, for a request that is forwarded upstream as it is: `cost` model calls and no search."""
        async with self._permit(request, deadline_s, search=False, cost=cost) as left_s:
            yield Allowance(0, left_s, self.draining.cutoff)

    @asynccontextmanager
    async def _permit(self, request: Request, deadline_s: float, *, search: bool, cost: int) -> AsyncIterator[float]:
        """Hold a permit; yields the seconds that are left until the deadline."""
        key, lane = key_of(request), self.searches if search else self.passed_through
        several = search or cost > 1
        with self.quotas.search(key, lambda: lane.expected_hold_s) if several else nullcontext():
            permit = lane.try_acquire(key.name, cost, weight=key.weight)
            if permit is None:
                hint = timeout_hint(request.scope)
                permit = await self._wait(lane, key, cost, min(deadline_s, first_byte_within(hint), self.max_wait_s))
            self.metrics.admitted(key.name, "search" if search else "pass_through", permit.waited_s)
            try:
                yield max(0.0, deadline_s - permit.waited_s)
            except BackendTimeout as error:
                # A stopping server causes this too; another server can still answer in time.
                raise (stopping_error() if self.draining.cutoff.reached else error) from error
            finally:
                lane.release(permit)

    async def _wait(self, lane: Lane, key: ApiKey, cost: int, wait_s: float) -> Permit:
        try:
            async with self.draining.cutoff.timeout(None):
                return await lane.acquire(key.name, cost, weight=key.weight, wait_s=wait_s)
        except TimeoutError as error:
            raise stopping_error() from error


def build_gate(settings: Settings, metrics: LoadMetrics, *, key_share: float = 1.0) -> Gate:
    """Build an idle gate that `metrics` reports on. No key gets more than `key_share` of a lane."""
    bounds = settings.admission
    brownout = Brownout(settings.brownout)
    lane = partial(Lane, max_queue=bounds.max_queue, key_share=key_share)
    gate = Gate(
        searches=lane(capacity=bounds.search_capacity, on_load=brownout.observe),
        passed_through=lane(capacity=bounds.pass_through_capacity),
        max_wait_s=bounds.max_wait_s,
        quotas=Quotas(),
        brownout=brownout,
        draining=Draining(grace_s=settings.shutdown_grace_s, delay_s=settings.shutdown_delay_s),
        metrics=metrics,
        long_work=LongWork(max_wait_s=bounds.max_wait_s, key_share=key_share),
    )
    metrics.watch(
        {"search": gate.searches, "pass_through": gate.passed_through},
        brownout=brownout,
        draining=gate.draining,
    )
    return gate
