"""The process that sends telemetry: `python -m spar_server.telemetry.exporter`, with records on its standard input.

It is a process of its own so that a slow collector, and the work of the SDK, take no time from answers. It ends when
its input does, after a short time to send what is left.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from typing import Final

from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LogRecordProcessor
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.util.re import parse_env_headers

from spar_server.metrics.logs import set_up_logging
from spar_server.settings import Signal
from spar_server.telemetry.emitter import Emitter
from spar_server.telemetry.meters import MeterSender
from spar_server.telemetry.phoenix import PhoenixScores
from spar_server.telemetry.records import Greeting, read_record

logger = logging.getLogger(__name__)

# How many spans may wait to be sent, unless a variable says so.
_MAX_SPANS: Final = 16_384
# The same trouble is said again after this time.
_REPEAT_S: Final = 60.0


class _Seldom(logging.Filter):
    """Lets a message pass once a minute: a collector that is down fails every batch."""

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[tuple[str, object], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        now, key = time.monotonic(), (record.name, record.msg)
        if now - self._said.get(key, -_REPEAT_S) < _REPEAT_S:
            return False
        self._said[key] = now
        return True


def open_emitter(greeting: Greeting, environment: Mapping[str, str] = os.environ) -> Emitter:
    """An emitter that sends by OTLP over HTTP, as the greeting and the variables OTEL_* say."""
    signals = [each for each in greeting["signals"] if environment.get(_EXPORTER_OF[each], "").strip() != "none"]
    spans: BatchSpanProcessor | None = None
    if "traces" in signals:
        # Searches come many spans at a time; the SDK's default would lose some where this process gets little CPU time.
        queue = None if environment.get("OTEL_BSP_MAX_QUEUE_SIZE") else _MAX_SPANS
        spans = BatchSpanProcessor(OTLPSpanExporter(), max_queue_size=queue)
    logs: LogRecordProcessor | None = None
    if greeting["scores"] == "phoenix" and spans is not None:
        url = environment.get("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318")
        headers = parse_env_headers(environment.get("OTEL_EXPORTER_OTLP_HEADERS", ""), liberal=True)
        logs = BatchLogRecordProcessor(PhoenixScores(url, headers, spans.force_flush))
    elif "logs" in signals:
        logs = BatchLogRecordProcessor(OTLPLogExporter())
    metrics: MeterSender | None = None
    if "metrics" in signals:
        metrics = MeterSender(OTLPMetricExporter(), interval_s=_interval_s(environment))
    return Emitter(
        greeting,
        resource=_resource(greeting, environment),
        spans=spans,
        metrics=metrics,
        delta=environment.get(_TEMPORALITY, "").strip().lower() in ("delta", "lowmemory"),
        logs=logs,
    )


_EXPORTER_OF: Final[dict[Signal, str]] = {
    "traces": "OTEL_TRACES_EXPORTER",
    "metrics": "OTEL_METRICS_EXPORTER",
    "logs": "OTEL_LOGS_EXPORTER",
}


_TEMPORALITY: Final = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"
_INTERVAL: Final = "OTEL_METRIC_EXPORT_INTERVAL"
_DEFAULT_INTERVAL_S: Final = 60.0


def _interval_s(environment: Mapping[str, str]) -> float:
    """How often metrics are sent; the variable has milliseconds."""
    given = environment.get(_INTERVAL, "").strip()
    try:
        interval_s = float(given) / 1000 if given else _DEFAULT_INTERVAL_S
    except ValueError:
        interval_s = 0.0
    if 0 < interval_s < threading.TIMEOUT_MAX:
        return interval_s
    logger.warning("%s: must be a number of milliseconds, not %r; metrics are sent every minute", _INTERVAL, given[:40])
    return _DEFAULT_INTERVAL_S


def _resource(greeting: Greeting, environment: Mapping[str, str]) -> Resource:
    """The server and its version; what the variables say wins."""
    named = environment.get("OTEL_SERVICE_NAME") or "service.name=" in environment.get("OTEL_RESOURCE_ATTRIBUTES", "")
    # Without any name the SDK would make one up, which would win too.
    made = Resource.create({} if named else {"service.name": "spar-server"})
    return Resource({"service.version": greeting["version"]}).merge(made)


def run(emitter: Emitter, lines: Iterable[bytes]) -> None:
    """Emit the records until there are no more."""
    for line in lines:
        try:
            emitter.emit(read_record(line))
        except Exception:
            # This is the edge of the process, and the next record may be fine.
            logger.exception("a record could not be sent")


def main() -> None:
    # Signals are for the server; this process ends with its input.
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    if hasattr(os, "nice"):
        # Answers come first.
        os.nice(5)
    greeting: Greeting = json.loads(sys.stdin.buffer.readline())
    set_up_logging(level=greeting["log_level"], style=greeting["log_format"], access=False)
    logging.getLogger().handlers[0].addFilter(_Seldom())
    emitter = open_emitter(greeting)
    run(emitter, sys.stdin.buffer)
    closing = threading.Thread(target=emitter.close, daemon=True)
    closing.start()
    closing.join(greeting["flush_s"])
    # Whatever the SDK's threads still wait for must not keep the process.
    logging.shutdown()
    os._exit(0)


if __name__ == "__main__":
    main()
