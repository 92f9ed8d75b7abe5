"""An OpenAI-compatible server on loopback that answers correctly, or fails in each way that real servers do.

    with FaultyUpstream(fault=once("429")).serving() as upstream:
        backend = OpenAIBackend(base_url=upstream.url, model="m")

It runs in its own thread, so tests can be synchronous or not. It records its calls, which of them the client aborted,
the tokens it delivered, and its open connections. It can be killed, and restarted on the same port.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from aiohttp import web

T = TypeVar("T")
# Longer than any test takes, however busy the machine.
FOREVER_S: Final = 600.0
DRIP_S: Final = 0.04
PROMPT_TOKENS: Final = 7
# The kernel's table of TCP connections, with their queues.
_CONNECTIONS: Final = Path("/proc/net/tcp")


@dataclass(eq=False)
class Call:
    """A call. `aborted`: the client closed the connection; `answered`: the whole answer was delivered."""

    model: str
    messages: list[dict[str, Any]]
    stream: bool
    request_id: str | None
    n: int = 1
    seed: int | None = None
    fault: str = "none"
    aborted: bool = False
    answered: bool = False
    text: str = ""


Say = Callable[[Call], str]
Choose = Callable[[Call], str]


@dataclass
class FaultyUpstream:
    """`fault` chooses a call's fault (a key of `FAULTS`, or "none"), `say` the text of its answer.

    A call is answered after `delay_s` seconds, and not while the server is `paused`.

    Call number `dies_at`, counted from 1, kills the server.
    """

    say: Say = lambda call: "one two three four"
    fault: Choose = lambda call: "none"
    delay_s: float = 0.0
    paused: bool = False
    retry_after: str = "30"
    dies_at: int | None = None
    calls: list[Call] = field(default_factory=list)
    running: int = 0
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def connections(self) -> int:
        return len(self._runner.server.connections) if self._runner.server else 0

    def spoken(self, model: str) -> int:
        """The completion tokens of all complete answers by `model`."""
        return sum(call.n * len(call.text.split()) for call in self.calls if call.answered and call.model == model)

    def kill(self) -> None:
        """Reset all connections and stop listening, like a process that is killed."""
        self._run(self._kill())

    def restart(self) -> None:
        self._run(self._listen())

    @contextmanager
    def serving(self) -> Iterator[FaultyUpstream]:
        self._loop = asyncio.new_event_loop()
        thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        thread.start()
        self._run(self._start())
        try:
            yield self
        finally:
            self._run(self._runner.cleanup())
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join(timeout=60)
            self._loop.close()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=60)

    async def _start(self) -> None:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_get("/health", self._health)
        app.router.add_get("/v1/models", self._models)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        await self._listen()

    async def _listen(self) -> None:
        self._site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await self._site.start()
        self.port = self._site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]

    async def _kill(self) -> None:
        # A connection that is being accepted while the server closes would never be closed.
        for listening in self._site._server.sockets:  # type: ignore[union-attr]
            self._loop.remove_reader(listening.fileno())
        await asyncio.sleep(0.01)
        await self._site.stop()
        assert self._runner.server is not None
        for connection in list(self._runner.server.connections):
            if connection.transport is not None:
                connection.transport.abort()  # type: ignore[attr-defined]

    async def _health(self, request: web.Request) -> web.Response:
        return web.Response()

    async def _models(self, request: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": name} for name in ("actor", "refiner", "m")]})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        name = request.headers.get("X-Request-Id")
        call = Call(body["model"], body["messages"], bool(body.get("stream")), name, body.get("n", 1), body.get("seed"))
        self.calls.append(call)
        call.fault = self.fault(call)
        call.text = self.say(call)
        self.running += 1
        try:
            if len(self.calls) == self.dies_at:
                await self._kill()
            await asyncio.sleep(self.delay_s)
            while self.paused:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            answer = _Answer(request, call, self.retry_after)
            return await (answer.complete() if call.fault == "none" else FAULTS[call.fault](answer))
        except (asyncio.CancelledError, ConnectionError):
            call.aborted = True
            raise
        finally:
            self.running -= 1


@dataclass
class _Answer:
    """An answer in progress, streamed or not, sent in pieces so that a fault can come between them."""

    request: web.Request
    call: Call
    retry_after: str

    async def complete(self, pause_s: float = 0.0) -> web.StreamResponse:
        response = await self.start()
        for piece in self.pieces():
            await asyncio.sleep(pause_s)
            await response.write(piece)
        await response.write_eof()
        self.call.answered = True
        return response

    async def start(self) -> web.StreamResponse:
        kind = "text/event-stream" if self.call.stream else "application/json"
        response = web.StreamResponse(headers={"Content-Type": kind})
        if not self.call.stream:
            response.content_length = len(b"".join(self.pieces()))
        await response.prepare(self.request)
        return response

    def pieces(self) -> list[bytes]:
        """For a stream: the role, each word, the finish reason, the usage and [DONE]; else the body in four pieces."""
        words = self.call.text.split(" ")
        count = self.call.n
        usage = {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": count * len(self.call.text.split())}
        if not self.call.stream:
            message = {"role": "assistant", "content": self.call.text}
            choices = [{"index": index, "message": message, "finish_reason": "stop"} for index in range(count)]
            body = json.dumps({"choices": choices, "usage": usage}).encode()
            step = len(body) // 4 + 1
            return [body[start : start + step] for start in range(0, len(body), step)]
        deltas = [{"content": word if number == 0 else f" {word}"} for number, word in enumerate(words)]
        texts = [{"delta": delta, "finish_reason": None} for delta in ({"role": "assistant", "content": ""}, *deltas)]
        chunks = [{"choices": [choice]} for choice in (*texts, {"delta": {}, "finish_reason": "stop"})]
        return [*(event(chunk) for chunk in (*chunks, {"choices": [], "usage": usage})), b"data: [DONE]\n\n"]

    async def until_first_token(self) -> web.StreamResponse:
        response = await self.start()
        for piece in self.pieces()[:2]:
            await response.write(piece)
        # A reset would discard what the client has not read yet.
        await self._until_read()
        return response

    async def _until_read(self) -> None:
        """Wait until the client has read everything that was sent."""
        assert self.request.transport is not None
        own, peer = (self.request.transport.get_extra_info(name)[1] for name in ("sockname", "peername"))
        while _unread_bytes(local=peer, remote=own):  # noqa: ASYNC110
            await asyncio.sleep(0.005)

    def plain(self, status: int, body: str, headers: dict[str, str] | None = None) -> web.Response:
        return web.Response(status=status, text=body, headers=headers, content_type="application/json")

    def reset(self) -> None:
        assert self.request.transport is not None
        self.request.transport.abort()  # type: ignore[attr-defined]


def _unread_bytes(*, local: int, remote: int) -> int:
    """The length of the receive queue of the loopback connection between these ports."""
    for line in _CONNECTIONS.read_text().splitlines()[1:]:
        _, local_address, remote_address, _, queues, *_ = line.split()
        if (local_address[-4:], remote_address[-4:]) == (f"{local:04X}", f"{remote:04X}"):
            return int(queues.partition(":")[2], 16)
    return 0


def event(data: Any) -> bytes:
    return f"data: {json.dumps(data)}\n\n".encode()


async def _refused(answer: _Answer, status: int, *, later: bool) -> web.StreamResponse:
    headers = {"Retry-After": answer.retry_after} if later else None
    return answer.plain(status, json.dumps({"error": {"message": "busy"}}), headers)


async def _stall(answer: _Answer) -> web.StreamResponse:
    await asyncio.sleep(FOREVER_S)
    return answer.plain(500, "")


async def _stall_silent(answer: _Answer) -> web.StreamResponse:
    response = await answer.start()
    await response.write(b": working\n\n" + event({"choices": [{"delta": {}}]}) if answer.call.stream else b"{")
    await asyncio.sleep(FOREVER_S)
    return response


async def _stall_after(answer: _Answer) -> web.StreamResponse:
    response = await answer.until_first_token()
    await asyncio.sleep(FOREVER_S)
    return response


async def _reset(answer: _Answer) -> web.StreamResponse:
    answer.reset()
    return answer.plain(500, "")


async def _reset_after(answer: _Answer) -> web.StreamResponse:
    response = await answer.until_first_token()
    answer.reset()
    return response


async def _truncated(answer: _Answer) -> web.StreamResponse:
    response = await answer.until_first_token()
    if answer.call.stream:
        # The body ends properly, in the middle of the answer.
        await response.write_eof()
    elif answer.request.transport is not None:
        answer.request.transport.close()
    return response


async def _invalid_json(answer: _Answer) -> web.StreamResponse:
    if not answer.call.stream:
        return answer.plain(200, '{"choices": [')
    response = await answer.start()
    await response.write(b'data: {"choices": [\n\n')
    return response


async def _error_200(answer: _Answer) -> web.StreamResponse:
    error = {"error": {"message": "out of luck"}}
    if not answer.call.stream:
        return answer.plain(200, json.dumps(error))
    response = await answer.start()
    await response.write(event(error))
    return response


FAULTS: Final[dict[str, Callable[[_Answer], Awaitable[web.StreamResponse]]]] = {
    "429": lambda answer: _refused(answer, 429, later=False),
    "429 later": lambda answer: _refused(answer, 429, later=True),
    "503": lambda answer: _refused(answer, 503, later=False),
    "503 later": lambda answer: _refused(answer, 503, later=True),
    "500": lambda answer: _refused(answer, 500, later=False),
    "stall": _stall,
    "stall silent": _stall_silent,
    "stall after": _stall_after,
    "reset": _reset,
    "reset after": _reset_after,
    "truncated": _truncated,
    "invalid json": _invalid_json,
    "error 200": _error_200,
    "slow drip": lambda answer: answer.complete(DRIP_S),
}


def timeouts_for(fault: str, stall_s: float = 0.3) -> dict[str, float]:
    """Timeouts that a call exceeds only by a stall, after `stall_s` seconds, however busy the machine is."""
    patient = dict.fromkeys(("connect", "first_token", "between_tokens", "answer", "total"), FOREVER_S / 2)
    if not fault.startswith("stall"):
        return patient
    waiting = "between_tokens" if fault == "stall after" else "first_token"
    return patient | {waiting: stall_s, "answer": stall_s}


def once(fault: str) -> Choose:
    """The first call has the fault, the others have none."""
    left = [fault]
    return lambda call: left.pop() if left else "none"
