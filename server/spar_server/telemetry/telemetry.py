"""The server's side of telemetry: observe requests, and hand each to the process that sends it.

telemetry = Telemetry(sender)
pair = telemetry.observe(pair)                      # its model calls become spans
request = telemetry.open_request("chat", None, None)
telemetry.close_request(request, key="", request_id=None, error=None)
"""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from spar_core.backends.context import bind_trace
from spar_core.checklist import ModelExtractor
from spar_core.judge import Judgement
from spar_server.models.pair import ServedPair
from spar_server.serving.plan import Plan
from spar_server.serving.recording import UNRECORDED, Recording
from spar_server.settings import ApiKey
from spar_server.telemetry.backend import ObservedBackend
from spar_server.telemetry.records import Line
from spar_server.telemetry.request import ObservedRequest, observed_request
from spar_server.telemetry.trace_context import Sampler


class LineSender(Protocol):
    """Sends the lines of requests; `send` neither waits nor fails."""

    def start(self) -> None: ...

    def send(self, request: Line) -> None: ...

    async def aclose(self) -> None: ...


class Telemetry:
    """Observes requests; implements `Recorder`. With `content`, what they say is sent, too."""

    def __init__(self, sender: LineSender, sampler: Sampler | None = None, *, content: bool = False) -> None:
        self._sender = sender
        self._sampler = sampler or Sampler()
        self._content = content

    def start(self) -> None:
        """Start sending, in the running event loop."""
        self._sender.start()

    async def aclose(self) -> None:
        """Send what is left, as far as that is quick."""
        await self._sender.aclose()

    def observe(self, pair: ServedPair) -> ServedPair:
        """The pair with its calls observed, those for votes apart from those for refinements."""
        judge = ObservedBackend(pair.refiner, "judge")
        return replace(
            pair,
            actor=ObservedBackend(pair.actor, "actor"),
            refiner=ObservedBackend(pair.refiner, "refiner"),
            judging=judge,
            extractors=tuple(
                replace(each, backend=judge) if isinstance(each, ModelExtractor) else each for each in pair.extractors
            ),
        )

    def open_request(self, operation: str, traceparent: str | None, tracestate: str | None) -> ObservedRequest:
        """Begin a request, whose calls from now on belong to it."""
        context = self._sampler.context(traceparent, tracestate)
        request = ObservedRequest(operation, context, self._content)
        bind_trace(request=request, trace_id=context.trace_id)
        return request

    def close_request(self, request: ObservedRequest, *, key: str, request_id: str | None, error: str | None) -> None:
        request.close(key=key, request_id=request_id, error=error)
        self._sender.send(request)

    def begin(self, plan: Plan, key: ApiKey) -> Recording:
        request = observed_request()
        if request is None:
            return UNRECORDED
        request.plan = plan
        return request

    def judged(self, plan: Plan, judgement: Judgement) -> None:
        """Note the judgement that the current request asked for."""
        if (request := observed_request()) is not None:
            request.judged(plan, judgement)
