"""Turn the server's records into OpenTelemetry's spans, metrics and log events, by its SDK.

emitter = Emitter(greeting, spans=BatchSpanProcessor(...), metrics=PeriodicExportingMetricReader(...))
emitter.emit(record)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.metrics import Counter, Histogram
from opentelemetry.sdk._logs import LoggerProvider, LogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from spar_server.telemetry import names
from spar_server.telemetry.records import CallRecord, Greeting, RequestRecord, ScoreRecord

_SCOPE: Final = "spar_server"
_ROOT: Final = "search"
_DRAFT: Final = "draft"


class _GivenIds(IdGenerator):
    """The ids that the server chose: it has sent them upstream."""

    trace_id = span_id = 0

    def generate_trace_id(self) -> int:
        return self.trace_id

    def generate_span_id(self) -> int:
        return self.span_id


class Emitter:
    """Emits each record to the processors and the reader that there are."""

    def __init__(
        self,
        greeting: Greeting,
        *,
        resource: Resource | None = None,
        spans: SpanProcessor | None = None,
        metrics: MetricReader | None = None,
        logs: LogRecordProcessor | None = None,
    ) -> None:
        self._greeting = greeting
        self._names = names.VERSIONS[greeting["conventions"]]
        self._ids = _GivenIds()
        resource = resource or Resource.create()
        # Whether a trace is sent was decided by the server.
        self._tracing = TracerProvider(ALWAYS_ON, resource, id_generator=self._ids, shutdown_on_exit=False)
        if spans is not None:
            self._tracing.add_span_processor(spans)
        self._metering = MeterProvider([] if metrics is None else [metrics], resource, shutdown_on_exit=False)
        self._logging = LoggerProvider(resource, shutdown_on_exit=False)
        if logs is not None:
            self._logging.add_log_record_processor(logs)
        scope = (_SCOPE, greeting["version"])
        self._tracer = self._tracing.get_tracer(*scope, schema_url=self._names.schema_url)
        self._logger = self._logging.get_logger(*scope, schema_url=self._names.schema_url)
        self._instruments = _Instruments(self._metering, greeting, self._names)

    def emit(self, record: RequestRecord) -> None:
        self._instruments.measure(record)
        if record["sampled"]:
            self._trace(record)
            for score in record["scores"]:
                self._score(record, score)

    def flush(self) -> None:
        """Send what has been emitted so far; returns when that is done, or given up."""
        self._tracing.force_flush()
        self._logging.force_flush()
        self._metering.force_flush()

    def close(self) -> None:
        """Send what is left, then stop."""
        self._tracing.shutdown()
        self._logging.shutdown()
        self._metering.shutdown()

    def _trace(self, record: RequestRecord) -> None:
        parent = record["parent"]
        # An id that is not sampled would be dropped by the SDK.
        outer = Context() if parent is None else _within(record["trace"], parent, remote=True)
        own = record["span"]
        if own is None:
            for call in record["calls"]:
                self._call(record, call, outer, {**record["attributes"], names.GRAPH_NODE_ID: _DRAFT})
            return
        attributes = {
            names.OPERATION: names.INVOKE_WORKFLOW,
            self._names.workflow_name: self._greeting["name"],
            names.SPAN_KIND: "CHAIN",
            names.LANGFUSE_TYPE: "chain",
            names.GRAPH_NODE_ID: _ROOT,
            names.GRAPH_NODE_NAME: _ROOT,
            **record["attributes"],
        }
        name = f"{names.INVOKE_WORKFLOW} {self._greeting['name']}"
        self._span(
            record, own, name, SpanKind.INTERNAL, outer, record["start"], record["end"], attributes, record["error"]
        )
        inner = _within(record["trace"], own)
        written = {str(call["attributes"][names.SPAR_NODE]) for call in record["calls"] if call["role"] != "judge"}
        for call in record["calls"]:
            self._call(record, call, inner, _graph(call, written))

    def _call(self, record: RequestRecord, call: CallRecord, parent: Context, more: Mapping[str, Any]) -> None:
        model = self._greeting["models"][call["role"]]
        attributes = {
            names.OPERATION: call["operation"],
            **model["attributes"],
            **more,
            **call["attributes"],
            names.RESPONSE_FIRST_CHUNK: call["first_chunk_s"],
            **_usage(call),
        }
        kind = SpanKind.INTERNAL if model["local"] else SpanKind.CLIENT
        name = f"{call['operation']} {model['attributes'][names.REQUEST_MODEL]}"
        self._span(record, call["span"], name, kind, parent, call["start"], call["end"], attributes, call["error"])

    def _span(
        self,
        record: RequestRecord,
        id: str,
        name: str,
        kind: SpanKind,
        parent: Context,
        start: int,
        end: int,
        attributes: Mapping[str, Any],
        error: str | None,
    ) -> None:
        self._ids.trace_id, self._ids.span_id = int(record["trace"], 16), int(id, 16)
        known = {key: value for key, value in attributes.items() if value is not None}
        if error is not None:
            known[names.ERROR_TYPE] = error
        span = self._tracer.start_span(name, parent, kind, known, start_time=start)
        if error is not None:
            span.set_status(Status(StatusCode.ERROR, error))
        span.end(end)

    def _score(self, record: RequestRecord, score: ScoreRecord) -> None:
        attributes = {
            names.EVALUATION_NAME: score["name"],
            names.EVALUATION_VALUE: score["value"],
            names.EVALUATION_LABEL: score["label"],
            names.EVALUATION_EXPLANATION: score["explanation"],
        }
        self._logger.emit(
            timestamp=score["time"],
            context=_within(record["trace"], score["span"]),
            attributes={key: value for key, value in attributes.items() if value is not None},
            event_name=names.EVALUATION_EVENT,
        )


class _Instruments:
    """The metrics of requests and calls."""

    def __init__(self, provider: MeterProvider, greeting: Greeting, version: names.VersionNames) -> None:
        self._greeting = greeting
        meter = provider.get_meter(_SCOPE, greeting["version"], version.schema_url)

        def seconds(name: str, description: str) -> Histogram:
            return meter.create_histogram(name, "s", description, explicit_bucket_boundaries_advisory=names.SECONDS)

        self._duration = seconds(names.SERVER_DURATION, "Time to the complete answer")
        self._first_token = seconds(names.SERVER_FIRST_TOKEN, "Time to the answer's first token")
        self._call_duration = seconds(version.client_duration, "Duration of a model call")
        self._first_chunk = seconds(version.client_first_chunk, "Time to the first chunk of a streamed model call")
        self._usage: tuple[Counter, ...] = ()
        if version.usage:
            self._usage = tuple(
                meter.create_counter(name, "{token}", "Tokens of model calls") for name in version.usage
            )
        self._tokens: Histogram | None = None
        if version.token_usage:
            self._tokens = meter.create_histogram(
                version.token_usage,
                "{token}",
                "Tokens of a model call",
                explicit_bucket_boundaries_advisory=names.TOKENS,
            )

    def measure(self, record: RequestRecord) -> None:
        labels = {
            names.OPERATION: record["operation"],
            names.PROVIDER: "spar",
            names.REQUEST_MODEL: self._greeting["name"],
        }
        context = _sampled_context(record, record["span"] or (record["calls"][0]["span"] if record["calls"] else None))
        failed = {} if record["error"] is None else {names.ERROR_TYPE: record["error"]}
        self._duration.record((record["end"] - record["start"]) / 1e9, {**labels, **failed}, context)
        if record["first_token_s"] is not None and not failed:
            self._first_token.record(record["first_token_s"], labels, context)
        for call in record["calls"]:
            self._measure_call(call, _sampled_context(record, call["span"]))

    def _measure_call(self, call: CallRecord, context: Context) -> None:
        model = self._greeting["models"][call["role"]]["attributes"]
        labels = {names.OPERATION: call["operation"]} | {
            name: model[name]
            for name in (names.PROVIDER, names.REQUEST_MODEL, names.SERVER_ADDRESS, names.SERVER_PORT)
            if name in model
        }
        failed = {} if call["error"] is None else {names.ERROR_TYPE: call["error"]}
        self._call_duration.record((call["end"] - call["start"]) / 1e9, {**labels, **failed}, context)
        if call["first_chunk_s"] is not None:
            self._first_chunk.record(call["first_chunk_s"], labels, context)
        usage = call["usage"]
        # The conventions count 0 where there is no usage.
        for counter, tokens in zip(self._usage, usage or (0, 0, 0, 0), strict=False):
            counter.add(tokens, {**labels, names.TOKEN_MODALITY: "unknown"}, context)
        if self._tokens is not None and usage is not None:
            for kind, tokens in zip(("input", "output"), usage, strict=False):
                self._tokens.record(tokens, {**labels, names.TOKEN_TYPE: kind}, context)


def _usage(call: CallRecord) -> dict[str, int]:
    if call["usage"] is None:
        return {}
    input, output, cached, reasoning = call["usage"]
    used = {names.USAGE_INPUT: input, names.USAGE_OUTPUT: output}
    # The last two are parts of the first, and most models have neither.
    if cached:
        used[names.USAGE_CACHE_READ] = cached
    if reasoning:
        used[names.USAGE_REASONING] = reasoning
    return used


def _graph(call: CallRecord, written: set[str]) -> dict[str, str]:
    """The call's place in the tree that Phoenix draws: a node under its parent, its votes under the node."""
    node = str(call["attributes"][names.SPAR_NODE])
    if call["role"] == "judge":
        return _place(f"{node}/judge", f"judge {node}", node if node in written else _ROOT)
    choice, slash, path = node.rpartition("/")
    if path == _DRAFT:
        return _place(node, node, _ROOT)
    parent = f"{choice}{slash}{path.rpartition('.')[0] or _DRAFT}"
    name = f"refine {node}" if call["role"] == "refiner" else node
    return _place(node, name, parent if parent in written else _ROOT)


def _place(id: str, name: str, parent: str) -> dict[str, str]:
    return {names.GRAPH_NODE_ID: id, names.GRAPH_NODE_NAME: name, names.GRAPH_NODE_PARENT: parent}


def _sampled_context(record: RequestRecord, span: str | None) -> Context:
    """The context of a measurement: its span is an exemplar if it is sent."""
    return _within(record["trace"], span) if span is not None and record["sampled"] else Context()


def _within(trace_id: str, span_id: str, *, remote: bool = False) -> Context:
    context = SpanContext(int(trace_id, 16), int(span_id, 16), remote, TraceFlags(TraceFlags.SAMPLED))
    return trace.set_span_in_context(NonRecordingSpan(context), Context())
