"""Whole requests to the app: whatever is sent, there is an answer in the API's shape and no mistake of ours."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any, Final

from hypothesis import strategies as st

from spar_core.backends.scripted import always
from spar_server.app import create_app
from spar_server.settings import Settings
from tests.fuzz.strategies import damaged, pieces_of, spoilt, written
from tests.support.pairs import RawScripted, scripted_pair

_MESSAGES: Final[list[Any]] = [{"role": "user", "content": "Hi"}]
_SOUND: Final[dict[str, dict[str, Any]]] = {
    "/v1/chat/completions": {"model": "pair", "messages": _MESSAGES},
    "/v1/responses": {"model": "pair", "input": "Hi"},
    "/v1/messages": {"model": "pair", "max_tokens": 9, "messages": _MESSAGES},
    "/v1/judge": {"messages": _MESSAGES, "response": "x"},
    "/v1/reward": {"prompt": "Hi", "response": "x", "label": {"requirements": ["It rhymes."]}},
    "/get_reward": {"query": ["Hi x"], "prompts": ["Hi"], "labels": [None]},
    "/v1/refine": {"model": "pair", "messages": _MESSAGES, "response": "x"},
    "/v1/completions": {"model": "pair", "prompt": "Hi"},
    "/v1/embeddings": {"model": "pair", "input": "Hi"},
}
_headers: Final = st.dictionaries(
    st.sampled_from((b"x-refine-budget", b"x-request-id", b"x-stainless-timeout", b"authorization", b"host")),
    st.one_of(
        pieces_of("0", "3", "-", "e", ".", "Bearer ", "nan").map(lambda text: text.encode()), st.binary(max_size=8)
    ),
    max_size=2,
)
requests: Final = st.sampled_from(sorted(_SOUND)).flatmap(
    lambda path: st.tuples(st.just(path), damaged(spoilt(_SOUND[path]).map(written)), _headers)
)


class _Errors(logging.Handler):
    """Remembers what an operator would have to look into."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


class Endpoints:
    """The app with scripted models, called without a network."""

    def __init__(self) -> None:
        pair = scripted_pair()
        object.__setattr__(pair, "actor", RawScripted(always("a plain draft")))
        self._app = create_app(Settings.model_validate({"refine": {"deadline_s": 20}}), pair)
        self._runner = asyncio.Runner()
        self._errors = _Errors()
        logging.getLogger().addHandler(self._errors)

    def check(self, request: tuple[str, bytes, dict[bytes, bytes]]) -> None:
        path, body, headers = request
        self._errors.records.clear()
        status, answer = self._runner.run(self._send(path, body, headers))
        assert status < 500, answer
        assert not self._errors.records, self._errors.records[0].getMessage()
        if status >= 400:
            of_openai = set() if path == "/v1/messages" else {"param", "code"}
            assert set(json.loads(answer)["error"]) == {"message", "type"} | of_openai

    async def _send(self, path: str, body: bytes, headers: dict[bytes, bytes]) -> tuple[int, bytes]:
        sent = {b"content-type": b"application/json", b"host": b"127.0.0.1", **headers}
        scope = {
            "type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b"",
            "root_path": "",
            "headers": list(sent.items()), "http_version": "1.1", "scheme": "http", "asgi": {"version": "3.0"},
            "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2),
        }  # fmt: skip
        events = [{"type": "http.request", "body": body, "more_body": False}]
        status, pieces = 0, list[bytes]()

        async def receive() -> dict[str, Any]:
            # After its body a client says nothing.
            return events.pop() if events else await asyncio.Event().wait()  # type: ignore[func-returns-value]

        async def send(message: Any) -> None:
            nonlocal status
            status = message.get("status", status)
            pieces.append(message.get("body", b""))

        async with asyncio.timeout(30):
            await self._app(scope, receive, send)
        return status, b"".join(pieces)
