"""How metrics are added up, and how often they are sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricsData

from spar_server.settings import Settings
from spar_server.telemetry.emitter import Emitter
from spar_server.telemetry.exporter import open_emitter
from spar_server.telemetry.opening import greeting
from tests.support.pairs import scripted_pair
from tests.support.telemetry import id_of

Observe = Callable[..., Any]
DURATION = "gen_ai.server.request.duration"


def metric(data: MetricsData, name: str) -> Any:
    (found,) = [
        each
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for each in scope.metrics
        if each.name == name
    ]
    return found


async def test_a_histogram_counts_sums_and_bounds_what_was_measured(observed: Observe) -> None:
    server = observed()
    for _ in range(3):
        await server.ask()
    (point,) = server.collected.metrics[DURATION]
    assert (point.count, sum(point.bucket_counts)) == (3, 3)
    assert len(point.bucket_counts) == len(point.explicit_bounds) + 1
    assert 0 < point.min <= point.sum / 3 <= point.max


async def test_each_collection_has_everything_since_the_start(observed: Observe) -> None:
    server = observed()
    await server.ask()
    (first,) = server.collected.metrics[DURATION]
    await server.ask()
    (second,) = server.collected.metrics[DURATION]
    assert (first.count, second.count) == (1, 2)
    assert first.start_time_unix_nano == second.start_time_unix_nano


async def test_with_delta_each_collection_has_what_came_since_the_last(observed: Observe) -> None:
    server = observed()
    pair = scripted_pair()
    collected = server.collected
    collected.emitter = emitter = Emitter(greeting(Settings(), pair), delta=True)
    await server.ask()
    first = metric(emitter.meters.collect(), DURATION)
    await server.ask()
    await server.ask()
    second = metric(emitter.meters.collect(), DURATION)
    assert {each.data.aggregation_temporality for each in (first, second)} == {AggregationTemporality.DELTA}
    (earlier,), (later,) = first.data.data_points, second.data.data_points
    assert (earlier.count, later.count) == (1, 2)
    assert later.start_time_unix_nano == earlier.time_unix_nano


async def test_a_measurement_leads_to_the_span_that_it_was_made_in(observed: Observe) -> None:
    server = observed()
    await server.ask()
    (point,) = server.collected.metrics["gen_ai.client.inference.duration"]
    (span,) = server.collected.spans
    assert [f"{each.span_id:016x}" for each in point.exemplars] == [id_of(span)]


async def test_tokens_are_counted_from_zero(observed: Observe) -> None:
    server = observed()
    await server.ask()
    counted = {
        name.removeprefix("gen_ai.client.inference.usage."): points[0].value
        for name, points in server.collected.metrics.items()
        if ".usage." in name
    }
    assert counted == {
        "input_tokens": 2,
        "output_tokens": 3,
        "cache_read.input_tokens": 0,
        "reasoning.output_tokens": 0,
    }


async def test_the_older_conventions_have_a_histogram_of_tokens(observed: Observe) -> None:
    server = observed(conventions="v1.41")
    await server.ask()
    points = server.collected.metrics["gen_ai.client.token.usage"]
    assert {each.attributes["gen_ai.token.type"]: each.sum for each in points} == {"input": 2, "output": 3}


@pytest.mark.parametrize("interval", ["soon", "0", "-5", "nan"])
def test_an_interval_that_is_none_is_a_minute(interval: str, caplog: pytest.LogCaptureFixture) -> None:
    environment = {
        "OTEL_METRIC_EXPORT_INTERVAL": interval,
        "OTEL_TRACES_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
    }
    open_emitter(greeting(Settings(), scripted_pair()), environment)
    assert "OTEL_METRIC_EXPORT_INTERVAL" in caplog.text
