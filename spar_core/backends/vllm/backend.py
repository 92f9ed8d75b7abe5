"""vLLM in this process as a backend."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any, Final, cast

from spar_core.backends.vllm.engine import VllmEngine
from spar_core.backends.vllm.logprobs import openai_logprobs
from spar_core.errors import BackendUnavailable
from spar_core.types import Completion, Delta, FinishReason, Message, Sampling, Usage

# Any other reason means that vLLM's core cut the answer off.
_FINISHES: Final = ("stop", "length")


class VllmBackend:
    """A model name for an engine; several backends may share an engine, each with its own adapter or none."""

    constrains: Final = True

    def __init__(self, engine: VllmEngine, model: str, *, adapter: str | None = None) -> None:
        self.model = model
        self._engine = engine
        self._adapter = adapter

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        async with aclosing(self._deltas(messages, sampling, streamed=False)) as deltas:
            only = await anext(deltas)
        assert only.finish_reason is not None
        assert only.usage is not None
        return Completion(only.text, only.finish_reason, only.usage, only.extra)

    def stream(self, messages: Sequence[Message], sampling: Sampling) -> AsyncGenerator[Delta, None]:
        return self._deltas(messages, sampling, streamed=True)

    async def _deltas(
        self, messages: Sequence[Message], sampling: Sampling, *, streamed: bool
    ) -> AsyncGenerator[Delta, None]:
        prompt, parameters = await asyncio.to_thread(self._engine.prepare, messages, sampling, streamed=streamed)
        outputs = self._engine.generate(prompt, parameters, adapter=self._adapter)
        tokens = 0
        async with aclosing(outputs):
            async for output in outputs:
                piece = output.outputs[0]
                tokens += len(piece.token_ids)
                extra = _extra(piece, parameters.logprobs)
                if not output.finished:
                    if piece.text or extra:
                        yield Delta(piece.text, extra=extra)
                    continue
                yield Delta(piece.text, _finish(piece), Usage(len(prompt), tokens), extra)

    async def ready(self) -> bool:
        return self._engine.alive

    async def aclose(self) -> None:
        """Close the engine, and so every backend that shares it."""
        await self._engine.aclose()


def _extra(piece: Any, logprobs: int | None) -> dict[str, Any]:
    if logprobs is None or not piece.logprobs:
        return {}
    return {"logprobs": openai_logprobs(piece.token_ids, piece.logprobs, logprobs)}


def _finish(piece: Any) -> FinishReason:
    if piece.finish_reason not in _FINISHES:
        raise BackendUnavailable(f"vLLM ended the answer early ({piece.finish_reason})")
    return cast(FinishReason, piece.finish_reason)
