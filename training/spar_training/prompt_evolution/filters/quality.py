"""Prompts that are too short to ask for anything, or too long to leave room for an answer."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from spar_core.types import FinishReason
from spar_training.prompt_evolution.shingles import words


@dataclass(frozen=True, slots=True)
class Removal:
    """`reason` is one of a few words, to be counted; `detail` is this prompt's own."""

    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a prompt's length may be, both ends included."""

    min_characters: int = 10
    max_characters: int = 4000
    min_words: int = 3
    max_words: int = 600


def length(text: str, bounds: Bounds) -> Removal | None:
    """Whether `text` is within the bounds."""
    characters, count = len(text.strip()), len(words(text))
    if characters < bounds.min_characters or count < bounds.min_words:
        return Removal("too short", f"{characters} characters, {count} words")
    if characters > bounds.max_characters or count > bounds.max_words:
        return Removal("too long", f"{characters} characters, {count} words")
    return None


def echo(text: str, seed: str) -> Removal | None:
    """Whether `text` has the seed's words, in their order, and no others; or only the first part of them."""
    said, known = words(text), words(seed)
    return Removal("echo") if said == known[: len(said)] else None


_ITEM: Final = re.compile(r"^[ \t]*(?:[-*•]|\d+[.)])[ \t]+\S", re.MULTILINE)
# One more item may be an example; two make a list.
_LIST: Final = 2


def bullets(text: str, seed: str) -> Removal | None:
    """Whether `text` has two list items or more that the seed does not have."""
    more = len(_ITEM.findall(text)) - len(_ITEM.findall(seed))
    return Removal("list of constraints", f"{more} items") if more >= _LIST else None


# The beginning tells the language, and the time does not grow with pasted documents.
_READ: Final = 2000


def language(text: str, wanted: str, *, least: float = 0.1) -> Removal | None:
    """Whether langdetect gives the language `wanted` (its code, e.g. `en`) a probability of `least` or more.

    The bound is low on purpose: langdetect is often wrong about sentences of a few words, and seldom sure of it.
    Deterministic, since the detector's own randomness is seeded. A text without letters is in no language and removed.
    """
    from langdetect import DetectorFactory, LangDetectException, detect_langs

    DetectorFactory.seed = 0
    try:
        found = detect_langs(text[:_READ])
    except LangDetectException:
        return Removal("no language")
    if any(guess.lang == wanted and guess.prob >= least for guess in found):
        return None
    return Removal("other language", f"{found[0].lang} {found[0].prob:.2f}")


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
