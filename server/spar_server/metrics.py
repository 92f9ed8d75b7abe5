"""Prometheus metrics: base units, bounded labels, one registry per app."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from spar_core.search import SearchResult
from spar_server.answering import Plan

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 240, 480)


class Metrics:
    """What the dashboards show."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        self._requests = Counter(
            "spar_requests", "Chat requests by kind and outcome", ["kind", "outcome"], registry=registry
        )
        self._duration = Histogram(
            "spar_request_duration_seconds", "From admission to the answer", ["kind"],
            buckets=_SECONDS, registry=registry,
        )  # fmt: skip
        self._stops = Counter("spar_search_stops", "Searches by stop reason", ["reason"], registry=registry)
        self._nodes = Histogram(
            "spar_search_nodes", "Nodes expanded by a search", buckets=(0, 1, 2, 3, 6, 9, 15, 21, 32, 64),
            registry=registry,
        )  # fmt: skip
        self._depth = Histogram(
            "spar_answer_depth", "Refinements between the draft and the answer",
            buckets=(0, 1, 2, 3, 4, 6, 8, 16), registry=registry,
        )  # fmt: skip
        self._improved = Counter("spar_improved", "Answers that replaced their draft", registry=registry)
        self._tokens = Counter("spar_tokens", "Tokens by model role and kind", ["role", "kind"], registry=registry)
        self._calls = Counter("spar_model_calls", "Model calls by role", ["role"], registry=registry)
        self.running = Gauge("spar_requests_running", "Chat requests in flight", registry=registry)

    def searched(self, plan: Plan, result: SearchResult) -> None:
        """Count a request that has its answer."""
        kind = "search" if plan.config.budget else "pass_through"
        self._requests.labels(kind, "degraded" if result.degraded else "ok").inc()
        self._duration.labels(kind).observe(result.duration_s)
        for role, calls in result.calls.items():
            self._calls.labels(role).inc(calls)
        for role, usage in result.usage.items():
            self._tokens.labels(role, "prompt").inc(usage.prompt_tokens)
            self._tokens.labels(role, "completion").inc(usage.completion_tokens)
        if plan.config.budget:
            self._stops.labels(result.stop_reason).inc()
            self._nodes.observe(result.nodes)
            self._depth.observe(result.depth)
            self._improved.inc(int(result.improved))

    def failed(self) -> None:
        """Count a request that got an error instead of an answer."""
        self._requests.labels("any", "error").inc()

    def render(self) -> bytes:
        """The exposition format."""
        return generate_latest(self.registry)
