"""A real gateway in front of faulty upstreams: what its clients get, and that no work is left behind."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest

from spar_core.backends.pool import PoolBackend
from spar_server.metrics.metrics import Metrics
from spar_server.models.pair import ServedPair, build_pair
from spar_server.settings import Settings
from tests.support.faulty_upstream import PROMPT_TOKENS, Call, FaultyUpstream, once, timeouts_for

Serving = Callable[..., AbstractContextManager[str]]
PATIENT = timeouts_for("none")
SEARCH = {"refine_budget": 2, "refine": {"branch": 1, "beam": 1, "votes": 3, "early_vote_stop": False}}
# By fault: the status, and whether a stream has started by then, so that its last frame reports the error.
PLAIN: dict[str, tuple[int, bool]] = {
    "429": (429, False),
    "429 later": (429, False),
    "503": (503, False),
    "503 later": (503, False),
    "500": (502, False),
    "stall": (504, False),
    "stall silent": (504, False),
    "stall after": (504, True),
    "reset": (502, False),
    "reset after": (502, True),
    "truncated": (502, True),
    "invalid json": (502, False),
    "error 200": (502, False),
}


def say(call: Call) -> str:
    """A draft that the judge rejects, and a refinement that it accepts."""
    if call.model == "actor":
        return "a plain draft"
    if call.messages[-1]["content"] == "Refine the response.":
        return "[[start]]\nbetter answer\n[[end]]"
    return f"Final Judgement: {'Yes' if 'better answer' in call.messages[0]['content'] else 'No'}"


class Watched:
    """A backend that records its event loop."""

    def __init__(self, pool: PoolBackend) -> None:
        self._pool = pool
        self.model = pool.model
        self.complete = pool.complete
        self.stream = pool.stream
        self.aclose = pool.aclose
        self.loop: asyncio.AbstractEventLoop | None = None

    async def ready(self) -> bool:
        self.loop = asyncio.get_running_loop()
        return await self._pool.ready()


@dataclass(frozen=True)
class Gateway:
    """The gateway under test, with an HTTP client and the number of its tasks."""

    http: httpx.Client
    url: str
    actor: Watched

    def ask(self, *, stream: bool = False, **body: Any) -> httpx.Response:
        request = {"model": "pair", "messages": [{"role": "user", "content": "Hi"}], "stream": stream}
        usage = {"stream_options": {"include_usage": True}} if stream else {}
        return self.http.post("/v1/chat/completions", json={**request, **usage, **body})

    def metric(self, line: str) -> float:
        """The value of a line of /metrics, 0 where there is none."""
        found = [text for text in self.http.get("/metrics").text.split("\n") if text.startswith(f"{line} ")]
        return float(found[0].rpartition(" ")[2]) if found else 0.0

    def tasks(self) -> int:
        self.http.get("/ready")
        assert self.actor.loop is not None
        return len(asyncio.all_tasks(self.actor.loop))


@contextmanager
def gateway(
    serving: Serving,
    *upstreams: FaultyUpstream,
    retries: int = 1,
    actor_timeouts: dict[str, float] = PATIENT,
    refiner_timeouts: dict[str, float] = PATIENT,
) -> Iterator[Gateway]:
    """A gateway with `upstreams` as actor and refiner; asserts that it leaves no task, call or connection behind."""
    shared = {"url": [upstream.url for upstream in upstreams], "retries": retries}
    settings = Settings(
        model="pair",
        templates="compact",
        actor={"model": "actor", "timeouts": actor_timeouts, **shared},  # type: ignore[arg-type]
        refiner={"model": "refiner", "timeouts": refiner_timeouts, **shared},  # type: ignore[arg-type]
    )
    metrics = Metrics()
    pair: ServedPair = build_pair(settings, metrics.upstreams.of)
    assert isinstance(pair.actor, PoolBackend)
    watched = Watched(pair.actor)
    with (
        serving(replace(pair, actor=watched), settings, metrics) as url,
        httpx.Client(base_url=url, timeout=120) as http,
    ):
        tested = Gateway(http, url, watched)
        idle = tested.tasks()
        yield tested
        wait_until(lambda: not any(upstream.running for upstream in upstreams))
        # An open breaker has a probe, which ends once the endpoint responds.
        wait_until(lambda: tested.tasks() <= idle)
    wait_until(lambda: not any(upstream.connections for upstream in upstreams))


def wait_until(true: Callable[[], bool]) -> None:
    """Wait for a condition, and fail if it does not come true."""
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


@pytest.fixture
def upstream() -> Iterator[FaultyUpstream]:
    with FaultyUpstream(say=say).serving() as upstream:
        yield upstream


def frames(response: httpx.Response) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in response.text.split("\n") if line.startswith("data: ")]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


def text_of(chunks: Sequence[Any]) -> str:
    return "".join(
        choice["delta"].get("content") or ""
        for chunk in chunks
        if chunk != "[DONE]"
        for choice in chunk.get("choices", ())
    )


def answered(response: httpx.Response, *, stream: bool) -> tuple[str, dict[str, Any]]:
    """The text and the usage of a response that must be complete."""
    assert response.status_code == 200, response.text
    if not stream:
        body = response.json()
        return body["choices"][0]["message"]["content"], body["usage"]
    *chunks, usage, done = frames(response)
    assert done == "[DONE]"
    return text_of(chunks), usage["usage"]


def assert_exact(usage: dict[str, Any], upstream: FaultyUpstream) -> None:
    """Assert that the usage is exactly what the upstream delivered."""
    spoken = {model: upstream.spoken(model) for model in ("actor", "refiner")}
    tokens = usage["refinement"]["tokens"]
    assert usage["prompt_tokens"] == PROMPT_TOKENS
    assert tokens["actor"]["completion"] == spoken["actor"]
    assert tokens["refiner"]["completion"] + tokens["judge"]["completion"] == spoken["refiner"]
    assert usage["completion_tokens"] == sum(spoken.values())


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fault", PLAIN)
def test_a_fault_of_the_actor_is_its_status_or_the_streams_last_frame(
    serving: Serving, upstream: FaultyUpstream, fault: str, stream: bool
) -> None:
    upstream.fault = lambda call: fault
    status, started = PLAIN[fault]
    with gateway(serving, upstream, actor_timeouts=timeouts_for(fault)) as tested:
        response = tested.ask(stream=stream)
    if stream and started:
        assert response.status_code == 200
        *chunks, last = frames(response)
        assert text_of(chunks) == "a"
        error = last["error"]
    else:
        assert response.status_code == status
        error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    if "later" in fault:
        assert response.headers["Retry-After"] == "30"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fault", [fault for fault in PLAIN if fault not in ("invalid json", "error 200")])
def test_clients_do_not_notice_a_temporary_fault_of_the_actor(
    serving: Serving, upstream: FaultyUpstream, fault: str, stream: bool
) -> None:
    upstream.fault, upstream.retry_after = once(fault), "0.1"
    # Long enough for the retry on a busy machine.
    with gateway(serving, upstream, actor_timeouts=timeouts_for(fault, stall_s=2)) as tested:
        response = tested.ask(stream=stream, **SEARCH)
        retried = {"429": "overloaded", "503": "overloaded", "stall": "timeout"}.get(fault.split()[0], "unavailable")
        assert tested.metric(f'spar_upstream_retries_total{{endpoint="0",outcome="{retried}",role="actor"}}') == 1
    text, usage = answered(response, stream=stream)
    assert (text, usage["refinement"]["degraded"]) == ("better answer", False)
    assert_exact(usage, upstream)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fault", PLAIN)
def test_faults_of_judge_and_refiner_leave_the_draft_as_a_degraded_answer(
    serving: Serving, upstream: FaultyUpstream, fault: str, stream: bool
) -> None:
    upstream.fault = lambda call: fault if call.model == "refiner" else "none"
    with gateway(serving, upstream, refiner_timeouts=timeouts_for(fault)) as tested:
        response = tested.ask(stream=stream, **SEARCH)
    text, usage = answered(response, stream=stream)
    assert text == "a plain draft"
    assert (usage["refinement"]["degraded"], usage["refinement"]["stop_reason"]) == (True, "upstream")
    assert_exact(usage, upstream)


@pytest.mark.parametrize("body", [{}, SEARCH])
@pytest.mark.parametrize("stream", [False, True])
def test_a_slow_stream_is_not_a_fault(
    serving: Serving, upstream: FaultyUpstream, stream: bool, body: dict[str, Any]
) -> None:
    upstream.fault = lambda call: "slow drip"
    with gateway(serving, upstream) as tested:
        text, usage = answered(tested.ask(stream=stream, **body), stream=stream)
    assert text == ("better answer" if body else "a plain draft")
    assert_exact(usage, upstream)


def drafts(call: Call) -> bool:
    return call.model == "actor"


def judges(call: Call) -> bool:
    return call.model == "refiner" and call.messages[-1]["content"] != "Refine the response."


def refines(call: Call) -> bool:
    return call.model == "refiner" and not judges(call)


@pytest.mark.parametrize(("body", "meant"), [({}, drafts), (SEARCH, drafts), (SEARCH, judges), (SEARCH, refines)])
@pytest.mark.parametrize("fault", ["stall", "stall after"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_disconnects_aborts_its_upstream_call_at_once(
    serving: Serving,
    upstream: FaultyUpstream,
    stream: bool,
    fault: str,
    body: dict[str, Any],
    meant: Callable[[Call], bool],
) -> None:
    """Whether it is the call of a passed-through request, or a search's draft, votes or refinement."""
    upstream.fault = lambda call: fault if meant(call) else "none"
    request = {"model": "pair", "messages": [{"role": "user", "content": "Hi"}], "stream": stream, **body}
    sent = json.dumps(request).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(sent)}\r\n"

    def stuck() -> list[Call]:
        return [call for call in upstream.calls if meant(call)]

    with gateway(serving, upstream) as tested:
        for turn in range(1, 4):
            with socket.create_connection(("127.0.0.1", int(tested.url.rpartition(":")[2]))) as client:
                client.sendall(f"{head}Content-Type: application/json\r\n\r\n".encode() + sent)
                wait_until(lambda turn=turn: len(stuck()) == turn)  # type: ignore[misc]
                # Usually enough for a stalled answer to start; both states must do.
                time.sleep(0.05)
            # The machine may be slow, so time is counted in requests: 300 take less than a second on an idle one.
            requests = 0
            while not stuck()[-1].aborted:
                assert requests < 300
                tested.http.get("/health")
                requests += 1


def test_a_replica_that_is_killed_under_load_fails_no_request(serving: Serving) -> None:
    with (
        FaultyUpstream(say=say, delay_s=0.05, dies_at=40).serving() as first,
        FaultyUpstream(say=say, delay_s=0.05).serving() as second,
        gateway(serving, first, second, retries=2) as tested,
        ThreadPoolExecutor(16) as clients,
    ):

        def ask(number: int) -> tuple[str, str]:
            body = SEARCH if number % 2 else {}
            message = [{"role": "user", "content": f"Question {number}"}]
            # No passed-through streams: once its first words are sent, a stream cannot be retried elsewhere.
            stream = number % 4 == 1
            answer = answered(tested.ask(stream=stream, messages=message, **body), stream=stream)
            return answer[0], "better answer" if body else "a plain draft"

        answers = [clients.submit(ask, number) for number in range(160)]
        assert all(got == wanted for got, wanted in (answer.result() for answer in answers))
        served = len(first.calls)
        assert 40 <= served < 80
        assert sum(call.aborted for call in first.calls) > 1
        first.restart()
        deadline = time.monotonic() + 60
        while len(first.calls) == served:
            assert time.monotonic() < deadline
            ask(len(second.calls))


def test_an_upstream_that_fails_on_several_votes_per_request_is_asked_for_one_at_a_time(
    serving: Serving, upstream: FaultyUpstream
) -> None:
    upstream.fault = lambda call: "500" if call.n > 1 else "none"
    with gateway(serving, upstream) as tested:
        for _ in range(3):
            text, usage = answered(tested.ask(**SEARCH), stream=False)
            assert (text, usage["refinement"]["degraded"]) == ("better answer", False)
        assert tested.metric('spar_upstream_calls_total{endpoint="0",outcome="unavailable",role="refiner"}') == 1
        assert tested.metric('spar_upstream_breaker{endpoint="0",role="refiner"}') == 0
    assert [call.fault for call in upstream.calls].count("500") == 1


def test_requests_whose_content_breaks_the_upstream_do_not_affect_others(
    serving: Serving, upstream: FaultyUpstream
) -> None:
    upstream.fault = lambda call: "500" if call.messages[-1]["content"] == "Break." else "none"
    with gateway(serving, upstream) as tested:
        for _ in range(10):
            assert tested.ask(messages=[{"role": "user", "content": "Break."}]).status_code == 502
        assert answered(tested.ask(), stream=False)[0] == "a plain draft"
        assert tested.metric('spar_upstream_breaker{endpoint="0",role="actor"}') == 0


def test_readiness_follows_the_upstreams(serving: Serving) -> None:
    with FaultyUpstream(say=say).serving() as upstream, gateway(serving, upstream) as tested:
        ready = tested.http.get("/ready")
        assert (ready.status_code, ready.json()) == (200, {"ready": True})
        upstream.kill()
        for _ in range(5):
            assert tested.ask().status_code == 502
        assert tested.metric('spar_upstream_breaker{endpoint="0",role="actor"}') == 2
        ready = tested.http.get("/ready")
        assert (ready.status_code, ready.json()) == (503, {"ready": False})
        upstream.restart()
        wait_until(lambda: tested.http.get("/ready").status_code == 200)
        assert answered(tested.ask(), stream=False)[0] == "a plain draft"
        assert tested.metric('spar_upstream_breaker{endpoint="0",role="actor"}') == 0


def test_every_model_call_has_an_id_of_its_own_derived_from_the_requests(
    serving: Serving, upstream: FaultyUpstream
) -> None:
    with gateway(serving, upstream) as tested:
        tested.http.headers["X-Request-Id"] = "req-7"
        answered(tested.ask(**SEARCH), stream=False)
    names = [call.request_id or "" for call in upstream.calls]
    assert len(names) == len(set(names)) == 4
    assert all(name.startswith("req-7-") for name in names)


def test_the_calls_of_one_search_go_to_one_replica(serving: Serving) -> None:
    with (
        FaultyUpstream(say=say).serving() as first,
        FaultyUpstream(say=say).serving() as second,
        gateway(serving, first, second) as tested,
    ):
        for number in range(12):
            before = len(first.calls), len(second.calls)
            answered(tested.ask(messages=[{"role": "user", "content": f"Question {number}"}], **SEARCH), stream=False)
            after = len(first.calls), len(second.calls)
            assert sorted(now - then for now, then in zip(after, before, strict=True))[0] == 0
        assert min(len(first.calls), len(second.calls)) > 0
