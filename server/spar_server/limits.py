"""How large a request may be."""

from __future__ import annotations

from collections.abc import Container, Sized
from functools import partial
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from spar_core.errors import RequestError
from spar_server.headers import header_of

# Fields of a body, and entries of a field that is no conversation and no list of prompts.
_MOST_FIELDS: Final = 1000
_MOST_ENTRIES: Final = 10_000


class Limits(BaseModel):
    """Images and audio come inside the body, which is why it may be so much larger than a text.

    `max_calls` bounds what a request can make the models do, whichever of its fields ask for it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_body_bytes: int = Field(default=32 * 2**20, ge=1024)
    max_messages: int = Field(default=4096, ge=1, description="and parts of all messages together")
    max_judged_text: int = Field(default=4_000_000, ge=1000, description="characters of a conversation and its answer")
    max_response: int = Field(default=1_000_000, ge=1000, description="characters of an answer to judge or refine")
    max_body_values: int = Field(default=600_000, ge=1000, description="numbers and texts; a list, object or key is 5")
    max_n: int = Field(default=128, ge=1, description="answers of one request")
    max_votes: int = Field(default=25, ge=1, description="judgements of one answer")
    max_prompts: int = Field(default=128, ge=1, description="of one completions request")
    max_inputs: int = Field(default=2048, ge=1, description="texts of one embeddings request")
    max_calls: int = Field(default=2048, ge=1, description="model calls that one request can make")

    def check_messages(self, messages: Sized) -> None:
        """Raises RequestError when there are too many."""
        if len(messages) > self.max_messages:
            raise RequestError(
                f"messages: {len(messages)} are over this server's limit of {self.max_messages}", param="messages"
            )

    def check_counts(self, body: Any, fields: Container[str]) -> None:
        """Whether a body's `fields` hold few enough entries to look at each of them.

        Raises:
            RequestError: one has too many; names it.
        """
        if not isinstance(body, dict):
            return
        if len(body) > _MOST_FIELDS:
            raise RequestError(f"the body has {len(body)} fields; the most is {_MOST_FIELDS}")
        for name, value in body.items():
            if not isinstance(value, list | dict) or name not in fields:
                continue
            if name == "messages":
                self.check_messages(value)
                self._check_parts(value)
            elif name == "input" and value and isinstance(value, list) and isinstance(value[0], dict):
                self._check(name, len(value), self.max_messages)
            elif name not in ("input", "prompt"):
                self._check(name, len(value), _MOST_ENTRIES)

    def _check_parts(self, messages: Any) -> None:
        contents = [message.get("content") for message in messages if isinstance(message, dict)]
        parts = sum(len(content) for content in contents if isinstance(content, list))
        if parts > self.max_messages:
            raise RequestError(
                f"messages: the {parts} parts of their content are over this server's limit of {self.max_messages}",
                param="messages",
            )

    @staticmethod
    def _check(name: str, entries: int, most: int) -> None:
        if entries > most:
            raise RequestError(f"{name}: {entries} entries are over this server's limit of {most}", param=name)


class BodyLimit:
    """ASGI middleware: a body that grows over the limit is a 413, whether its length was announced or not.

    It counts what comes, so that the limit holds for chunked bodies and for a length that lies.
    """

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app = app
        self._most = limits.max_body_bytes
        # The one kind of exception that passes through the framework's reading of a body.
        self._too_large = partial(HTTPException, 413, f"the body is over this server's limit of {self._most} bytes")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        length = header_of(scope, b"content-length") or ""
        announced, received = (int(length) if length.isdigit() else 0), 0

        async def counted() -> Message:
            nonlocal received
            if announced > self._most:
                raise self._too_large()
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._most:
                raise self._too_large()
            return message

        await self._app(scope, counted, send)
