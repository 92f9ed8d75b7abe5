"""The gate that every request to a model passes: quotas, brown-out, the queue and the deadline."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass
from functools import partial
from types import TracebackType

from starlette.requests import Request

from spar_core.errors import BackendTimeout
from spar_server.admission.brownout import Brownout
from spar_server.admission.draining import Draining, stopping_error
from spar_server.admission.lane import Lane, Permit
from spar_server.auth.access import key_of
from spar_server.auth.quotas import Quotas, Usage
from spar_server.http.deadlines import first_byte_within, timeout_hint
from spar_server.metrics.load import LoadMetrics
from spar_server.serving.plan import Allowance, Plan
from spar_server.settings import Settings


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

    def admit(self, plan: Plan, request: Request) -> AbstractAsyncContextManager[Allowance]:
        """Wait for the plan's turn and hold its permit while the context is open.

        The allowance holds what brown-out leaves of the budget, and the time that the wait leaves of the deadline.

        Raises:
            ApiError: 429, over the key's quota; 503, over the server's capacity, or the server is stopping.
        """
        budget, deadline_s = self.brownout.lowered(plan.config.budget), plan.config.deadline_s
        assert deadline_s is not None
        return _Admission(
            self, request, budget, deadline_s, search=plan.judges_with(budget), cost=plan.cost_with(budget)
        )

    def admit_calls(self, request: Request, deadline_s: float, *, cost: int) -> AbstractAsyncContextManager[Allowance]:
        """Like `admit`, for a request that is forwarded upstream as it is: `cost` model calls and no search."""
        return _Admission(self, request, 0, deadline_s, search=False, cost=cost)


class _Admission(AbstractAsyncContextManager[Allowance]):
    """One request's permit while the context is open.

    A class rather than a generator, because every request enters it.
    """

    __slots__ = (
        "_budget",
        "_cost",
        "_deadline_s",
        "_gate",
        "_key",
        "_lane",
        "_permit",
        "_quota",
        "_request",
        "_search",
    )

    def __init__(
        self, gate: Gate, request: Request, budget: int, deadline_s: float, *, search: bool, cost: int
    ) -> None:
        self._gate = gate
        self._request = request
        self._budget = budget
        self._deadline_s = deadline_s
        self._search = search
        self._cost = cost
        self._key = key_of(request)
        self._lane = gate.searches if search else gate.passed_through
        self._quota: AbstractContextManager[None] | None = None
        self._permit: Permit | None = None

    async def __aenter__(self) -> Allowance:
        gate, lane, key = self._gate, self._lane, self._key
        if self._search or self._cost > 1:
            self._quota = gate.quotas.search(key, lambda: lane.expected_hold_s)
            self._quota.__enter__()
        try:
            permit = lane.try_acquire(key.name, self._cost, weight=key.weight) or await self._wait()
        except BaseException:
            self._leave()
            raise
        self._permit = permit
        gate.metrics.admitted(key.name, "search" if self._search else "pass_through", permit.waited_s)
        return Allowance(self._budget, max(0.0, self._deadline_s - permit.waited_s), gate.draining.cutoff)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()
        if isinstance(error, BackendTimeout) and self._gate.draining.cutoff.reached:
            # A stopping server causes this too; another server can still answer in time.
            raise stopping_error() from error

    async def _wait(self) -> Permit:
        gate, key = self._gate, self._key
        wait_s = min(self._deadline_s, first_byte_within(timeout_hint(self._request.scope)), gate.max_wait_s)
        try:
            with gate.draining.cutoff.timeout(None):
                return await self._lane.acquire(key.name, self._cost, weight=key.weight, wait_s=wait_s)
        except TimeoutError as error:
            raise stopping_error() from error

    def _leave(self) -> None:
        if self._permit is not None:
            self._lane.release(self._permit)
        if self._quota is not None:
            self._quota.__exit__(None, None, None)


def build_gate(settings: Settings, metrics: LoadMetrics, *, key_share: float = 1.0, usage: Usage | None = None) -> Gate:
    """Build an idle gate that `metrics` reports on. No key gets more than `key_share` of a lane.

    `usage` counts what keys use; by default only in this process.
    """
    bounds = settings.admission
    brownout = Brownout(settings.brownout)
    lane = partial(Lane, max_queue=bounds.max_queue, key_share=key_share)
    gate = Gate(
        searches=lane(capacity=bounds.search_capacity, on_load=brownout.observe),
        passed_through=lane(capacity=bounds.pass_through_capacity),
        max_wait_s=bounds.max_wait_s,
        quotas=Quotas(usage=usage),
        brownout=brownout,
        draining=Draining(grace_s=settings.shutdown_grace_s, delay_s=settings.shutdown_delay_s),
        metrics=metrics,
    )
    metrics.watch(
        {"search": gate.searches, "pass_through": gate.passed_through},
        brownout=brownout,
        draining=gate.draining,
    )
    return gate
