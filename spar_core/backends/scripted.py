"""A backend that says what it is told: for tests, demonstrations and dry runs, without a model.

It is a real implementation of the protocol: it counts tokens (words), honours `max_tokens`, takes time,
fails when told to, and knows how many calls run and how many were cancelled.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field

from spar_core.types import Completion, Delta, FinishReason, Message, Sampling, Usage

# Given the chat and the sampling, the reply, or an error to raise.
Script = Callable[[Sequence[Message], Sampling], str | BaseException]
_PIECE = re.compile(r"\s*\S+\s*$|\s*\S+")


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
        text, finish, usage = "", "stop", Usage()
        async for delta in self.stream(messages, sampling):
            text += delta.text
            finish, usage = delta.finish_reason or finish, delta.usage or usage
        return Completion(text, finish, usage)  # type: ignore[arg-type]

    async def stream(self, messages: Sequence[Message], sampling: Sampling) -> AsyncGenerator[Delta, None]:
        self.calls.append((messages, sampling))
        self.running += 1
        ended = False
        try:
            # The script is asked first: replies follow the order of the calls, whatever time they take.
            reply = self.script(messages, sampling)
            await asyncio.sleep(self.latency_s)
            if isinstance(reply, BaseException):
                ended = True
                raise reply
            pieces = _PIECE.findall(reply)
            said = pieces if sampling.max_tokens is None else pieces[: sampling.max_tokens]
            for piece in said:
                yield Delta(piece)
            finish: FinishReason = "stop" if len(said) == len(pieces) else "length"
            prompt = sum(len(message.text.split()) for message in messages)
            ended = True
            self.finished += 1
            yield Delta(finish_reason=finish, usage=Usage(prompt, len(said)))
        finally:
            self.running -= 1
            self.cancelled += not ended

    async def aclose(self) -> None:
        """Nothing is held."""
