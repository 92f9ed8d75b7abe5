"""Filters on a single prompt: its length, its language, and what the model made of its seed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from spar_core.types import FinishReason
from spar_training.prompt_evolution.shingles import words


@dataclass(frozen=True, slots=True)
class Removal:
    """Why a prompt was removed: `reason` is one of a fixed set, for counting; `detail` is specific to the prompt."""

    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Bounds on a prompt's length, inclusive."""

    min_characters: int = 10
    max_characters: int = 4000
    min_words: int = 3
    max_words: int = 600


def length(text: str, bounds: Bounds) -> Removal | None:
    """Remove a text that is too short to ask for anything, or too long to leave room for an answer."""
    characters, count = len(text.strip()), len(words(text))
    if characters < bounds.min_characters or count < bounds.min_words:
        return Removal("too short", f"{characters} characters, {count} words")
    if characters > bounds.max_characters or count > bounds.max_words:
        return Removal("too long", f"{characters} characters, {count} words")
    return None


def echo(text: str, seed: str) -> Removal | None:
    """Remove a text that only repeats the seed, or its beginning."""
    said, known = words(text), words(seed)
    return Removal("echo") if said == known[: len(said)] else None


_ITEM: Final = re.compile(r"^[ \t]*(?:[-*•]|\d+[.)])[ \t]+\S", re.MULTILINE)
# One additional item may be an example; two are a list.
_LIST: Final = 2


def bullets(text: str, seed: str) -> Removal | None:
    """Remove a text with at least two more list items than the seed."""
    more = len(_ITEM.findall(text)) - len(_ITEM.findall(seed))
    return Removal("list of constraints", f"{more} items") if more >= _LIST else None


# The first characters suffice to detect the language; pasted documents may be long.
_READ: Final = 2000


def language(text: str, wanted: str, *, least: float = 0.1) -> Removal | None:
    """Remove a text unless langdetect gives the language `wanted` (a code such as `en`) a probability of `least`.

    The bound is low on purpose, because langdetect is often wrong about short sentences but seldom certain. The result
    is deterministic: the detector is seeded. A text without letters is removed.
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
# Tags of the template. An instruction that contains them repeats the template.
_TAG: Final = re.compile(r"</?(?:new_instruction|instruction|constraints?)>", re.IGNORECASE)
_NONE: Final = re.compile(r"[\s\"'`*(\[]*none[\s\"'`*.)\]]*", re.IGNORECASE)
# The verb decides, because a prompt may also say that its author is sorry, afraid or unable to sleep.
_REFUSAL: Final = re.compile(
    r"\W*(?:as an? (?:ai\b|(?:large )?language model)|"
    r"(?:(?:(?:i['’]?m|i am) (?:very |so |really )?(?:sorry|afraid)|sorry|i apologi[sz]e|unfortunately)\b.{0,30}?\b)?"
    r"i(?:['’]?m| am)? (?:can['’]?t|cannot|can not|won['’]?t|will not|unable to|not able to) "
    r"(?:help|assist|do|write|create|provide|comply|fulfil|add|rewrite|complete|generate|process))",
    re.IGNORECASE,
)


def instruction_in(reply: str, finish_reason: FinishReason) -> str | Removal:
    """The instruction between the last pair of tags in a reply, or the reason that there is none.

    Without tags an instruction cannot be distinguished from the model's remarks about it.
    """
    opening = reply.rfind(OPENING)
    closing = reply.find(CLOSING, opening) if opening >= 0 else -1
    if closing < 0:
        return _without_tags(reply, finish_reason)
    text = reply[opening + len(OPENING) : closing].strip()
    return _fault(text) or text


def _without_tags(reply: str, finish_reason: FinishReason) -> Removal:
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
