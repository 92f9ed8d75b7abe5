"""Turn the server's records into OpenTelemetry's spans, metrics and log events, for the SDK's processors and exporters.

emitter = Emitter(greeting, spans=BatchSpanProcessor(...), metrics=MeterSender(...))
emitter.emit(record)

The calls of a search are children of its span. Phoenix draws no other tree than that of the spans, so where scores are
sent to Phoenix each call is a child of the one whose answer it judges or refines, and named by its node.

Spans are made as they are sent: the SDK's tracer, which observes what is still going on, would be most of the work.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk._logs import LoggerProvider, LogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from spar_server.telemetry import names
from spar_server.telemetry.meters import Meters, MeterSender
from spar_server.telemetry.records import CallRecord, Greeting, RequestRecord, ScoreRecord

_SCOPE: Final = "spar_server"
_ROOT: Final = "search"
_DRAFT: Final = "draft"
_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
_UNSET: Final = Status(StatusCode.UNSET)


class Emitter:
    """Emits each record to those that there are. `delta` is how metrics are counted (see `Meters`)."""

    def __init__(
        self,
        greeting: Greeting,
        *,
        resource: Resource | None = None,
        spans: SpanProcessor | None = None,
        metrics: MeterSender | None = None,
        delta: bool = False,
        logs: LogRecordProcessor | None = None,
    ) -> None:
        self._greeting = greeting
        self._names = names.VERSIONS[greeting["conventions"]]
        self._resource = resource or Resource.create()
        self._scope = InstrumentationScope(_SCOPE, greeting["version"], self._names.schema_url)
        self._spans = spans
        self._metrics = metrics
        self.meters = Meters(greeting, self._resource, self._scope, delta=delta)
        if metrics is not None:
            metrics.start(self.meters)
        self._logging = LoggerProvider(self._resource, shutdown_on_exit=False)
        if logs is not None:
            self._logging.add_log_record_processor(logs)
        self._logger = self._logging.get_logger(_SCOPE, greeting["version"], schema_url=self._names.schema_url)

    def emit(self, record: RequestRecord) -> None:
        self.meters.measure(record)
        # Whether a trace is sent was decided by the server.
        if record.sampled:
            if self._spans is not None:
                self._trace(record, self._spans)
            for score in record.scores:
                self._score(record, score)

    def flush(self) -> None:
        """Send what has been emitted so far; returns when that is done, or given up."""
        if self._spans is not None:
            self._spans.force_flush()
        self._logging.force_flush()
        if self._metrics is not None:
            self._metrics.send(self.meters)

    def close(self) -> None:
        """Send what is left, then stop."""
        if self._spans is not None:
            self._spans.shutdown()
        self._logging.shutdown()
        if self._metrics is not None:
            self._metrics.close(self.meters)

    def _trace(self, record: RequestRecord, spans: SpanProcessor) -> None:
        trace_id = int(record.trace, 16)
        outer = None if record.parent is None else _context(trace_id, record.parent, remote=True)
        common = {names.SPAR_KEY: record.key, names.SPAR_REQUEST_ID: record.request_id, **record.found}
        if record.span is None:
            for call in record.calls:
                spans.on_end(self._call(call, trace_id, outer, {**common, names.GRAPH_NODE_ID: _DRAFT}))
            return
        name = self._greeting["name"]
        inner = _context(trace_id, record.span)
        attributes = {
            names.OPERATION: names.INVOKE_WORKFLOW,
            self._names.workflow_name: name,
            names.SPAN_KIND: "CHAIN",
            names.LANGFUSE_TYPE: "chain",
            names.GRAPH_NODE_ID: _ROOT,
            names.GRAPH_NODE_NAME: _ROOT,
            **common,
        }
        title, times = f"{names.INVOKE_WORKFLOW} {name}", (record.start, record.end)
        spans.on_end(self._span(title, SpanKind.INTERNAL, inner, outer, times, attributes, record.error))
        # The first call for a node wrote it.
        writers = {call.node: call.span for call in reversed(record.calls) if call.role != "judge"}
        for call in record.calls:
            place = _graph(call, writers)
            if self._greeting["scores"] != "phoenix":
                spans.on_end(self._call(call, trace_id, inner, place))
                continue
            writer = writers.get(place[names.GRAPH_NODE_PARENT])
            parent = inner if writer is None else _context(trace_id, writer)
            spans.on_end(self._call(call, trace_id, parent, place, name=place[names.GRAPH_NODE_NAME]))

    def _call(
        self,
        call: CallRecord,
        trace_id: int,
        parent: SpanContext | None,
        more: dict[str, Any],
        *,
        name: str | None = None,
    ) -> ReadableSpan:
        model = self._greeting["models"][call.role]
        attributes = {names.OPERATION: call.operation, **model["attributes"], **more, **_attributes(call)}
        kind = SpanKind.INTERNAL if model["local"] else SpanKind.CLIENT
        name = name or f"{call.operation} {model['attributes'][names.REQUEST_MODEL]}"
        context = _context(trace_id, call.span)
        return self._span(name, kind, context, parent, (call.start, call.end), attributes, call.error)

    def _span(
        self,
        name: str,
        kind: SpanKind,
        context: SpanContext,
        parent: SpanContext | None,
        times: tuple[int, int],
        attributes: dict[str, Any],
        error: str | None,
    ) -> ReadableSpan:
        attributes[names.ERROR_TYPE] = error
        return ReadableSpan(
            name,
            context,
            parent,
            self._resource,
            {key: value for key, value in attributes.items() if value is not None},
            kind=kind,
            status=_UNSET if error is None else Status(StatusCode.ERROR, error),
            start_time=times[0],
            end_time=times[1],
            instrumentation_scope=self._scope,
        )

    def _score(self, record: RequestRecord, score: ScoreRecord) -> None:
        attributes = {
            names.EVALUATION_NAME: score.name,
            names.EVALUATION_VALUE: score.value,
            names.EVALUATION_LABEL: score.label,
            names.EVALUATION_EXPLANATION: score.explanation,
        }
        span = NonRecordingSpan(_context(int(record.trace, 16), score.span))
        self._logger.emit(
            timestamp=score.time,
            context=trace.set_span_in_context(span, Context()),
            attributes={key: value for key, value in attributes.items() if value is not None},
            event_name=names.EVALUATION_EVENT,
        )


def _attributes(call: CallRecord) -> dict[str, Any]:
    """What a call's own record says; values that are None are not sent."""
    return {
        names.REQUEST_TEMPERATURE: call.temperature,
        names.REQUEST_TOP_P: call.top_p,
        names.REQUEST_MAX_TOKENS: call.max_tokens,
        names.REQUEST_SEED: call.seed,
        names.REQUEST_STOP: call.stop or None,
        names.REQUEST_FREQUENCY_PENALTY: call.frequency_penalty,
        names.REQUEST_PRESENCE_PENALTY: call.presence_penalty,
        names.REQUEST_CHOICES: call.choices if call.choices > 1 else None,
        names.REQUEST_STREAM: call.streams or None,
        names.RESPONSE_FINISH_REASONS: call.finish_reasons or None,
        names.RESPONSE_FIRST_CHUNK: call.first_chunk_s,
        names.INPUT_MESSAGES: call.input,
        names.OUTPUT_MESSAGES: call.output,
        names.SPAR_NODE: call.node,
        names.SPAR_CHOICE: call.choice or None,
        names.SPAR_CANCELLED: call.cancelled or None,
        names.SPAR_NODE_OUTCOME: call.outcome,
        names.SPAR_VALUE: call.value,
        names.SPAR_ACCEPTED: call.accepted,
        names.SPAR_VOTES: call.votes,
        **_usage(call),
    }


def _usage(call: CallRecord) -> dict[str, int]:
    if call.usage is None:
        return {}
    input, output, cached, reasoning = call.usage
    used = {names.USAGE_INPUT: input, names.USAGE_OUTPUT: output}
    # The last two are parts of the first, and most models have neither.
    if cached:
        used[names.USAGE_CACHE_READ] = cached
    if reasoning:
        used[names.USAGE_REASONING] = reasoning
    return used


def _graph(call: CallRecord, written: Container[str]) -> dict[str, str]:
    """The call's place in the search's tree: a node under its parent, its votes under the node."""
    node = call.node
    if call.role == "judge":
        return _place(f"{node}/judge", f"judge {node}", node if node in written else _ROOT)
    choice, slash, path = node.rpartition("/")
    if path == _DRAFT:
        return _place(node, node, _ROOT)
    parent = f"{choice}{slash}{path.rpartition('.')[0] or _DRAFT}"
    name = f"refine {node}" if call.role == "refiner" else node
    return _place(node, name, parent if parent in written else _ROOT)


def _place(id: str, name: str, parent: str) -> dict[str, str]:
    return {names.GRAPH_NODE_ID: id, names.GRAPH_NODE_NAME: name, names.GRAPH_NODE_PARENT: parent}


def _context(trace_id: int, span_id: str, *, remote: bool = False) -> SpanContext:
    return SpanContext(trace_id, int(span_id, 16), remote, _SAMPLED)
