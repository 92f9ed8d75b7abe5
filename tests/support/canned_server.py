"""A server on loopback that gives prepared answers in turn, for tests of clients: it can be as rude as it likes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Canned:
    """One answer; without a status the connection is closed instead. `hangs` waits for the client to give up."""

    body: bytes = b""
    status: int | None = 200
    headers: dict[str, str] = field(default_factory=dict)
    hangs: bool = False


@dataclass
class CannedServer:
    """`answers` in the order of the requests, the last one for all that follow; `requests` are their headers."""

    url: str
    answers: list[Canned]
    requests: list[dict[str, str]] = field(default_factory=list)


@contextmanager
def canned(*answers: Canned) -> Iterator[CannedServer]:
    """Serve the answers."""
    stopped = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.do_GET()

        def do_GET(self) -> None:
            answer = served.answers[min(len(served.requests), len(served.answers) - 1)]
            served.requests.append({name.lower(): value for name, value in self.headers.items()})
            if answer.hangs:
                stopped.wait()
            if answer.status is None or answer.hangs:
                self.close_connection = True
                return
            self.send_response(answer.status)
            for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served = CannedServer(f"http://127.0.0.1:{server.server_port}", list(answers))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        stopped.set()
        server.shutdown()
        thread.join()
        server.server_close()
