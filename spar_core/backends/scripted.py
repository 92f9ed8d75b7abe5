"""A backend that replies by a script: for tests, demonstrations and dry runs without a model.

    backend = ScriptedBackend(always("Hello"))

It implements the whole protocol: it counts tokens (words), honours `max_tokens`, simulates latency, raises the errors
that the script returns, and counts running, finished and cancelled calls.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from spar_core.types import Completion, Delta, Message, Sampling, Usage

# Maps a chat and its sampling to the reply, or to an error to raise. A Completion is a reply with more than text
# (`tool_calls`, `reasoning`, ...); its usage is counted here too.
Script = Callable[[Sequence[Message], Sampling], str | Completion | BaseException]
_RUN = re.compile(r"\s+|\S+")


def always(reply: str) -> Script:
    """A script that always replies `reply`."""
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
        """Do nothing."""

    @asynccontextmanager
    async def _call(self, messages: Sequence[Message], sampling: Sampling) -> AsyncIterator[Completion]:
        """The reply of one call; counts how the call ended."""
        self.calls.append((messages, sampling))
        self.running += 1
        try:
            # The script runs before the latency, so that replies follow the order of the calls.
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
    """The words of `text`, each with the white space before it; the last also with the white space after it."""
    runs = _RUN.findall(text)
    first = 1 if runs and runs[0].isspace() else 0
    pieces = ["".join(runs[max(0, index - 1) : index + 1]) for index in range(first, len(runs), 2)]
    if pieces and runs[-1].isspace():
        pieces[-1] += runs[-1]
    return pieces


def _completion(reply: str | Completion, messages: Sequence[Message], sampling: Sampling) -> Completion:
    """The reply, truncated at `max_tokens`, with its usage."""
    whole = reply if isinstance(reply, Completion) else Completion(reply, "stop", Usage())
    pieces = _pieces(whole.text)
    kept = pieces if sampling.max_tokens is None else pieces[: sampling.max_tokens]
    finish = whole.finish_reason if len(kept) == len(pieces) else "length"
    prompt = sum(len(message.text.split()) for message in messages)
    # Tool calls are generated as well: one token each.
    generated = len(kept) + len(whole.extra.get("tool_calls", ()))
    return replace(whole, text="".join(kept), finish_reason=finish, usage=Usage(prompt, generated))


def _extra_pieces(completion: Completion) -> Iterator[dict[str, object]]:
    """The deltas of everything but text, as a server streams them: a tool call, then its arguments."""
    other = {name: value for name, value in completion.extra.items() if name != "tool_calls"}
    if other:
        yield other
    for index, call in enumerate(completion.extra.get("tool_calls", ())):
        function = call["function"]
        yield {"tool_calls": [{**call, "index": index, "function": {**function, "arguments": ""}}]}
        yield {"tool_calls": [{"index": index, "function": {"arguments": function["arguments"]}}]}
