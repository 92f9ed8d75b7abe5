"""A backend that says what it is told: for tests, demonstrations and dry runs, without a model.

It is a real implementation of the protocol: it counts tokens (words), honours `max_tokens`, takes time,
fails when told to, and knows how many calls run and how many were cancelled.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from spar_core.types import Completion, Delta, Message, Sampling, Usage

# Given the chat and the sampling, the reply, or an error to raise. A Completion is a reply that is more than text
# (`tool_calls`, `reasoning`, ...); its usage is counted here all the same.
Script = Callable[[Sequence[Message], Sampling], str | Completion | BaseException]
_RUN = re.compile(r"\s+|\S+")


def always(reply: str) -> Script:
    """The script that always says `reply`."""
    return lambda messages, sampling: reply


@dataclass
class ScriptedBackend:
    """Replies by `script`, after `latency_s` seconds."""

    script: Script
    model: str = "scripted"
    latency_s: float = 0.0
    calls: list[tuple[Sequence[Message], Sampling]] = field(default_factory=list)
    running: int = 0
    finished: int = 0
    cancelled: int = 0

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        async with self._call(messages, sampling) as completion:
            return completion

    async def stream(self, messages: Sequence[Message], sampling: Sampling) -> AsyncGenerator[Delta, None]:
        async with self._call(messages, sampling) as completion:
            for piece in _pieces(completion.text):
                yield Delta(piece)
            for extra in _extra_pieces(completion):
                yield Delta(extra=extra)
        yield Delta(finish_reason=completion.finish_reason, usage=completion.usage)

    async def aclose(self) -> None:
        """Nothing is held."""

    @asynccontextmanager
    async def _call(self, messages: Sequence[Message], sampling: Sampling) -> AsyncIterator[Completion]:
        """One call's reply, and the count of how it ended."""
        self.calls.append((messages, sampling))
        self.running += 1
        try:
            # The script is asked first: replies follow the order of the calls, whatever time they take.
            reply = self.script(messages, sampling)
            await asyncio.sleep(self.latency_s)
            if isinstance(reply, BaseException):
                raise reply
            yield _completion(reply, messages, sampling)
            self.finished += 1
        except (asyncio.CancelledError, GeneratorExit):
            self.cancelled += 1
            raise
        finally:
            self.running -= 1


def _pieces(text: str) -> list[str]:
    """The words of `text`, each with the white space before it; the last also with what follows it."""
    runs = _RUN.findall(text)
    begins = 1 if runs and runs[0].isspace() else 0
    pieces = ["".join(runs[max(0, place - 1) : place + 1]) for place in range(begins, len(runs), 2)]
    if pieces and runs[-1].isspace():
        pieces[-1] += runs[-1]
    return pieces


def _completion(reply: str | Completion, messages: Sequence[Message], sampling: Sampling) -> Completion:
    """The reply, cut at `max_tokens` and counted."""
    whole = reply if isinstance(reply, Completion) else Completion(reply, "stop", Usage())
    pieces = _pieces(whole.text)
    said = pieces if sampling.max_tokens is None else pieces[: sampling.max_tokens]
    finish = whole.finish_reason if len(said) == len(pieces) else "length"
    prompt = sum(len(message.text.split()) for message in messages)
    # A call of a tool is generated too: one token each.
    generated = len(said) + len(whole.extra.get("tool_calls", ()))
    return replace(whole, text="".join(said), finish_reason=finish, usage=Usage(prompt, generated))


def _extra_pieces(completion: Completion) -> Iterator[dict[str, object]]:
    """What a streaming server sends besides text: each tool call begins, then its arguments follow."""
    other = {name: value for name, value in completion.extra.items() if name != "tool_calls"}
    if other:
        yield other
    for index, call in enumerate(completion.extra.get("tool_calls", ())):
        function = call["function"]
        yield {"tool_calls": [{**call, "index": index, "function": {**function, "arguments": ""}}]}
        yield {"tool_calls": [{"index": index, "function": {"arguments": function["arguments"]}}]}
