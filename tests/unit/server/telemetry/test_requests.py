"""Requests without a search, and the trace that a client began."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import httpx
import pytest

from spar_core.backends.openai import OpenAIBackend
from spar_core.prompts import load_templates
from spar_core.types import Sampling
from spar_server.models.pair import ServedPair
from tests.support.canned_server import Canned, canned
from tests.support.pairs import RawScripted, scripted_pair
from tests.support.telemetry import id_of, of, parent_of

Observe = Callable[..., Any]
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "vendor=1"}


@pytest.mark.parametrize("stream", [False, True])
async def test_a_request_that_is_passed_through_is_a_single_call(observed: Observe, stream: bool) -> None:
    server = observed()
    await server.ask(stream=stream)
    (span,) = server.collected.spans
    assert span.name == "chat scripted"
    assert parent_of(span) is None
    assert ("gen_ai.response.time_to_first_chunk" in of(span)) is stream
    assert of(span)["gen_ai.usage.output_tokens"] == 3


async def test_a_trace_that_the_client_began_goes_on(observed: Observe) -> None:
    server = observed()
    await server.ask(refine_budget=1, headers=SAMPLED)
    root = server.collected.span(gen_ai__operation__name="invoke_workflow")
    assert parent_of(root) == PARENT
    assert {f"{each.context.trace_id:032x}" for each in server.collected.spans} == {TRACE}


async def test_the_call_that_is_passed_through_is_the_clients_child(observed: Observe) -> None:
    server = observed()
    await server.ask(headers=SAMPLED)
    (span,) = server.collected.spans
    assert parent_of(span) == PARENT


async def test_a_client_that_does_not_sample_is_only_measured(observed: Observe) -> None:
    server = observed()
    await server.ask(refine_budget=1, headers={"traceparent": f"00-{TRACE}-{PARENT}-00"})
    assert server.collected.spans == []
    assert server.collected.events == []
    assert server.collected.metrics["gen_ai.server.request.duration"]


async def test_each_upstream_call_gets_the_trace_with_its_own_span(observed: Observe) -> None:
    said = b'{"choices": [{"index": 0, "message": {"content": "yes"}, "finish_reason": "stop"}]}'
    with canned(Canned(said)) as upstream:
        backend = OpenAIBackend(base_url=f"{upstream.url}/v1", model="m")
        sampling = Sampling(temperature=None, top_p=None)
        pair = ServedPair("pair", backend, backend, load_templates("compact"), sampling, sampling, sampling)
        server = observed(pair)
        await server.ask(headers=SAMPLED)
        await server.ask(headers=SAMPLED, refine_budget=1, refine={"votes": 1})
        await backend.aclose()
        sent = [each["traceparent"] for each in upstream.requests]
        assert {each["tracestate"] for each in upstream.requests} == {"vendor=1"}
    spans = {f"00-{TRACE}-{id_of(each)}-01" for each in server.collected.spans if of(each).get("spar.role")}
    assert len(set(sent)) == len(sent) > 2
    assert set(sent) == spans


@pytest.mark.parametrize(
    "header",
    [
        "",
        "garbage",
        f"00-{'0' * 32}-{PARENT}-01",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01-more",
        "0" * 9000,
    ],
)
async def test_a_malformed_trace_is_as_if_it_were_missing(observed: Observe, header: str) -> None:
    server = observed()
    assert (await server.ask(headers={"traceparent": header})).status_code == 200
    (span,) = server.collected.spans
    assert parent_of(span) is None


async def test_a_judgement_is_a_workflow_with_its_votes_and_its_score(observed: Observe) -> None:
    server = observed()
    await server.ask("/v1/judge", response="better answer", votes=3)
    root = server.collected.span(gen_ai__operation__name="invoke_workflow")
    assert of(root)["spar.accepted"] is True
    votes = [each for each in server.collected.spans if of(each).get("spar.role") == "judge"]
    assert {parent_of(each) for each in votes} == {id_of(root)}
    (event,) = server.collected.events
    assert f"{event.log_record.span_id:016x}" == id_of(root)


async def test_raw_completions_and_embeddings_are_calls_of_their_kind(observed: Observe) -> None:
    pair = scripted_pair()
    raw = RawScripted(pair.actor.script, model="raw")  # type: ignore[attr-defined]
    server = observed(ServedPair(**{**{f: getattr(pair, f) for f in pair.__slots__}, "actor": raw}))
    await server.ask("/v1/completions", prompt="Hi", messages=None)
    await server.ask("/v1/embeddings", input="Hi", messages=None)
    assert [each.name for each in server.collected.spans] == ["text_completion raw", "embeddings raw"]


async def test_a_refused_request_is_measured_and_no_trace(observed: Observe) -> None:
    server = observed()
    assert (await server.ask(n=0)).status_code == 400
    assert server.collected.spans == []
    (point,) = server.collected.metrics["gen_ai.server.request.duration"]
    assert point.attributes["error.type"] == "400"


def test_a_server_without_telemetry_sends_no_trace_upstream(
    serving: Callable[..., AbstractContextManager[str]],
) -> None:
    said = b'{"choices": [{"index": 0, "message": {"content": "yes"}, "finish_reason": "stop"}]}'
    with canned(Canned(said)) as upstream:
        backend = OpenAIBackend(base_url=f"{upstream.url}/v1", model="m")
        sampling = Sampling(temperature=None, top_p=None)
        pair = ServedPair("pair", backend, backend, load_templates("compact"), sampling, sampling, sampling)
        with serving(pair) as url:
            body = {"model": "pair", "messages": [{"role": "user", "content": "Hi"}]}
            httpx.post(f"{url}/v1/chat/completions", json=body, headers=SAMPLED)
        (sent,) = upstream.requests
    assert "traceparent" not in sent
