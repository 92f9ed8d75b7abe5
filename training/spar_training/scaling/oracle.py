"""Perfect halves of a pair, so that one sees which half to improve: a judge that verifies, a refiner that repairs."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from spar_core.backends.base import Backend
from spar_core.types import Completion, Message, Sampling, Usage
from spar_training.scaling.chats import Asked, ChatReader
from spar_training.scaling.whole import Whole
from spar_training.world.critique import write_critique
from spar_training.world.repair import repair

# Tokens of a text, as the model that it stands in for would count them.
Count = Callable[[str], int]


class _Oracle(Whole):
    """Answers what it knows the truth of and leaves the rest to `inner`."""

    def __init__(self, inner: Backend, chats: ChatReader, *, count: Count) -> None:
        self._inner = inner
        self._chats = chats
        self._count = count

    @property
    def model(self) -> str:
        return self._inner.model

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        asked = self._chats.read(messages)
        reply = self._reply(asked, sampling) if asked else None
        if reply is None:
            return await self._inner.complete(messages, sampling)
        prompt = sum(self._count(message.text) for message in messages)
        return Completion(reply, "stop", Usage(prompt, self._count(reply)))

    def _reply(self, asked: Asked, sampling: Sampling) -> str | None:
        raise NotImplementedError

    async def aclose(self) -> None:
        await self._inner.aclose()


class OracleJudge(_Oracle):
    """Judges by the prompt's own checks and writes the true critique; `inner` refines by it."""

    def _reply(self, asked: Asked, sampling: Sampling) -> str | None:
        return None if asked.refine else write_critique(asked.example.prompt.checks, asked.response)


class OracleRefiner(_Oracle):
    """Mends whatever fails by the smallest true edits, whatever the critique says; `inner` judges.

    A text that the small edits do not mend is replaced by the prompt's reference answer, which passes.
    """

    def _reply(self, asked: Asked, sampling: Sampling) -> str | None:
        if not asked.refine:
            return None
        example = asked.example
        mended = repair(example.prompt, asked.response, random.Random(sampling.seed)) or example.reference.render()
        return f"[[start]]\n{mended}\n[[end]]"
