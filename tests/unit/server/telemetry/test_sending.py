"""The process that sends telemetry: with a collector, without one, and when it dies."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from opentelemetry._logs import LogRecord
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk._logs.export import LogRecordExportResult
from opentelemetry.sdk.resources import Resource

from spar_server.settings import Settings, TelemetrySettings
from spar_server.telemetry import sender as sender_module
from spar_server.telemetry.opening import open_telemetry
from spar_server.telemetry.phoenix import PhoenixScores
from spar_server.telemetry.request import ObservedRequest
from spar_server.telemetry.sender import Sender
from spar_server.telemetry.telemetry import Telemetry
from spar_server.telemetry.trace_context import Sampler
from tests.support.collector import collector
from tests.support.pairs import scripted_pair


@asynccontextmanager
async def sending(monkeypatch: pytest.MonkeyPatch, endpoint: str, dropped: list[int]) -> AsyncIterator[Telemetry]:
    """Telemetry that is sent to `endpoint` by the real process, which has ended afterwards."""
    # Nothing is sent before the end, so a test sees everything in one batch.
    for name in ("OTEL_BSP_SCHEDULE_DELAY", "OTEL_BLRP_SCHEDULE_DELAY", "OTEL_METRIC_EXPORT_INTERVAL"):
        monkeypatch.setenv(name, "600000")
    settings = Settings(telemetry=TelemetrySettings(enabled=True, endpoint=endpoint))
    telemetry = open_telemetry(settings, scripted_pair(), dropped.append)
    telemetry.start()
    try:
        yield telemetry
    finally:
        await telemetry.aclose()


@pytest.fixture
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the process take as long as a busy machine needs to start it."""
    monkeypatch.setattr("spar_server.telemetry.opening.FLUSH_S", 120.0)


async def until_running(telemetry: Telemetry, *, running: bool = True) -> Sender:
    sender = telemetry._sender
    assert isinstance(sender, Sender)
    async with asyncio.timeout(120):
        while (sender._pipe is not None) is not running:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return sender


def one_request(telemetry: Telemetry) -> None:
    request = telemetry.open_request("chat", None, None)
    telemetry.close_request(request, key="alice", request_id="id", error=None)


@pytest.mark.usefixtures("_patient")
async def test_what_is_left_is_sent_when_the_server_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    dropped: list[int] = []
    with collector() as server:
        async with sending(monkeypatch, server.url, dropped) as telemetry:
            await until_running(telemetry)
            one_request(telemetry)
        metrics = ExportMetricsServiceRequest.FromString(server.bodies["/v1/metrics"][0])
    (resource,) = metrics.resource_metrics
    attributes = {each.key: each.value.string_value for each in resource.resource.attributes}
    assert attributes["service.name"] == "spar-server"
    names = {metric.name for scope in resource.scope_metrics for metric in scope.metrics}
    assert "gen_ai.server.request.duration" in names
    assert dropped == []


async def test_a_dead_collector_neither_delays_requests_nor_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    dropped: list[int] = []
    async with sending(monkeypatch, "http://127.0.0.1:9", dropped) as telemetry:
        sender = await until_running(telemetry)
        for _ in range(100):
            one_request(telemetry)
    assert sender._process is not None
    assert sender._process.returncode is not None
    assert dropped == []


@pytest.mark.usefixtures("_patient")
async def test_a_process_that_dies_is_started_again_and_what_it_missed_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("spar_server.telemetry.sender._RESTART_S", 0.0)
    dropped: list[int] = []
    may_start = threading.Event()
    with collector() as server:
        async with sending(monkeypatch, server.url, dropped) as telemetry:
            sender = await until_running(telemetry)
            assert sender._process is not None
            first = sender._process.pid

            def start_when_allowed(*arguments: Any) -> Any:
                assert may_start.wait(120)
                return start(*arguments)

            start = sender_module._start
            monkeypatch.setattr(sender_module, "_start", start_when_allowed)
            os.kill(first, signal.SIGKILL)
            await until_running(telemetry, running=False)
            one_request(telemetry)
            sender._write()
            assert dropped == [1]
            may_start.set()
            await until_running(telemetry)
            assert sender._process.pid != first
            one_request(telemetry)
        assert server.bodies["/v1/metrics"]


async def test_more_than_can_wait_is_dropped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spar_server.telemetry.sender._MAX_QUEUED", 3)
    dropped: list[int] = []
    sender = Sender({"name": "pair", "flush_s": 1.0}, {}, dropped.append)  # type: ignore[typeddict-item]
    for _ in range(5):
        sender.send(ObservedRequest("chat", Sampler().context(None, None), keeps_texts=False))
    assert dropped == [1, 1]
    await sender.aclose()
    assert dropped == [1, 1, 3]


def test_phoenix_gets_scores_as_annotations_after_their_spans() -> None:
    order: list[str] = []
    with collector() as server:
        record = LogRecord(
            timestamp=1,
            event_name="gen_ai.evaluation.result",
            attributes={
                "gen_ai.evaluation.name": "spar.holistic",
                "gen_ai.evaluation.score.value": 0.25,
                "gen_ai.evaluation.score.label": "rejected",
            },
        )
        record.span_id = 0xABC
        exporter = PhoenixScores(server.url, {"authorization": "Bearer key"}, lambda: order.append("spans"))
        result = exporter.export([ReadableLogRecord(record, Resource({}))])
        (body,) = server.bodies["/v1/span_annotations"]
    assert (result, order) == (LogRecordExportResult.SUCCESS, ["spans"])
    assert json.loads(body) == {
        "data": [
            {
                "span_id": "0000000000000abc",
                "name": "spar.holistic",
                "annotator_kind": "LLM",
                "result": {"score": 0.25, "label": "rejected"},
            }
        ]
    }


def test_phoenix_being_gone_fails_the_batch_and_nothing_else() -> None:
    exporter = PhoenixScores("http://127.0.0.1:9", {}, lambda: None)
    assert exporter.export([]) is LogRecordExportResult.FAILURE
