"""Telemetry for tests: the server's own, by the real SDK, into memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from spar_server.models.pair import ServedPair
from spar_server.settings import Settings
from spar_server.telemetry.emitter import Emitter
from spar_server.telemetry.opening import greeting
from spar_server.telemetry.records import Line, read_record
from spar_server.telemetry.telemetry import Telemetry


@dataclass
class Collected:
    """A `LineSender` that emits each record at once, and what has been emitted. `lines` are the records."""

    settings: Settings
    pair: ServedPair
    lines: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._spans, self._logs = InMemorySpanExporter(), InMemoryLogRecordExporter()
        self.emitter = Emitter(
            greeting(self.settings, self.pair),
            spans=SimpleSpanProcessor(self._spans),
            logs=SimpleLogRecordProcessor(self._logs),
        )
        self.telemetry = Telemetry(self, content=self.settings.telemetry.content)

    def start(self) -> None:
        """Nothing to start."""

    def send(self, request: Line) -> None:
        line = request.line()
        self.emitter.emit(read_record(line))
        self.lines.append(line)

    async def aclose(self) -> None:
        """Nothing to close."""

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self._spans.get_finished_spans())

    def span(self, **attributes: Any) -> ReadableSpan:
        """The only span with these attributes; `__` in a name stands for a dot."""
        wanted = {name.replace("__", "."): value for name, value in attributes.items()}
        (found,) = [each for each in self.spans if all(of(each).get(name) == value for name, value in wanted.items())]
        return found

    @property
    def events(self) -> list[ReadableLogRecord]:
        return list(self._logs.get_finished_logs())

    @property
    def metrics(self) -> dict[str, list[Any]]:
        """The data points by the metric's name."""
        return {
            metric.name: list(metric.data.data_points)
            for resource in self.emitter.meters.collect().resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }


def of(span: ReadableSpan) -> dict[str, Any]:
    """A span's attributes; lists as tuples."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in (span.attributes or {}).items()}


def id_of(span: ReadableSpan) -> str:
    assert span.context is not None
    return f"{span.context.span_id:016x}"


def parent_of(span: ReadableSpan) -> str | None:
    return None if span.parent is None else f"{span.parent.span_id:016x}"
