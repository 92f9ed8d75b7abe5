"""W3C trace context: read from a client's headers, decide on sampling, continue upstream."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from random import getrandbits
from typing import Final

from spar_core.errors import ConfigError
from spar_core.frozen import frozen

_TRACEPARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_ZERO_TRACE, _ZERO_SPAN = "0" * 32, "0" * 16
# What the specification asks to be passed on at least; more is dropped.
_MAX_STATE: Final = 512
_STATE: Final = re.compile(r"[\x20-\x7e]+")


@frozen
class TraceContext:
    """The trace that a request belongs to; `parent` is the client's span, None if the trace begins here."""

    trace_id: str
    parent: str | None
    sampled: bool
    state: str = ""

    def headers(self, span_id: str) -> bytes:
        """The header lines of a call whose span is `span_id`."""
        flags = "01" if self.sampled else "00"
        return f"traceparent: 00-{self.trace_id}-{span_id}-{flags}\r\n{self.state}".encode()


@dataclass(frozen=True, slots=True)
class Sampler:
    """Which traces are sent: the client's decision if there is one and `by_parent`, else this share of them."""

    share: float = 1.0
    by_parent: bool = True

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Sampler:
        """The sampler of OTEL_TRACES_SAMPLER and OTEL_TRACES_SAMPLER_ARG.

        Raises:
            ConfigError: a value is not one that they can have.
        """
        name = environment.get("OTEL_TRACES_SAMPLER", "").strip() or "parentbased_always_on"
        kind = name.removeprefix("parentbased_")
        shares = {"always_on": 1.0, "always_off": 0.0, "traceidratio": _share(environment, used=kind == "traceidratio")}
        if kind not in shares:
            known = ", ".join([*shares, *(f"parentbased_{each}" for each in shares)])
            raise ConfigError(f"OTEL_TRACES_SAMPLER: there is no sampler {name[:40]!r}; known: {known}")
        return cls(shares[kind], by_parent=kind != name)

    def chooses(self, trace_id: str) -> bool:
        """The decision on a trace without a parent: by the lower half of its id, as OpenTelemetry's samplers do."""
        return self.share >= 1 or int(trace_id[16:], 16) < self.share * 2**64

    def context(self, traceparent: str | None, tracestate: str | None) -> TraceContext:
        """The context of a request with these headers; a malformed one is as if it were missing."""
        found = _TRACEPARENT.fullmatch(traceparent) if traceparent and len(traceparent) <= _MAX_STATE else None
        if found is None or not _is_valid(found):
            trace_id = _new_id(16)
            return TraceContext(trace_id, None, self.chooses(trace_id))
        _, trace_id, parent, flags, _ = found.groups()
        sampled = bool(int(flags, 16) & 1) if self.by_parent else self.chooses(trace_id)
        return TraceContext(trace_id, parent, sampled, _state_line(tracestate))


def new_span_id() -> str:
    return _new_id(8)


def _new_id(length: int) -> str:
    return (getrandbits(8 * length) or 1).to_bytes(length, "big").hex()


def _is_valid(found: re.Match[str]) -> bool:
    version, trace_id, parent, _, rest = found.groups()
    # Later versions may append fields; version ff is invalid.
    return version != "ff" and (not rest or version != "00") and trace_id != _ZERO_TRACE and parent != _ZERO_SPAN


def _state_line(state: str | None) -> str:
    if not state or len(state) > _MAX_STATE or not _STATE.fullmatch(state):
        return ""
    return f"tracestate: {state}\r\n"


def _share(environment: Mapping[str, str], *, used: bool) -> float:
    text = environment.get("OTEL_TRACES_SAMPLER_ARG", "").strip()
    if not used or not text:
        return 1.0
    try:
        share = float(text)
    except ValueError:
        share = math.nan
    if not 0 <= share <= 1:
        raise ConfigError(f"OTEL_TRACES_SAMPLER_ARG: must be a number from 0 to 1, not {text[:40]!r}")
    return share
