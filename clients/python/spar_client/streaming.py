"""Read a stream of chat completion chunks: server-sent events to events, and the whole completion at the end."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import Any

import httpx
from pydantic import ValidationError

from spar_client.completion import Completion
from spar_client.errors import APIConnectionError, APIProtocolError, stream_error
from spar_client.events import AnswerEvent, DoneEvent, ReasoningEvent, StreamEvent, read_search_event
from spar_client.transport import Transport


async def read_stream(transport: Transport, response: httpx.Response) -> AsyncGenerator[StreamEvent, None]:
    """Yield the events of a response; the last is a `DoneEvent`.

    Raises:
        APIConnectionError: the stream broke before its end.
        APIStatusError: the server ended it with an error.
        APIProtocolError: it is not a stream of chat completion chunks.
    """
    request_id = response.headers.get("x-request-id")
    lines, answers = _DataLines(), _Answers()
    try:
        async with aclosing(transport.pieces(response)) as pieces:
            async for piece in pieces:
                for data in lines.feed(piece):
                    if data == b"[DONE]":
                        yield DoneEvent(completion=answers.completion())
                        return
                    chunk = _parse(data)
                    if "error" in chunk:
                        raise stream_error(chunk, request_id=request_id)
                    for event in answers.feed(chunk):
                        yield event
    except (ValidationError, AttributeError, KeyError, TypeError) as error:
        raise APIProtocolError(f"the server's stream is not one of chat completion chunks: {error}") from error
    finally:
        await transport.release(response)
    raise APIConnectionError("the server closed its stream before the end")


def _parse(data: bytes) -> dict[str, Any]:
    try:
        chunk = json.loads(data)
    except ValueError as error:
        raise APIProtocolError(f"the server's stream has an event that is not JSON: {data[:80]!r}") from error
    if not isinstance(chunk, dict):
        raise APIProtocolError(f"the server's stream has an event that is not an object: {data[:80]!r}")
    return chunk


class _DataLines:
    """Splits a body of server-sent events into the data of each. The server sends one line for an event."""

    def __init__(self) -> None:
        # The pieces of a line whose end has not arrived; joined once, so that a long line takes linear time.
        self._parts: list[bytes] = []

    def feed(self, piece: bytes) -> Iterator[bytes]:
        *ends, rest = piece.split(b"\n")
        for end in ends:
            line = b"".join([*self._parts, end])
            self._parts.clear()
            if line.startswith(b"data:"):
                yield line.removeprefix(b"data:").strip()
        self._parts.append(rest)


class _Answers:
    """The answers so far, put together from their deltas."""

    def __init__(self) -> None:
        self._head: dict[str, Any] = {}
        self._choices: dict[int, dict[str, Any]] = {}

    def feed(self, chunk: dict[str, Any]) -> Iterator[StreamEvent]:
        """Add a chunk, and yield its events."""
        self._head |= {name: chunk[name] for name in ("id", "created", "model", "usage") if chunk.get(name) is not None}
        spar = dict(chunk.get("spar") or {})
        if event := spar.pop("event", None):
            if (step := read_search_event(event)) is not None:
                yield step
        elif spar:
            self._head["spar"] = spar
        for choice in chunk["choices"]:
            yield from self._add(choice)

    def completion(self) -> Completion:
        return Completion.model_validate(
            {**self._head, "choices": [self._choices[key] for key in sorted(self._choices)]}
        )

    def _add(self, piece: dict[str, Any]) -> Iterator[StreamEvent]:
        index = piece["index"]
        choice = self._choices.setdefault(
            index, {"index": index, "message": {"role": "assistant"}, "finish_reason": None, "logprobs": None}
        )
        choice["finish_reason"] = piece.get("finish_reason") or choice["finish_reason"]
        if tokens := (piece.get("logprobs") or {}).get("content"):
            choice["logprobs"] = {"content": [*((choice["logprobs"] or {}).get("content") or ()), *tokens]}
        delta, message = piece["delta"], choice["message"]
        for name in ("content", "refusal", "reasoning"):
            if (text := delta.get(name)) is not None:
                message[name] = message.get(name, "") + text
        for call in delta.get("tool_calls") or ():
            _add_call(message.setdefault("tool_calls", []), call)
        if delta.get("reasoning"):
            yield ReasoningEvent(choice=index, text=delta["reasoning"])
        if delta.get("content"):
            yield AnswerEvent(choice=index, text=delta["content"])


def _add_call(calls: list[dict[str, Any]], piece: dict[str, Any]) -> None:
    """Add a piece of a tool call; its arguments come in pieces, everything else at once."""
    while len(calls) <= piece["index"]:
        calls.append({"type": "function", "function": {"name": "", "arguments": ""}})
    call = calls[piece["index"]]
    function = piece.get("function") or {}
    call |= {name: value for name, value in piece.items() if name not in ("index", "function") and value is not None}
    call["function"]["name"] += function.get("name") or ""
    call["function"]["arguments"] += function.get("arguments") or ""
