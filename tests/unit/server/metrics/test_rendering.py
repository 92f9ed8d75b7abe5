"""How often the metrics are rendered."""

from __future__ import annotations

import time

import pytest

from spar_server.errors import ApiError
from spar_server.metrics.metrics import Metrics

LIMIT = 20


def test_the_metrics_are_rendered_a_limited_number_of_times_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    metrics = Metrics()

    def shown() -> int:
        """The number of errors in the rendering after one more error."""
        metrics.refused(ApiError(500, "broken"), "bob")
        (line,) = (line for line in metrics.render().decode().splitlines() if line.startswith("spar_error_responses_t"))
        return int(float(line.rpartition(" ")[2]))

    for count in range(1, LIMIT + 1):
        now += 0.02
        assert shown() == count
    assert shown() == shown() == LIMIT
    # A second after the first of them, there is room for one more.
    now += 1.001 - 0.02 * (LIMIT - 1)
    assert shown() == LIMIT + 3
    assert shown() == LIMIT + 3
