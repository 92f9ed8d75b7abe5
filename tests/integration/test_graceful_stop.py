"""SIGTERM to a real `spar serve` during streams, searches and queue waits: no accepted request is lost."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

PIECES = 20
PIECE_S = 0.05
# Longer than any test takes, however busy the machine.
NEVER_S = 600.0
PATIENCE_S = 120.0


@dataclass
class Upstream:
    """An actor, and a refiner that never answers.

    A word in the prompt changes the actor: `slow` for never answering, `endless` for a stream without end, and `paused`
    for a stream that pauses until `resume` is set.
    """

    url: str = ""
    begun: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)
    resume: threading.Event = field(default_factory=threading.Event)

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        self.begun.append(body["model"])
        prompt = body["messages"][-1]["content"] if "messages" in body else body.get("prompt") or body["input"]
        if body["model"] == "refiner" or "slow" in prompt:
            self.over.wait(NEVER_S)
        handler.send_response(200)
        if body.get("stream"):
            handler.send_header("Content-Type", "text/event-stream")
            handler.end_headers()
            self._stream(handler, pieces=10**6 if "endless" in prompt else PIECES, paused="paused" in prompt)
            return
        message = {"role": "assistant", "content": "draft"}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        content = json.dumps({"choices": [{"message": message, "finish_reason": "stop"}], "usage": usage}).encode()
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    def _stream(self, handler: BaseHTTPRequestHandler, *, pieces: int, paused: bool) -> None:
        for number in range(pieces):
            self._frame(handler, {"choices": [{"index": 0, "delta": {"content": f"{number} "}}]})
            if paused:
                self.resume.wait(NEVER_S)
            if self.over.wait(PIECE_S):
                return
        self._frame(handler, {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        handler.wfile.write(b"data: [DONE]\n\n")

    def _frame(self, handler: BaseHTTPRequestHandler, chunk: dict[str, Any]) -> None:
        handler.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
        handler.wfile.flush()


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    told = Upstream()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            try:
                told.answer(self)
            except (BrokenPipeError, ConnectionResetError):
                """The gateway closed the connection of a call that it no longer needs."""

        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"data": [{"id": "actor"}, {"id": "refiner"}]}).encode())

        def log_message(self, format: str, *args: Any) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    told.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield told
    finally:
        told.over.set()
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class Gateway:
    """A running `spar serve` and the clients that send it requests."""

    process: subprocess.Popen[str]
    url: str
    pool: ThreadPoolExecutor

    def ask(self, text: str = "hello", *, stream: bool = False, **body: Any) -> Future[httpx.Response]:
        messages = [{"role": "user", "content": text}]
        content = {"model": "pair", "messages": messages, "stream": stream, **body}
        return self.post("/v1/chat/completions", content)

    def post(self, path: str, body: dict[str, Any]) -> Future[httpx.Response]:
        return self.pool.submit(httpx.post, f"{self.url}{path}", json=body, timeout=PATIENCE_S)

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", timeout=PATIENCE_S)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def stopping(self) -> None:
        """Wait until it reports that it is stopping, while its port is still open."""
        self.wait(lambda: self.get("/ready").status_code == 503)

    def wait(self, true: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not true():
            assert time.monotonic() < deadline, "it did not happen"
            time.sleep(0.02)

    def queued(self, requests: int) -> None:
        """Wait until this many requests wait in the queue."""
        self.wait(lambda: f'spar_queue_requests{{kind="search"}} {requests}.0' in self.get("/metrics").text)

    def ended(self) -> None:
        """Wait until it has ended by the signal, with nothing on stderr."""
        _, complaints = self.process.communicate(timeout=PATIENCE_S)
        assert (self.process.returncode, complaints) == (-signal.SIGTERM, "")


@contextmanager
def serving(upstream: Upstream, folder: Path, **settings: str) -> Iterator[Gateway]:
    words = ["serve", "--port", "0", "--model", "pair", "--actor-url", upstream.url, "--actor-model", "actor"]
    words += ["--refiner-url", upstream.url, "--refiner-model", "refiner"]
    process = subprocess.Popen(
        [sys.executable, "-m", "spar_server.cli", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ
        | {"SPAR_ACCESS_LOG": "false"}
        | {f"SPAR_{name.upper()}": value for name, value in settings.items()},
        cwd=folder,
    )
    assert process.stdout is not None
    try:
        ready = re.match(r"SPaR Server is ready on (\S+)", process.stdout.readline())
        assert ready
        with ThreadPoolExecutor() as pool:
            yield Gateway(process, ready[1], pool)
    finally:
        process.kill()
        process.communicate()


def refinement(response: httpx.Response) -> dict[str, Any]:
    return dict(response.json()["usage"]["refinement"])


def test_a_stream_is_finished_while_new_requests_are_sent_elsewhere(upstream: Upstream, tmp_path: Path) -> None:
    with serving(upstream, tmp_path, shutdown_grace_s="3600") as gateway:
        stream = gateway.ask("paused", stream=True)
        gateway.wait(lambda: bool(upstream.begun))
        gateway.stop()
        gateway.stopping()
        assert gateway.get("/ready").json() == {"ready": False}
        assert gateway.get("/health").status_code == 200
        assert "spar_draining 1.0" in gateway.get("/metrics").text
        refused = gateway.ask().result()
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
        assert refused.headers["Connection"] == "close"
        assert refused.json()["error"]["code"] == "server_stopping"
        upstream.resume.set()
        text = stream.result().text
        assert '"19 "' in text
        assert text.endswith("data: [DONE]\n\n")
        # Long before the end of the grace time, because there is nothing left to wait for.
        gateway.ended()


def test_searches_that_would_outlast_the_grace_time_return_their_best_so_far(
    upstream: Upstream, tmp_path: Path
) -> None:
    with serving(upstream, tmp_path, shutdown_grace_s="3") as gateway:
        whole = gateway.ask(refine_budget=4)
        streamed = gateway.ask(refine_budget=4, stream=True, stream_options={"include_usage": True})
        # The first votes on either draft: one request for those of a round.
        gateway.wait(lambda: upstream.begun.count("refiner") == 2)
        gateway.stop()
        body = whole.result().json()
        assert body["choices"][0]["message"]["content"] == "draft"
        assert refinement(whole.result())["stop_reason"] == "deadline"
        *_, answer, _, usage, done = [line for line in streamed.result().text.split("\n\n") if line]
        assert json.loads(answer[6:])["choices"][0]["delta"]["content"] == "draft"
        assert json.loads(usage[6:])["usage"]["refinement"]["stop_reason"] == "deadline"
        assert done == "data: [DONE]"
        gateway.ended()


def test_queued_requests_get_their_turn_while_there_is_time(upstream: Upstream, tmp_path: Path) -> None:
    with serving(upstream, tmp_path, admission__search_capacity="5") as gateway:
        first = gateway.ask(refine_budget=4, refine={"deadline_s": 3})
        gateway.wait(lambda: "refiner" in upstream.begun)
        second = gateway.ask(refine_budget=4, refine={"deadline_s": 9})
        gateway.queued(1)
        gateway.stop()
        for answer in (first, second):
            assert refinement(answer.result())["stop_reason"] == "deadline"
        gateway.ended()


def test_requests_still_queued_at_the_end_are_to_be_retried(upstream: Upstream, tmp_path: Path) -> None:
    settings = {"shutdown_grace_s": "3", "admission__search_capacity": "5"}
    with serving(upstream, tmp_path, **settings) as gateway:
        first = gateway.ask(refine_budget=4)
        gateway.wait(lambda: "refiner" in upstream.begun)
        waiting = [gateway.ask(refine_budget=4, stream=stream) for stream in (False, True)]
        gateway.queued(2)
        gateway.stop()
        assert refinement(first.result())["stop_reason"] == "deadline"
        for answer in waiting:
            assert (answer.result().status_code, answer.result().headers["Retry-After"]) == (503, "1")
        gateway.ended()


def test_requests_without_an_answer_at_the_end_get_an_error(upstream: Upstream, tmp_path: Path) -> None:
    with serving(upstream, tmp_path, shutdown_grace_s="3") as gateway:
        whole = gateway.ask("slow")
        searched = gateway.ask("slow", stream=True, refine_budget=2)
        begun = gateway.ask("endless", stream=True)
        gateway.wait(lambda: len(upstream.begun) == 3)
        gateway.stop()
        assert whole.result().status_code == 503
        assert whole.result().json()["error"]["code"] == "server_stopping"
        for broken in (searched, begun):
            *_, last = [line for line in broken.result().text.split("\n\n") if line]
            assert json.loads(last[6:])["error"]["code"] == "server_stopping"
        gateway.ended()


def test_a_second_signal_returns_the_best_answers_so_far_at_once(upstream: Upstream, tmp_path: Path) -> None:
    with serving(upstream, tmp_path, shutdown_grace_s="3600") as gateway:
        whole = gateway.ask(refine_budget=4)
        gateway.wait(lambda: "refiner" in upstream.begun)
        gateway.stop()
        # Two signals in quick succession can be delivered as one.
        gateway.stopping()
        gateway.stop()
        assert refinement(whole.result())["stop_reason"] == "deadline"
        gateway.ended()


def test_the_port_stays_open_for_as_long_as_a_load_balancer_needs(upstream: Upstream, tmp_path: Path) -> None:
    with serving(upstream, tmp_path, shutdown_delay_s="5") as gateway:
        began = time.monotonic()
        gateway.stop()
        gateway.stopping()
        gateway.ended()
        assert time.monotonic() - began >= 5


def test_ctrl_c_says_what_it_waits_for_and_a_second_one_stops_at_once(upstream: Upstream, tmp_path: Path) -> None:
    with serving(upstream, tmp_path) as gateway:
        waiting = [gateway.ask("slow"), gateway.ask("slow")]
        gateway.wait(lambda: len(upstream.begun) == 2)
        gateway.process.send_signal(signal.SIGINT)
        assert gateway.process.stderr is not None
        assert re.fullmatch(
            r"Stopping: waiting up to \d+ s for 2 requests that are running. Press Ctrl-C again to stop at once.\n",
            gateway.process.stderr.readline(),
        )
        gateway.process.send_signal(signal.SIGINT)
        for answer in waiting:
            assert (answer.result().status_code, answer.result().json()["error"]["code"]) == (503, "server_stopping")
        gateway.process.communicate(timeout=PATIENCE_S)
        assert gateway.process.returncode == 0


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "slow"}]}),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "slow"}], "refine_budget": 2}),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "slow"}], "n": 3}),
        ("/v1/responses", {"input": "slow"}),
        ("/v1/completions", {"prompt": "slow"}),
        ("/v1/embeddings", {"input": "slow"}),
        ("/v1/judge", {"messages": [{"role": "user", "content": "hi"}], "response": "hello"}),
    ],
)
def test_every_endpoint_asks_to_retry_what_a_second_signal_cuts_off(
    upstream: Upstream, tmp_path: Path, path: str, body: dict[str, Any]
) -> None:
    with serving(upstream, tmp_path, shutdown_grace_s="3600") as gateway:
        answer = gateway.post(path, {"model": "pair", **body})
        gateway.wait(lambda: bool(upstream.begun))
        gateway.stop()
        gateway.stopping()
        gateway.stop()
        assert (answer.result().status_code, answer.result().json()["error"]["code"]) == (503, "server_stopping")
        gateway.ended()


def test_a_request_whose_body_never_comes_is_to_be_retried_as_well(upstream: Upstream, tmp_path: Path) -> None:
    with serving(upstream, tmp_path, shutdown_grace_s="3600") as gateway:
        address = urlsplit(gateway.url)
        with socket.create_connection((address.hostname, address.port or 0), timeout=PATIENCE_S) as connection:
            head = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            connection.sendall(f"{head}Content-Length: 100\r\n\r\n".encode() + b'{"model": "pair", ')
            # Connections are read in the order in which they came.
            assert gateway.get("/health").status_code == 200
            gateway.stop()
            gateway.stopping()
            gateway.stop()
            with connection.makefile("rb") as file:
                received = file.read()
        assert received.startswith(b"HTTP/1.1 503 ")
        assert b'"server_stopping"' in received
        gateway.process.communicate(timeout=PATIENCE_S)
