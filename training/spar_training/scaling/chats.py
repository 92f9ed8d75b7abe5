"""Read back what a judge's or a refiner's chat is about: which prompt of the world, which response."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from spar_core.prompts import Templates
from spar_core.types import Message
from spar_training.world.example import Example

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
