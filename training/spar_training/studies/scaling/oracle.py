"""Oracles in place of a pair's judge or refiner, and the verifiers' verdicts.

A judge that verifies and a refiner that repairs show which half of a pair to improve.
"""

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

# Texts that do not occur in templates, to find the parts of a template around its slots.
_INSTRUCTION, _RESPONSE = "\x00instruction\x00", "\x00response\x00"


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """The request of a chat: a judgement of `response`, or its refinement."""

    example: Example
    response: str
    refine: bool


class ChatReader:
    """Parses the chats of known examples, which it finds by their prompts' texts."""

    def __init__(self, templates: Templates, examples: Iterable[Example]) -> None:
        self._templates = templates
        self._examples = {example.prompt.text: example for example in examples}
        (rendered,) = templates.judge((Message("user", _INSTRUCTION),), _RESPONSE)
        self._head, _, rest = rendered.text.partition(_INSTRUCTION)
        self._middle, _, tail = rest.partition(_RESPONSE)
        # A set may put a mark into its last lines, which differs from text to text and is always as long.
        self._tail = len(tail)

    def parse(self, messages: Sequence[Message]) -> ChatRequest | None:
        """Parse a chat; None if it is neither a judgement nor a refinement, or its prompt is unknown."""
        text = messages[0].text
        if not text.startswith(self._head):
            return None
        body = text[len(self._head) : len(text) - self._tail]
        index = body.find(self._middle)
        # A prompt may itself contain the words between the slots.
        while index >= 0:
            example, response = self._examples.get(body[:index]), body[index + len(self._middle) :]
            if example is not None:
                conversation = (Message("user", example.prompt.text),)
                if self._templates.judge(conversation, response)[0].text != text:
                    return None
                return ChatRequest(example, response, self._is_refinement(conversation, response, messages))
            index = body.find(self._middle, index + 1)
        return None

    def _is_refinement(self, conversation: Sequence[Message], response: str, messages: Sequence[Message]) -> bool:
        if len(messages) != 3:
            return False
        asked = self._templates.refine(conversation, response, messages[1].text)
        return messages[2].text == asked[-1].text


# Counts a text's tokens like the model that the oracle replaces.
TokenCounter = Callable[[str], int]


class _Oracle(NonStreamingBackend):
    """Answers the requests that it knows, and forwards the others to `inner`."""

    def __init__(self, inner: Backend, chats: ChatReader, *, count: TokenCounter) -> None:
        self._inner = inner
        self._chats = chats
        self._count = count

    @property
    def model(self) -> str:
        return self._inner.model

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        request = self._chats.parse(messages)
        reply = self._reply(request, sampling) if request else None
        if reply is None:
            return await self._inner.complete(messages, sampling)
        prompt = sum(self._count(message.text) for message in messages)
        return Completion(reply, "stop", Usage(prompt, self._count(reply)))

    def _reply(self, request: ChatRequest, sampling: Sampling) -> str | None:
        raise NotImplementedError

    async def aclose(self) -> None:
        await self._inner.aclose()


class OracleJudge(_Oracle):
    """Judges by the prompt's own checks and writes the ground-truth critique; `inner` refines by it."""

    def _reply(self, request: ChatRequest, sampling: Sampling) -> str | None:
        return None if request.refine else write_critique(request.example.prompt.checks, request.response)


class OracleRefiner(_Oracle):
    """Repairs whatever fails by the smallest edits, whatever the critique says; `inner` judges.

    A text that small edits cannot repair is replaced by the prompt's reference answer, which passes.
    """

    def _reply(self, request: ChatRequest, sampling: Sampling) -> str | None:
        if not request.refine:
            return None
        example = request.example
        repaired = repair(example.prompt, request.response, random.Random(sampling.seed)) or example.reference.render()
        return f"[[start]]\n{repaired}\n[[end]]"


class Truth:
    """The verifiers' verdicts, cached by prompt and text."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], tuple[bool, bool]] = {}

    def verdicts(self, prompt: Prompt, text: str) -> tuple[bool, bool]:
        """Return whether `text` meets all constraints, strictly and loosely. An empty text meets none."""
        if not text:
            return (False, False)
        key = (prompt.text, text)
        if key not in self._known:
            strict = passes(prompt, text)
            self._known[key] = (strict, strict or passes(prompt, text, loose=True))
        return self._known[key]


@lru_cache(maxsize=4096)
def prompt_of(split: Split, index: int) -> Prompt:
    """Return a prompt of the split. Drawing one takes milliseconds, and every arm needs it."""
    return draw_example(split, index).prompt
