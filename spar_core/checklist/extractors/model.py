"""The extractor that asks a model: for JSON where the engine can enforce it, otherwise for lines of text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

from spar_core.backends.base import Backend
from spar_core.budget import Budget, TokensExhausted
from spar_core.checklist.extractors.base import Extraction
from spar_core.checklist.extractors.reply import read_reply
from spar_core.checklist.items import Item
from spar_core.checklist.rules import recognize
from spar_core.checks import CHECKS
from spar_core.errors import BackendError, BackendRejected
from spar_core.off_loop import unless_short
from spar_core.prompts import Templates, load_templates
from spar_core.types import Completion, Message, Sampling

_VALUE: Final = {"anyOf": [{"type": "string"}, {"type": "integer"}, {"type": "array", "items": {"type": "string"}}]}
_TEXT: Final = {"type": "string"}


def _object(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


@dataclass(slots=True, kw_only=True)
class ModelExtractor:
    """Asks `backend` for the checks and the requirements in words that the rules did not find.

    `structured` says whether the engine takes a `response_format`; the first refusal sets it to False. An item must
    quote the words that ask for it, and a check must pass the registry's validation; others are dropped.
    """

    backend: Backend
    templates: Templates = field(default_factory=lambda: load_templates("default"))
    # The temperature and the seed are fixed: a conversation has one checklist.
    sampling: Sampling = field(default_factory=lambda: Sampling(temperature=0.0, max_tokens=1024, seed=0))
    structured: bool = True

    @property
    def calls(self) -> int:
        return 2 if self.structured else 1

    async def extract(self, conversation: Sequence[Message], known: Sequence[Item], *, budget: Budget) -> Extraction:
        try:
            reply = await self._reply(conversation, known, budget)
        except TokensExhausted as error:
            return Extraction(problem=str(error))
        except BackendError as error:
            return Extraction(problem=f"the call for the checklist failed: {error}")
        if reply.finish_reason != "stop":
            return Extraction(problem="the checklist was cut off; raise judge_max_tokens")
        said = "\n".join(message.text for message in conversation)
        extraction = await unless_short(partial(read_reply, reply.text, said), len(reply.text))
        return replace(extraction, items=tuple(item for item in extraction.items if not _repeats(item, known)))

    async def _reply(self, conversation: Sequence[Message], known: Sequence[Item], budget: Budget) -> Completion:
        if not self.structured:
            return await self._ask(conversation, known, budget, structured=False)
        try:
            return await self._ask(conversation, known, budget, structured=True)
        except BackendRejected:
            reply = await self._ask(conversation, known, budget, structured=False)
            # The format was the problem, and nothing else about the request.
            self.structured = False
            return reply

    async def _ask(
        self, conversation: Sequence[Message], known: Sequence[Item], budget: Budget, *, structured: bool
    ) -> Completion:
        messages = await unless_short(
            partial(
                self.templates.checklist,
                conversation,
                [item.requirement for item in known],
                [_signature(id, CHECKS[id].parameters) for id in CHECKS],
                structured=structured,
            )
        )
        sampling = self.sampling
        if structured:
            extra = {**sampling.extra, "response_format": _response_format()}
            sampling = Sampling(
                sampling.temperature, sampling.top_p, sampling.max_tokens, sampling.stop, sampling.seed, extra
            )
        return await budget.complete("judge", self.backend, messages, sampling)


def _repeats(item: Item, known: Sequence[Item]) -> bool:
    """Whether an item in words says what a known check verifies: "do not use commas"."""
    checks = recognize(item.requirement) if item.check is None else []
    listed = [Item.of(check, "rules").requirement for check in checks]
    return bool(listed) and set(listed) <= {each.requirement for each in known}


def _signature(id: str, parameters: Mapping[str, Any]) -> str:
    """A check as a model is told of it: `length_constraints:number_words {"num_words", "relation"}`."""
    return f"{id} {{{', '.join(map(json.dumps, parameters))}}}"


def _response_format() -> dict[str, Any]:
    """The form of a reply, within what engines support of JSON Schema in strict mode."""
    kwarg = _object(name=_TEXT, value=_VALUE)
    item = _object(
        requirement=_TEXT,
        quote=_TEXT,
        check={"type": "string", "enum": ["", *CHECKS]},
        kwargs={"type": "array", "items": kwarg},
    )
    schema = _object(items={"type": "array", "items": item})
    return {"type": "json_schema", "json_schema": {"name": "checklist", "strict": True, "schema": schema}}
