"""A backend that makes equal calls once.

Exact where the backend's text is a function of what is asked: chat, sampling and seed. The embedded engine's is, up to
floating-point ties. A completion from the store has the usage of the call that made it, so a search's account is
that of a search without a store.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Sequence

from spar_core.backends.base import Backend
from spar_core.types import Completion, Message, Sampling
from spar_training.scaling.store import CompletionStore
from spar_training.scaling.whole import Whole


class CachedBackend(Whole):
    """`inner` behind a store. `identity` names the weights, so that one store serves several models.

    Equal calls in flight at once are one call; one caller's cancellation leaves it to the others. A call without a
    seed that samples is never stored.
    """

    def __init__(self, inner: Backend, store: CompletionStore, *, identity: str) -> None:
        self._inner = inner
        self._store = store
        self._identity = identity
        self._running: dict[bytes, asyncio.Task[Completion]] = {}
        self.asked = 0
        self.made = 0

    @property
    def model(self) -> str:
        return self._inner.model

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        self.asked += 1
        if sampling.temperature != 0 and sampling.seed is None:
            self.made += 1
            return await self._inner.complete(messages, sampling)
        key = call_key(self._identity, messages, sampling)
        if (known := self._store.find(key)) is not None:
            return known
        if (running := self._running.get(key)) is None:
            running = asyncio.create_task(self._make(key, messages, sampling))
            self._running[key] = running
        return await asyncio.shield(running)

    async def _make(self, key: bytes, messages: Sequence[Message], sampling: Sampling) -> Completion:
        try:
            completion = await self._inner.complete(messages, sampling)
            self.made += 1
            self._store.keep(key, completion)
            return completion
        finally:
            del self._running[key]

    async def aclose(self) -> None:
        """Give up what is under way, and close the backend behind."""
        running = list(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await self._inner.aclose()


def call_key(identity: str, messages: Sequence[Message], sampling: Sampling) -> bytes:
    """A key that two calls share if and only if the same is asked. Temperature 0 does not look at the seed."""
    asked = {
        "model": identity,
        "messages": [message.to_openai() for message in messages],
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
        "stop": sampling.stop,
        "seed": None if sampling.temperature == 0 else sampling.seed,
        "extra": sampling.extra,
    }
    return hashlib.sha256(json.dumps(asked, sort_keys=True, default=dict).encode()).digest()
