"""The extractor without a model: it recognizes common wordings of the checks, exactly or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Final

from spar_core.budget import Budget
from spar_core.checklist.extractors.base import Extraction
from spar_core.checklist.items import Item
from spar_core.checklist.rules import LONGEST_READ, recognize
from spar_core.off_loop import unless_little
from spar_core.types import Message

# The work per character, in the unit of `Check.work`.
_WORK: Final = 1000


@dataclass(frozen=True, slots=True)
class RuleExtractor:
    """Extracts checks from the last message of the user, and no requirements in words.

    Earlier messages are left to models: what they ask for may be over, or hold under conditions.
    """

    calls: ClassVar[int] = 0

    async def extract(self, conversation: Sequence[Message], known: Sequence[Item], *, budget: Budget) -> Extraction:
        text = next((message.text for message in reversed(conversation) if message.role == "user"), "")
        checks = await unless_little(partial(recognize, text), _WORK * min(len(text), LONGEST_READ))
        return Extraction(tuple(Item.of(check, "rules") for check in checks))
