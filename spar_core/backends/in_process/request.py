"""One completion on its way through the engine."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from spar_core.backends.in_process.text import TextStream
from spar_core.backends.penalties import Penalties
from spar_core.errors import BackendError
from spar_core.types import Delta, FinishReason, Message, Sampling, Usage

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


@dataclass(eq=False)
class Request:
    """Made on the event loop; from then on the worker owns all but `loop`, `deltas` and `cancelled`."""

    # A chat, or a text to continue as it stands.
    asked: tuple[Message, ...] | str
    sampling: Sampling
    seed: int
    loop: asyncio.AbstractEventLoop
    streamed: bool
    deltas: asyncio.Queue[Delta | BackendError] = field(default_factory=asyncio.Queue)
    cancelled: bool = False

    prompt: tuple[int, ...] = ()
    room: int = 0
    answer: list[int] = field(default_factory=list)
    arrival: int = 0
    text: TextStream | None = None
    said: str = ""
    penalties: Penalties = field(default_factory=Penalties)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def draw(self) -> float:
        """The next number of this request's own stream, whatever else is in the batch."""
        return self._random.random()

    @property
    def length(self) -> int:
        """Tokens of the prompt and of the answer that are in the cache."""
        return len(self.prompt) + len(self.answer) - 1

    def say(
        self,
        piece: str,
        finish: FinishReason | None = None,
        usage: Usage | None = None,
        extra: Mapping[str, Any] = _NOTHING,
    ) -> None:
        """The next piece of the answer. One that is not streamed is kept until it is whole: waking the loop costs."""
        self.said += piece
        if self.streamed or finish is not None:
            self.deliver(Delta(self.said, finish, usage, extra))
            self.said = ""

    def deliver(self, delta: Delta | BackendError) -> None:
        """Hand a piece over to the event loop. Called from the worker."""
        try:
            self.loop.call_soon_threadsafe(self.deltas.put_nowait, delta)
        except RuntimeError:
            # The loop is closed: nobody is left to hear it.
            self.cancelled = True
