"""The metrics of requests and calls, added up as records arrive, and sent every minute.

    meters = Meters(greeting, resource, delta=False)
    meters.measure(record)
    data = meters.collect()

The SDK's own instruments sort and copy the labels of every measurement, and take it in six locks: ten times the work of
all the rest. What is sent, and by which exporter, is the SDK's.
"""

from __future__ import annotations

import logging
import threading
import time
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricExporter,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from spar_server.telemetry import names
from spar_server.telemetry.records import CallRecord, Greeting, RequestRecord

logger = logging.getLogger(__name__)

# A series by its labels, in the order in which they were first given.
Labels = tuple[tuple[str, Any], ...]


class Example(NamedTuple):
    """A measurement's time and the span that it was made in."""

    time: int
    trace: str
    span: str


class _Point:
    """One series of a histogram; `counts` by bucket, and the latest example in each."""

    __slots__ = ("counts", "examples", "highest", "lowest", "total")

    def __init__(self, buckets: int) -> None:
        self.counts = [0] * buckets
        self.examples: dict[int, tuple[float, Example]] = {}
        self.total: float = 0
        self.lowest, self.highest = float("inf"), float("-inf")


class _Distribution:
    """A histogram of each series."""

    def __init__(self, name: str, unit: str, description: str, bounds: Sequence[float]) -> None:
        self.name, self.unit, self.description, self._bounds = name, unit, description, bounds
        self.points: dict[Labels, _Point] = {}

    def record(self, value: float, labels: Labels, example: Example | None) -> None:
        point = self.points.get(labels)
        if point is None:
            point = self.points[labels] = _Point(len(self._bounds) + 1)
        bucket = bisect_left(self._bounds, value)
        point.counts[bucket] += 1
        point.total += value
        if value < point.lowest:
            point.lowest = value
        if value > point.highest:
            point.highest = value
        if example is not None:
            point.examples[bucket] = value, example

    def data(self, start: int, now: int, temporality: AggregationTemporality) -> Histogram:
        points = [
            HistogramDataPoint(
                attributes=dict(labels),
                start_time_unix_nano=start,
                time_unix_nano=now,
                count=sum(point.counts),
                sum=point.total,
                bucket_counts=tuple(point.counts),
                explicit_bounds=self._bounds,
                min=point.lowest,
                max=point.highest,
                exemplars=[_exemplar(*each) for each in point.examples.values()],
            )
            for labels, point in self.points.items()
        ]
        return Histogram(points, temporality)


class _Count:
    """A sum of each series."""

    def __init__(self, name: str, unit: str, description: str) -> None:
        self.name, self.unit, self.description = name, unit, description
        self.points: dict[Labels, int] = {}

    def add(self, value: int, labels: Labels) -> None:
        self.points[labels] = self.points.get(labels, 0) + value

    def data(self, start: int, now: int, temporality: AggregationTemporality) -> Sum:
        points = [NumberDataPoint(dict(labels), start, now, value) for labels, value in self.points.items()]
        return Sum(points, temporality, is_monotonic=True)


class Meters:
    """All metrics. With `delta`, each collection has what came since the one before, instead of everything."""

    def __init__(
        self, greeting: Greeting, resource: Resource, scope: InstrumentationScope, *, delta: bool = False
    ) -> None:
        version = names.VERSIONS[greeting["conventions"]]
        self._resource, self._scope = resource, scope
        self._delta = delta
        # Records are measured in one thread and collected in another.
        self._lock = threading.Lock()
        self._start = time.time_ns()
        self._request_labels: Labels = ((names.PROVIDER, "spar"), (names.REQUEST_MODEL, greeting["name"]))
        self._call_labels = {role: _labels(model["attributes"]) for role, model in greeting["models"].items()}

        def seconds(name: str, description: str) -> _Distribution:
            return _Distribution(name, "s", description, names.SECONDS)

        self._duration = seconds(names.SERVER_DURATION, "Time to the complete answer")
        self._first_token = seconds(names.SERVER_FIRST_TOKEN, "Time to the answer's first token")
        self._call_duration = seconds(version.client_duration, "Duration of a model call")
        self._first_chunk = seconds(version.client_first_chunk, "Time to the first chunk of a streamed model call")
        self._usage = [_Count(name, "{token}", "Tokens of model calls") for name in version.usage or ()]
        self._tokens = (
            _Distribution(version.token_usage, "{token}", "Tokens of a model call", names.TOKENS)
            if version.token_usage
            else None
        )

    def measure(self, record: RequestRecord) -> None:
        labels = ((names.OPERATION, record.operation), *self._request_labels)
        span = record.span or (record.calls[0].span if record.calls else None)
        example = Example(record.end, record.trace, span) if record.sampled and span is not None else None
        with self._lock:
            self._duration.record((record.end - record.start) / 1e9, _failed(labels, record.error), example)
            if record.first_token and record.error is None:
                self._first_token.record((record.first_token - record.start) / 1e9, labels, example)
            for call in record.calls:
                self._measure_call(call, Example(call.end, record.trace, call.span) if record.sampled else None)

    def _measure_call(self, call: CallRecord, example: Example | None) -> None:
        labels = ((names.OPERATION, call.operation), *self._call_labels[call.role])
        self._call_duration.record((call.end - call.start) / 1e9, _failed(labels, call.error), example)
        if (first_chunk_s := call.first_chunk_s) is not None:
            self._first_chunk.record(first_chunk_s, labels, example)
        if self._usage:
            counted = (*labels, (names.TOKEN_MODALITY, "unknown"))
            # The conventions count 0 where there is no usage.
            for counter, tokens in zip(self._usage, call.usage or (0, 0, 0, 0), strict=True):
                counter.add(tokens, counted)
        if self._tokens is not None and call.usage is not None:
            for kind, tokens in zip(("input", "output"), call.usage, strict=False):
                self._tokens.record(tokens, (*labels, (names.TOKEN_TYPE, kind)), example)

    def collect(self) -> MetricsData:
        """What has been measured; each example is told once."""
        temporality = AggregationTemporality.DELTA if self._delta else AggregationTemporality.CUMULATIVE
        distributions = (self._duration, self._first_token, self._call_duration, self._first_chunk, self._tokens)
        with self._lock:
            now = time.time_ns()
            metrics = [
                Metric(each.name, each.description, each.unit, each.data(self._start, now, temporality))
                for each in (*distributions, *self._usage)
                if each is not None and each.points
            ]
            for distribution in distributions:
                for point in distribution.points.values() if distribution is not None else ():
                    point.examples.clear()
            if self._delta:
                self._start = now
                for each in (*distributions, *self._usage):
                    if each is not None:
                        each.points.clear()
        scoped = ScopeMetrics(self._scope, metrics, self._scope.schema_url or "")
        return MetricsData([ResourceMetrics(self._resource, [scoped], self._resource.schema_url)])


class MeterSender:
    """Sends what the meters have collected every `interval_s`, in a thread of its own."""

    def __init__(self, exporter: MetricExporter, *, interval_s: float) -> None:
        self._exporter = exporter
        self._interval_s = interval_s
        self._closed = threading.Event()
        # An exporter takes one export at a time.
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self, meters: Meters) -> None:
        self._thread = threading.Thread(target=self._send_on, args=(meters,), daemon=True)
        self._thread.start()

    def send(self, meters: Meters) -> None:
        try:
            with self._lock:
                self._exporter.export(meters.collect())
        except Exception:
            # This is the edge of the process, and the next time may be fine.
            logger.exception("metrics could not be sent")

    def close(self, meters: Meters) -> None:
        """Send what is left."""
        self._closed.set()
        self.send(meters)
        self._exporter.shutdown()

    def _send_on(self, meters: Meters) -> None:
        while not self._closed.wait(self._interval_s):
            self.send(meters)


_CALL_LABELS: Final = (names.PROVIDER, names.REQUEST_MODEL, names.SERVER_ADDRESS, names.SERVER_PORT)


def _labels(attributes: Mapping[str, Any]) -> Labels:
    return tuple((name, attributes[name]) for name in _CALL_LABELS if name in attributes)


def _failed(labels: Labels, error: str | None) -> Labels:
    return labels if error is None else (*labels, (names.ERROR_TYPE, error))


def _exemplar(value: float, example: Example) -> Exemplar:
    return Exemplar({}, value, example.time, int(example.span, 16), int(example.trace, 16))
