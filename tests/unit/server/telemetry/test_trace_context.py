"""W3C trace context and the samplers of the environment."""

from __future__ import annotations

import pytest

from spar_core.errors import ConfigError
from spar_server.telemetry.trace_context import Sampler

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def test_the_headers_of_a_call_continue_the_trace() -> None:
    context = Sampler().context(f"00-{TRACE}-{PARENT}-01", "a=1,b=2")
    assert context.headers("b7ad6b7169203331") == (
        f"traceparent: 00-{TRACE}-b7ad6b7169203331-01\r\ntracestate: a=1,b=2\r\n".encode()
    )


def test_a_later_version_may_have_more_fields() -> None:
    assert Sampler().context(f"01-{TRACE}-{PARENT}-01-more", None).parent == PARENT


@pytest.mark.parametrize("state", ["a=1\r\nX-Evil: 1", "a=\x00", "ä=1", "x" * 600])
def test_a_state_that_cannot_be_a_header_is_dropped(state: str) -> None:
    assert Sampler().context(f"00-{TRACE}-{PARENT}-01", state).state == ""


@pytest.mark.parametrize(
    ("name", "share", "follows_the_parent"),
    [
        ("", 1.0, True),
        ("parentbased_always_on", 1.0, True),
        ("parentbased_traceidratio", 0.25, True),
        ("always_off", 0.0, False),
        ("traceidratio", 0.25, False),
    ],
)
def test_the_sampler_is_that_of_the_environment(name: str, share: float, follows_the_parent: bool) -> None:
    sampler = Sampler.from_environment({"OTEL_TRACES_SAMPLER": name, "OTEL_TRACES_SAMPLER_ARG": "0.25"})
    assert sampler == Sampler(share, by_parent=follows_the_parent)


def test_a_share_is_chosen_by_the_id() -> None:
    half = Sampler(0.5)
    assert half.chooses("f" * 16 + "7" + "f" * 15)
    assert not half.chooses("0" * 16 + "8" + "0" * 15)


@pytest.mark.parametrize(
    "environment",
    [
        {"OTEL_TRACES_SAMPLER": "sometimes"},
        {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "half"},
        {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "nan"},
        {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "2"},
    ],
)
def test_a_wrong_sampler_is_refused_by_name(environment: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="OTEL_TRACES_SAMPLER"):
        Sampler.from_environment(environment)
