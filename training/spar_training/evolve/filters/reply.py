"""The new instruction in a model's reply, or why there is none in it."""

from __future__ import annotations

import re
from typing import Final

from spar_core.types import FinishReason
from spar_training.evolve.filters.removal import Removal

OPENING: Final = "<new_instruction>"
CLOSING: Final = "</new_instruction>"
# The tags of the template. In an instruction they mean that the model has repeated the template.
_TAG: Final = re.compile(r"</?(?:new_instruction|instruction|constraints?)>", re.IGNORECASE)
_NONE: Final = re.compile(r"[\s\"'`*(\[]*none[\s\"'`*.)\]]*", re.IGNORECASE)
# What follows decides: people who ask for something may be sorry, afraid or unable to sleep too.
_REFUSAL: Final = re.compile(
    r"\W*(?:as an? (?:ai\b|(?:large )?language model)|"
    r"(?:(?:(?:i['’]?m|i am) (?:very |so |really )?(?:sorry|afraid)|sorry|i apologi[sz]e|unfortunately)\b.{0,30}?\b)?"
    r"i(?:['’]?m| am)? (?:can['’]?t|cannot|can not|won['’]?t|will not|unable to|not able to) "
    r"(?:help|assist|do|write|create|provide|comply|fulfil|add|rewrite|complete|generate|process))",
    re.IGNORECASE,
)


def instruction_in(reply: str, finish_reason: FinishReason) -> str | Removal:
    """What stands between the reply's last pair of marks.

    Only the marks tell an instruction from what a model says about it, so that a reply without them is no instruction.
    """
    opening = reply.rfind(OPENING)
    closing = reply.find(CLOSING, opening) if opening >= 0 else -1
    if closing < 0:
        return _without_marks(reply, finish_reason)
    text = reply[opening + len(OPENING) : closing].strip()
    return _fault(text) or text


def _without_marks(reply: str, finish_reason: FinishReason) -> Removal:
    if finish_reason == "length":
        return Removal("cut off")
    found = _fault(reply.strip())
    return found if found and found.reason != "marks left" else Removal("unmarked")


def _fault(text: str) -> Removal | None:
    if not text:
        return Removal("empty")
    if _NONE.fullmatch(text):
        return Removal("none")
    if _REFUSAL.match(text):
        return Removal("refusal")
    if tag := _TAG.search(text):
        return Removal("marks left", tag[0])
    return None
