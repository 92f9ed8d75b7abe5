"""Perfect halves of a pair, so that one sees which half to improve: a judge that verifies, a refiner that repairs."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from spar_core.backends.base import Backend
from spar_core.backends.wrappers.base import NonStreamingBackend
from spar_core.prompts import Templates
from spar_core.types import Completion, Message, Sampling, Usage
from spar_training.evals.world.evaluation import passes
from spar_training.world.critique import write_critique
from spar_training.world.example import Example, draw_example
from spar_training.world.prompt import Prompt, Split
from spar_training.world.repair import repair

# Texts that no template holds, to find the template's own words around its slots.
_INSTRUCTION, _RESPONSE = "\x00instruction\x00", "\x00response\x00"


@dataclass(frozen=True, slots=True)
class Asked:
    """What one chat asks for: a judgement of `response`, or its refinement."""

    example: Example
    response: str
    refine: bool


class ChatReader:
    """Knows the examples whose chats it reads, by their prompts' texts."""

    def __init__(self, templates: Templates, examples: Iterable[Example]) -> None:
        self._examples = {example.prompt.text: example for example in examples}
        (rendered,) = templates.judge((Message("user", _INSTRUCTION),), _RESPONSE)
        self._head, _, rest = rendered.text.partition(_INSTRUCTION)
        self._middle, _, self._tail = rest.partition(_RESPONSE)
        self._refine = templates.refine((Message("user", "x"),), "x", "x")[-1].text

    def read(self, messages: Sequence[Message]) -> Asked | None:
        """What is asked; None for a chat that is neither, or about no known prompt."""
        text = messages[0].text
        if not (text.startswith(self._head) and text.endswith(self._tail)):
            return None
        body = text[len(self._head) : len(text) - len(self._tail)]
        place = body.find(self._middle)
        # A prompt may hold the words between the slots itself.
        while place >= 0:
            example = self._examples.get(body[:place])
            if example is not None:
                refine = len(messages) == 3 and messages[2].text == self._refine
                return Asked(example, body[place + len(self._middle) :], refine)
            place = body.find(self._middle, place + 1)
        return None


# Tokens of a text, as the model that it stands in for would count them.
Count = Callable[[str], int]


class _Oracle(NonStreamingBackend):
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


class Truth:
    """Verdicts by prompt and text."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], tuple[bool, bool]] = {}

    def of(self, prompt: Prompt, text: str) -> tuple[bool, bool]:
        """Whether `text` meets all constraints, strictly and loosely. Nothing said meets none."""
        if not text:
            return (False, False)
        key = (prompt.text, text)
        if key not in self._known:
            strict = passes(prompt, text)
            self._known[key] = (strict, strict or passes(prompt, text, loose=True))
        return self._known[key]


@lru_cache(maxsize=4096)
def prompt_of(split: Split, index: int) -> Prompt:
    """The split's prompt. Finding one that can be answered takes milliseconds, and every arm asks for it."""
    return draw_example(split, index).prompt
