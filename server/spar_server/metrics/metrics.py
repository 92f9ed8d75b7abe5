"""Prometheus metrics of requests and searches: base units, bounded labels, one registry per app."""

from __future__ import annotations

import asyncio
import platform
import time
from collections import Counter as Tally
from collections import deque
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from types import TracebackType
from typing import Final, Self

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from spar_core.budget import Budget
from spar_core.cost import Price
from spar_core.judge import Judgement, Vote
from spar_core.search import Answers, SearchResult
from spar_core.types import ModelRole, Usage
from spar_server.errors import ApiError, ClientGoneError
from spar_server.metrics.batches import BatchMetrics
from spar_server.metrics.gauges import ComputedGauges
from spar_server.metrics.load import LoadMetrics
from spar_server.metrics.reloads import ReloadMetrics
from spar_server.metrics.traces import TraceMetrics
from spar_server.metrics.upstream import UpstreamMetrics
from spar_server.metrics.workers import WorkerMetrics, merged

_SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 240, 480)
_NODES: Final = (0, 1, 2, 3, 6, 9, 15, 21, 32, 64)
_DEPTHS: Final = (0, 1, 2, 3, 4, 6, 8, 16)
# Strangers may ask for the metrics, and each rendering takes the event loop some milliseconds.
_RENDERINGS_PER_S: Final = 20


class Metrics:
    """All metrics of one app.

    A metric with labels is stored as a cached function from its labels to the series, which is faster than a lookup.
    """

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self._rendered = b""
        self._rendered_at = deque[float](maxlen=_RENDERINGS_PER_S)
        self._computed = ComputedGauges()
        self._requests = cache(
            Counter(
                "spar_requests", "Model requests by kind and outcome", ["kind", "outcome"], registry=registry
            ).labels
        )
        self._running = cache(
            Gauge(
                "spar_requests_running",
                "Model requests in flight",
                ["kind"],
                registry=registry,
                multiprocess_mode="livesum",
            ).labels
        )
        self._errors = Counter("spar_error_responses", "Responses with an error status", ["status"], registry=registry)
        self._duration = cache(
            Histogram(
                "spar_request_duration_seconds",
                "Time to the complete answer; the budget's class is empty where there is none",
                ["kind", "budget"],
                buckets=_SECONDS,
                registry=registry,
            ).labels
        )
        self._first_token = cache(
            Histogram(
                "spar_time_to_first_answer_token_seconds",
                "Time to the first token of a streamed answer",
                ["kind"],
                buckets=_SECONDS,
                registry=registry,
            ).labels
        )
        self._first_progress = Histogram(
            "spar_time_to_first_progress_seconds",
            "Time to the first step that a streamed search shows",
            buckets=_SECONDS,
            registry=registry,
        )
        self._stops = Counter("spar_search_stops", "Searches by stop reason", ["reason"], registry=registry)
        self._nodes = Histogram("spar_search_nodes", "Nodes of a search", buckets=_NODES, registry=registry)
        self._depth = Histogram(
            "spar_answer_depth",
            "Refinements between draft and answer",
            ["budget"],
            buckets=_DEPTHS,
            registry=registry,
        )
        self._votes = Counter("spar_votes", "Votes of finished searches by verdict", ["verdict"], registry=registry)
        self._improved = Counter("spar_improved", "Answers that replaced their draft", ["budget"], registry=registry)
        self._search_tokens = Counter(
            "spar_search_tokens", "Completion tokens of searches, in all roles", ["budget"], registry=registry
        )
        build = Gauge(
            "spar_build_info",
            "1; the labels say what runs",
            ["version", "python"],
            registry=registry,
            multiprocess_mode="livemax",
        )
        build.labels(version("spar-server"), platform.python_version()).set(1)
        self._tokens = cache(
            Counter("spar_tokens", "Tokens by model role and kind", ["role", "kind"], registry=registry).labels
        )
        self.prices: Mapping[ModelRole, Price] = {}
        self._cost = cache(
            Counter("spar_cost", "Cost by model role, in the unit of the prices", ["role"], registry=registry).labels
        )
        self._calls = cache(Counter("spar_model_calls", "Model calls by role", ["role"], registry=registry).labels)
        self._cancelled_calls = Counter(
            "spar_cancelled_calls", "Cancelled model calls by role", ["role"], registry=registry
        )
        self._cancelled_tokens = Counter(
            "spar_cancelled_tokens_at_most",
            "Upper bound on the tokens that cancelled calls with a limit generated, by role",
            ["role"],
            registry=registry,
        )
        self.upstreams = UpstreamMetrics(registry)
        self.load = LoadMetrics(registry, self._computed)
        self.traces = TraceMetrics(registry, self._computed)
        self.batches = BatchMetrics(registry, self._computed)
        self.reloads = ReloadMetrics(registry)
        self.workers = WorkerMetrics(registry)
        self._telemetry_dropped = Counter(
            "spar_telemetry_dropped", "Requests whose telemetry was dropped", registry=registry
        )
        for kind in ("pass_through", "search", "judge", "completions", "embeddings"):
            self._running(kind)

    def telemetry_dropped(self, requests: int) -> None:
        self._telemetry_dropped.inc(requests)

    def request(self, kind: str, budget: int | None = None) -> Meter:
        """Measure a model request while the meter is open; `budget` is what a chat may spend."""
        return Meter(self, kind, "" if budget is None else budget_class(budget))

    def begin(self, kind: str) -> None:
        self._running(kind).inc()

    def end(self, kind: str, outcome: str) -> None:
        self._running(kind).dec()
        self._requests(kind, outcome).inc()

    def refused(self, error: ApiError, key: str) -> None:
        """Count an error response; `key` is the name of the request's key."""
        self._errors.labels(str(error.status)).inc()
        self.load.refused(key, error.code)

    def first_token(self, kind: str, seconds: float) -> None:
        self._first_token(kind).observe(seconds)

    def first_progress(self, seconds: float) -> None:
        self._first_progress.observe(seconds)

    def answered(self, kind: str, budget: str, answers: Answers, seconds: float) -> None:
        """Count a request's answers and their cost."""
        self.spent(kind, answers.calls, answers.usage, seconds, budget=budget)
        for role, cancelled in answers.cancelled.items():
            self._cancelled_calls.labels(role).inc(cancelled.calls)
            self._cancelled_tokens.labels(role).inc(cancelled.tokens_at_most or 0)
        if kind == "search":
            self._search_tokens.labels(budget).inc(sum(used.completion_tokens for used in answers.usage.values()))
            for result in answers.results:
                self._searched(result, budget)

    def spent(
        self,
        kind: str,
        calls: Mapping[ModelRole, int],
        usage: Mapping[ModelRole, Usage],
        seconds: float,
        *,
        budget: str = "",
    ) -> None:
        """Count the model calls of an answered request."""
        self._duration(kind, budget).observe(seconds)
        for role, count in calls.items():
            self._calls(role).inc(count)
        for role, price in self.prices.items():
            if role in usage and (cost := price.of(usage[role])) is not None:
                self._cost(role).inc(cost)
        for role, used in usage.items():
            self._tokens(role, "prompt").inc(used.prompt_tokens)
            self._tokens(role, "completion").inc(used.completion_tokens)

    def _searched(self, result: SearchResult, budget: str) -> None:
        self._stops.labels(result.stop_reason).inc()
        self._nodes.observe(result.nodes)
        self._depth.labels(budget).observe(result.depth)
        self._improved.labels(budget).inc(int(result.improved))
        for node in result.tree:
            # A duplicate shares the judgement of its original.
            if node.judgement is None or node.outcome == "duplicate":
                continue
            self.voted(node.judgement)

    def voted(self, judgement: Judgement) -> None:
        """Count a judgement's votes."""
        for verdict, count in Tally(_verdict(vote) for vote in judgement.votes).items():
            self._votes.labels(verdict).inc(count)

    def refresh(self) -> None:
        """Compute the gauges that are not set when something happens."""
        self._computed.refresh()

    def render(self) -> bytes:
        """Render all metrics in the Prometheus exposition format; with several workers, those of all of them.

        If it is called too often, it returns what it rendered last, which is less than a second old.
        """
        now = time.monotonic()
        if len(self._rendered_at) < _RENDERINGS_PER_S or now - self._rendered_at[0] >= 1:
            self._rendered_at.append(now)
            self.refresh()
            self._rendered = generate_latest(merged() or self._registry)
        return self._rendered


def _verdict(vote: Vote) -> str:
    return "failed" if vote.error else {True: "yes", False: "no", None: "abstained"}[vote.verdict]


def budget_class(budget: int) -> str:
    """The class that a budget is counted in: few, so that each has enough searches to compare."""
    return "0" if budget == 0 else "1-2" if budget <= 2 else "3-8" if budget <= 8 else "9+"


class Meter:
    """Measures one request. Its outcome is an error unless one of the methods below reports success.

    with metrics.request("search") as meter:
        meter.answered(answers, degraded=False)
    """

    def __init__(self, metrics: Metrics, kind: str, budget: str) -> None:
        self.outcome = "error"
        self._metrics = metrics
        self._kind = kind
        self._budget = budget
        self._started = time.monotonic()
        self._has_first_token = self._has_progress = False

    def __enter__(self) -> Self:
        self._metrics.begin(self._kind)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, asyncio.CancelledError | GeneratorExit | ClientGoneError):
            self.outcome = "cancelled"
        self._metrics.end(self._kind, self.outcome)

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self._started

    def first_token(self) -> None:
        """Record that a piece of the answer is being sent; only the first call counts."""
        if not self._has_first_token:
            self._has_first_token = True
            self._metrics.first_token(self._kind, self.elapsed_s)

    def first_progress(self) -> None:
        """Record that a step of the search is being shown; only the first call counts."""
        if not self._has_progress:
            self._has_progress = True
            self._metrics.first_progress(self.elapsed_s)

    def answered(self, answers: Answers, *, degraded: bool) -> None:
        self.outcome = "degraded" if degraded else "ok"
        self._metrics.answered(self._kind, self._budget, answers, self.elapsed_s)

    def judged(self, judgement: Judgement, budget: Budget) -> None:
        """Record a judgement whose calls were made on `budget`."""
        self.outcome = "ok"
        self._metrics.spent(self._kind, budget.calls, budget.usage, self.elapsed_s)
        self._metrics.voted(judgement)

    def forwarded(self, usage: Usage) -> None:
        self.outcome = "ok"
        self._metrics.spent(self._kind, {"actor": 1}, {"actor": usage}, self.elapsed_s)
