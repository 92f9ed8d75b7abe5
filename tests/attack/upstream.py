"""An upstream that does as it is told, in a process of its own: an honest model, a hostile one, or a broken server.

A prompt that holds `play-NAME` is answered as the play of that name says, which `PUT /plays/NAME` has set before.
`GET /plays/NAME` tells what was asked for under that name.
"""

from __future__ import annotations

import asyncio
import json
import re
import zlib
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Any, Final

from aiohttp import web

BOMB_MB: Final = 300
ENDLESS_MB: Final = 300
# What an upstream's error may hold and no client may see: a key, an address, and another client's prompt.
LEAKS: Final = ("sk-leaked-by-upstream-77", "10.11.12.13:8000", "a-prompt-of-someone-else-42")
_PLAY: Final = re.compile(r"play-([a-z0-9]+)")
_HEADING: Final = re.compile(r"^(Final Judge?ment[^:\n]*):", re.MULTILINE | re.IGNORECASE)
_MB: Final = 2**20


@dataclass
class Play:
    """What each role says, and how. `{heading}` in the judge's text is the verdict heading that its prompt asks for."""

    actor: str = "A plain answer."
    judge: str = "All is as it should be.\n{heading}: Yes"
    judge_finish: str = "stop"
    refiner: str = "Shorter is better.\n[[start]]\nA better answer.\n[[end]]"
    delay_s: float = 0.0
    # A key of `MANNERS`.
    manner: str = "plain"
    usage: Any = None


@dataclass
class Record:
    """What was asked for under one play's name."""

    calls: int = 0
    choices: int = 0
    most_running: int = 0
    running: int = 0
    fields: set[str] = field(default_factory=set)
    headers: set[str] = field(default_factory=set)


class Upstream:
    """The server. `elsewhere` counts the requests that came to its other address, where its redirects lead."""

    def __init__(self) -> None:
        self.plays: dict[str, Play] = {}
        self.records: dict[str, Record] = {}
        self.elsewhere = 0
        self.elsewhere_url = ""

    async def run(self) -> None:
        """Serve until cancelled, after printing the address."""
        # Packing it takes seconds, which would be counted to the server.
        _bomb()
        other = web.Application()
        other.router.add_route("*", "/{path:.*}", self._count_elsewhere)
        self.elsewhere_url = await _listen(other)
        app = web.Application(client_max_size=256 * _MB)
        app.router.add_put("/plays/{name}", self._set_play)
        app.router.add_get("/plays/{name}", self._tell_play)
        app.router.add_get("/elsewhere", self._tell_elsewhere)
        app.router.add_get("/health", _alive)
        app.router.add_get("/v1/models", _models)
        for path in ("/v1/chat/completions", "/v1/completions", "/v1/embeddings"):
            app.router.add_post(path, self._answer)
        print(await _listen(app), flush=True)
        await asyncio.Event().wait()

    async def _set_play(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        self.plays[name], self.records[name] = Play(**await request.json()), Record()
        return web.Response()

    async def _tell_play(self, request: web.Request) -> web.Response:
        record = self.records[request.match_info["name"]]
        return web.json_response(asdict(record) | {"fields": sorted(record.fields), "headers": sorted(record.headers)})

    async def _count_elsewhere(self, request: web.Request) -> web.Response:
        self.elsewhere += 1
        return web.json_response(_chat("An answer from elsewhere.", 1, {}))

    async def _tell_elsewhere(self, request: web.Request) -> web.Response:
        return web.json_response(self.elsewhere)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        raw = await request.text()
        match = _PLAY.search(raw)
        name = match[1] if match else ""
        play, record = self.plays.get(name, Play()), self.records.setdefault(name, Record())
        body = json.loads(raw)
        record.calls += 1
        record.choices += body.get("n") or 1
        record.fields |= set(body)
        record.headers |= {header.lower() for header in request.headers}
        record.running += 1
        record.most_running = max(record.most_running, record.running)
        try:
            await asyncio.sleep(play.delay_s)
            return await MANNERS[play.manner](Call(request, body, play, self.elsewhere_url))
        except ConnectionError:
            # The server has had enough.
            return web.Response()
        finally:
            record.running -= 1


@dataclass(frozen=True)
class Call:
    """One call to be answered."""

    request: web.Request
    body: dict[str, Any]
    play: Play
    elsewhere: str

    @property
    def streams(self) -> bool:
        return bool(self.body.get("stream"))

    @property
    def text(self) -> str:
        if self.body["model"] == "actor" or "messages" not in self.body:
            return self.play.actor
        if any(message["role"] == "assistant" for message in self.body["messages"]):
            return self.play.refiner
        prompt = json.dumps(self.body["messages"][-1]["content"])
        headings = _HEADING.findall(prompt.replace("\\n", "\n"))
        return self.play.judge.replace("{heading}", headings[-1] if headings else "Final Judgement")

    @property
    def finish(self) -> str:
        judges = self.text != self.play.actor and self.body["model"] == "refiner"
        return self.play.judge_finish if judges and self.text != self.play.refiner else "stop"

    @property
    def answer(self) -> dict[str, Any]:
        """The whole answer, of whatever kind was asked for."""
        usage = self.play.usage or {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}
        count = self.body.get("n") or 1
        if self.request.path.endswith("/embeddings"):
            return {"object": "list", "data": [{"index": 0, "embedding": [0.5]}], "usage": usage}
        if self.request.path.endswith("/v1/completions"):
            choices = [{"index": index, "text": self.text, "finish_reason": self.finish} for index in range(count)]
            return {"object": "text_completion", "choices": choices, "usage": usage}
        return _chat(self.text, count, usage, self.finish)

    def events(self) -> Iterator[bytes]:
        """The answer as a stream."""
        answer = self.answer
        for choice in answer.get("choices", []):
            kept = {"index": choice["index"], "finish_reason": None}
            said = {"delta": choice["message"]} if "message" in choice else {"text": choice["text"]}
            yield event({"choices": [kept | said]})
            yield event({"choices": [kept | {"delta": {}, "text": "", "finish_reason": choice["finish_reason"]}]})
        yield event({"choices": [], "usage": answer["usage"]})
        yield b"data: [DONE]\n\n"


def _chat(text: str, count: int, usage: Any, finish: str = "stop") -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    choices = [{"index": index, "message": message, "finish_reason": finish} for index in range(count)]
    return {"object": "chat.completion", "choices": choices, "usage": usage}


def event(data: Any) -> bytes:
    return f"data: {json.dumps(data)}\n\n".encode()


async def _begin(call: Call, kind: str, **headers: str) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": kind, **headers})
    await response.prepare(call.request)
    return response


async def _plain(call: Call) -> web.StreamResponse:
    if not call.streams:
        return web.json_response(call.answer)
    response = await _begin(call, "text/event-stream")
    for each in call.events():
        await response.write(each)
    return response


@cache
def _bomb() -> bytes:
    """An answer of `BOMB_MB` in a few hundred kilobytes."""
    packer = zlib.compressobj(9, wbits=31)
    head, tail = json.dumps(_chat("X", 1, {"prompt_tokens": 1, "completion_tokens": 1})).encode().split(b"X")
    packed = [packer.compress(head), *(packer.compress(b"a" * _MB) for _ in range(BOMB_MB))]
    return b"".join([*packed, packer.compress(tail), packer.flush()])


async def _gzip_bomb(call: Call) -> web.StreamResponse:
    kind = "text/event-stream" if call.streams else "application/json"
    return web.Response(body=_bomb(), headers={"Content-Encoding": "gzip", "Content-Type": kind})


async def _pour(call: Call, kind: str, first: bytes, piece: bytes) -> web.StreamResponse:
    response = await _begin(call, kind)
    await response.write(first)
    for _ in range(ENDLESS_MB * _MB // len(piece)):
        await response.write(piece)
    return response


async def _endless(call: Call) -> web.StreamResponse:
    return await _pour(call, "application/json", b'{"choices": [{"message": {"content": "', b"a" * 65536)


async def _endless_line(call: Call) -> web.StreamResponse:
    return await _pour(call, "text/event-stream", b"data: ", b"a" * 65536)


async def _endless_tokens(call: Call) -> web.StreamResponse:
    piece = event({"choices": [{"index": 0, "delta": {"content": "word "}, "text": "word ", "finish_reason": None}]})
    return await _pour(call, "text/event-stream", piece, piece * 200)


async def _endless_error(call: Call) -> web.StreamResponse:
    response = web.StreamResponse(status=500)
    await response.prepare(call.request)
    for _ in range(ENDLESS_MB * 16):
        await response.write(b"e" * 65536)
    return response


async def _endless_comments(call: Call) -> web.StreamResponse:
    return await _pour(call, "text/event-stream", b": working\n\n", b": working\n\n" * 5000)


async def _pour_raw(call: Call, first: bytes, piece: bytes) -> web.StreamResponse:
    """Past aiohttp, which would not send what is no HTTP."""
    transport = call.request.transport
    assert transport is not None
    transport.write(first)
    for _ in range(ENDLESS_MB * _MB // len(piece)):
        if transport.is_closing():
            break
        if transport.get_write_buffer_size() < _MB:  # type: ignore[attr-defined]
            transport.write(piece)
        await asyncio.sleep(0)
    transport.abort()  # type: ignore[attr-defined]
    return web.Response()


async def _endless_continue(call: Call) -> web.StreamResponse:
    return await _pour_raw(call, b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 2500)


async def _endless_head(call: Call) -> web.StreamResponse:
    return await _pour_raw(call, b"HTTP/1.1 200 OK\r\n", b"X-Padding: a\r\n" * 5000)


async def _odd_numbers(call: Call) -> web.StreamResponse:
    """What some engines send for a log probability, and halves of characters."""
    odd = {"odd": [float("nan"), float("-inf"), 10**400, "\ud800"], "\ud800": 1}
    if not call.streams:
        return web.Response(text=json.dumps(call.answer | odd), content_type="application/json")
    response = await _begin(call, "text/event-stream")
    await response.write(event(odd | {"choices": []}))
    for each in call.events():
        await response.write(each)
    return response


async def _deep(call: Call) -> web.StreamResponse:
    return web.Response(body=b"[" * 2_000_000, content_type="application/json")


async def _many_values(call: Call) -> web.StreamResponse:
    return web.Response(body=b'{"x": [' + b"[]," * 3_000_000 + b"[]]}", content_type="application/json")


@cache
def _vectors() -> bytes:
    """An answer to 2,048 texts, in numbers of sixteen digits."""
    vector = ",".join(str(-0.5 + number / 3**8) for number in range(3072))
    item = f'{{"object":"embedding","index":0,"embedding":[{vector}]}}'
    data = ",".join([item] * 2048)
    return f'{{"object":"list","data":[{data}],"usage":{{"prompt_tokens":5,"total_tokens":5}}}}'.encode()


async def _many_numbers(call: Call) -> web.StreamResponse:
    return web.Response(body=_vectors(), content_type="application/json")


async def _redirect(call: Call) -> web.StreamResponse:
    return web.Response(status=307, headers={"Location": f"{call.elsewhere}{call.request.path}"})


def _leak(call: Call) -> dict[str, Any]:
    return {"error": {"message": f"failed: {' '.join(LEAKS)}: {call.text}", "type": "internal", "param": LEAKS[0]}}


def _refusing(status: int) -> Callable[[Call], Awaitable[web.StreamResponse]]:
    async def refuse(call: Call) -> web.StreamResponse:
        return web.json_response(_leak(call), status=status)

    return refuse


async def _error_under_200(call: Call) -> web.StreamResponse:
    if not call.streams:
        return web.json_response(_leak(call))
    response = await _begin(call, "text/event-stream")
    await response.write(event(_leak(call)))
    return response


async def _no_json(call: Call) -> web.StreamResponse:
    return web.Response(text=f"{' '.join(LEAKS)}", content_type="application/json")


MANNERS: Final[dict[str, Callable[[Call], Awaitable[web.StreamResponse]]]] = {
    "plain": _plain,
    "gzip bomb": _gzip_bomb,
    "endless": _endless,
    "endless line": _endless_line,
    "endless tokens": _endless_tokens,
    "endless error": _endless_error,
    "endless comments": _endless_comments,
    "endless continue": _endless_continue,
    "endless head": _endless_head,
    "odd numbers": _odd_numbers,
    "deep": _deep,
    "many values": _many_values,
    "many numbers": _many_numbers,
    "redirect": _redirect,
    "error under 200": _error_under_200,
    "no JSON": _no_json,
    **{str(status): _refusing(status) for status in (400, 401, 403, 404, 413, 422, 429, 500, 503)},
}


async def _alive(request: web.Request) -> web.Response:
    return web.Response()


async def _models(request: web.Request) -> web.Response:
    return web.json_response({"object": "list", "data": [{"id": "actor"}, {"id": "refiner"}]})


async def _listen(app: web.Application) -> str:
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return f"http://127.0.0.1:{runner.addresses[0][1]}"


if __name__ == "__main__":
    asyncio.run(Upstream().run())
