"""Rules for words to include, to avoid or to count, and letters to count."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from spar_core.checklist.rules.amounts import Bound, amounts_of, clause_after
from spar_core.checklist.rules.base import Found, Rule
from spar_core.checklist.rules.passage import MASK, Passage, Sentence, span_of, unquoted

_MARKS: Final = "\"'`,“”‘’„"
_QUOTED: Final = rf"[\"'`]{MASK}+[\"'`]"
_WORD: Final = r"[a-z][\w'’-]*"
# Nothing follows a conjunction's word: "without the words apple or pie, describe a dessert".
_LIST: Final = rf"(?:{_QUOTED}|\b{_WORD})(?:, ?(?:{_QUOTED}|{_WORD}))*(?:,? (?:and|or|nor|&) (?:{_QUOTED}|{_WORD}))?"
_QUOTED_LIST: Final = rf"{_QUOTED}(?:,? (?:and|or|nor|&) {_QUOTED}|, ?{_QUOTED})*"
_NOUN: Final = r"(?:key ?word|word|term|phrase|expression)"
_DETERMINER: Final = r"(?:(?:all |any |each )?(?:of )?(?:the |these |those )?(?:following |exact )?)"
# The words themselves: after a noun, or in quotation marks.
_ARGUMENT: Final = (
    rf"(?:{_DETERMINER}(?P<noun>{_NOUN}(?P<plural>s?)):? \[?(?P<list>{_LIST})\]?|"
    rf"(?:the )?\[?(?P<quotes>{_QUOTED_LIST})\]?)"
)
_SUBJECT: Final = _ARGUMENT.replace("?P<", "?P<s_")
_ITEM: Final = unquoted(rf"{_QUOTED}|{_WORD}")
_WANTS: Final = r"(?:include|contain|use|mention|incorporate|feature|work in|work|add|insert|have|using)"
# Verbs that take any quotation: "use '|' between columns", "add 'draft' to the name".
_USES: Final = ("use", "using", "add", "insert", "have")
_SHOWS: Final = r"(?:appear|occur|come up|show up|be found|be present|be included|be used|be mentioned|be in)"
_INCLUDE: Final = unquoted(rf"\b(?P<verb>{_WANTS}s?(?: in)?) (?:both )?{_ARGUMENT}")
_INCLUDED: Final = unquoted(
    rf"\b{_SUBJECT} (?:can|must|should|has to|have to|needs? to|shall) (?:all |both |also )*{_SHOWS}\b"
)
_AVOID: Final = unquoted(
    rf"(?:\b(?:not|never|n't)(?: \w+)? (?:use|include|contain|mention|say|write|have)|n't (?:use|include|contain|"
    rf"mention|say)|"
    rf"\b(?:avoid|exclude|omit|leave out|refrain from|without)(?: the use of)?(?: using| mentioning| including|"
    rf" saying)?) "
    rf"{_ARGUMENT}"
)
_AVOIDED: Final = unquoted(
    rf"\b{_SUBJECT} (?:(?:must|should|may|can|shall) ?not|cannot|(?:is|are) not (?:allowed|permitted) to) "
    rf"(?:appear|occur|come up|show up|be (?:used|included|mentioned|found|present|in))\b|"
    rf"\b{_SUBJECT.replace('?P<s_', '?P<t_')} (?:is|are) (?:not allowed|forbidden|prohibited|banned|not permitted|"
    rf"off limits)\b"
)
_TIMES: Final = r"times?"
_NUMBERED: Final = {"once": 1, "twice": 2, "thrice": 3}
_ONCE: Final = unquoted(
    r"\b(?P<amount>at least|more than|at most|no more than|less than|fewer than) (?P<times>once|twice|thrice)\b"
)
_COUNTED: Final = unquoted(rf"\b(?P<noun>{_NOUN}):? (?P<word>{_QUOTED}|{_WORD})")
_LETTER: Final = unquoted(
    r"\bletter:? (?:[\"'`]?)(?P<letter>[a-z])(?:[\"'`]?)(?:[\s,.)]|$)|\bletter:? [\"'`](?P<quoted>\x01)[\"'`]"
)
_LETTERS: Final = unquoted(r"\bletters?\b")
_CAPITAL: Final = unquoted(r"\b(?:all|full) (?:caps?|capitals?|uppercase)\b|\bcapital letters\b|\bcapitali[sz]ed\b")
_PLACE: Final = unquoted(
    r"\b(?:each|every|first|last|second|third|title|heading|paragraph|section|sentence|line|start|begin|beginning|"
    r"end|bullet)\b"
)
# What may follow a list of words: "avoid the words very and really and use lists".
_NEXT: Final = frozenset(
    "write use make include keep end start begin avoid answer give put respond reply finish".split()
)
# What follows "word" if no word is named.
_NO_WORD: Final = frozenset(
    "in should must that count counts of is are to at can or and limit has for as with which you from on it "
    "about throughout into like such related where naturally by".split()
)
_OR: Final = unquoted(r" or ")


def existence(sentence: Sentence, passage: Passage) -> Iterator[Found]:
    """The words that must occur; alternatives ("x or y"), counts and places are other constraints."""
    for pattern, prefix in ((_INCLUDE, ""), (_INCLUDED, "s_")):
        for found in pattern.finditer(sentence.plain):
            start = span_of(found, "verb")[0] if prefix == "" else found.start()
            if prefix == "" and found["verb"] != "using" and not sentence.commands(start):
                continue
            after = clause_after(sentence.plain, found.end())
            words = _listed(sentence, found, prefix)
            bare = prefix == "" and found["quotes"] and found["verb"] in _USES
            if not words or bare or _counts(after) or _OR.search(found[0]) or _PLACE.search(after):
                continue
            yield "keywords:existence", {"keywords": words}


def forbidden(sentence: Sentence, passage: Passage) -> Iterator[Found]:
    for pattern, prefixes in ((_AVOID, ("",)), (_AVOIDED, ("s_", "t_"))):
        for found in pattern.finditer(sentence.plain):
            prefix = next((each for each in prefixes if found[f"{each}list"] or found[f"{each}quotes"]), "")
            after = clause_after(sentence.plain, found.end())
            words = _listed(sentence, found, prefix)
            if words and not _counts(after) and not _PLACE.search(after) and not _described(sentence, found.start()):
                yield "keywords:forbidden_words", {"forbidden_words": words}


def frequency(sentence: Sentence, passage: Passage) -> Iterator[Found]:
    """How often a word or a letter occurs."""
    plain = sentence.plain
    if _CAPITAL.search(plain) or not (bounds := _bounds(plain)):
        return
    if letter := _LETTER.search(plain):
        group = "letter" if letter["letter"] else "quoted"
        symbol = sentence.text[slice(*span_of(letter, group))].lower()
        for number, relation in bounds:
            yield "keywords:letter_frequency", {"letter": symbol, "let_frequency": number, "let_relation": relation}
        return
    if _LETTERS.search(plain):
        return
    named = list(_COUNTED.finditer(plain))
    quoted = sentence.quotations()
    if len(named) == 1 and len(quoted) <= 1:
        word = sentence.text[slice(*span_of(named[0], "word"))].strip(_MARKS)
        if quoted and word != quoted[0]:
            return
    elif not named and len(quoted) == 1:
        word = quoted[0]
    else:
        return
    if word.lower() in _NO_WORD and not quoted:
        return
    for number, relation in bounds:
        yield "keywords:frequency", {"keyword": word, "frequency": number, "relation": relation}


def _bounds(plain: str) -> tuple[Bound, ...]:
    """The one amount of times in a sentence; a number without a bound is at least that many."""
    amounts = list(amounts_of(plain, _TIMES))
    once = list(_ONCE.finditer(plain))
    if len(amounts) + len(once) != 1:
        return ()
    if once:
        number, amount = _NUMBERED[once[0]["times"]], once[0]["amount"]
        if amount == "at least":
            return ((number, "at least"),)
        if amount == "more than":
            return ((number + 1, "at least"),)
        return ((number + 1 if amount.endswith(("most", "more than")) else number, "less than"),)
    amount = amounts[0]
    return amount.bounds if amount.least is None or amount.exact else amount.bounds[:1]


def _counts(after: str) -> bool:
    return bool(_ONCE.search(after)) or next(amounts_of(after, _TIMES), None) is not None


def _described(sentence: Sentence, offset: int) -> bool:
    """Whether a prohibition is somebody else's: "explain why one should not use the word x"."""
    before = sentence.plain[:offset].split()
    return bool(before) and before[0] in ("explain", "describe", "discuss", "why", "how", "what", "summarize")


def _listed(sentence: Sentence, found: re.Match[str], prefix: str) -> list[str]:
    """The words of a match as they are written; none if it is unclear where the list ends."""
    group = f"{prefix}list" if found[f"{prefix}list"] else f"{prefix}quotes"
    start, end = span_of(found, group)
    items = [(item[0], start + item.start(), start + item.end()) for item in _ITEM.finditer(sentence.plain[start:end])]
    items = [item for item in items if item[0] not in ("and", "or", "nor")]
    quoted = [item for item in items if item[0][0] in "\"'`"]
    if quoted:
        # After a quoted word, an unquoted one is no longer part of the list.
        items = quoted if items[0] in quoted else []
    elif not found[f"{prefix}plural"]:
        items = items[:1]
    elif len(items) < 2 or (not prefix and items[-1][0] in _NEXT and sentence.plain[end:].strip(" .!")):
        items = []
    words = [sentence.text[start:end].strip(_MARKS) for _, start, end in items]
    unclear = not quoted and any(word.lower() in _NO_WORD for word in words[:1])
    return [] if unclear or not all(word.strip() for word in words) else words


RULES: Final = (
    Rule(existence, ("word", "term", "phrase", "expression", '"', "'", "`")),
    Rule(forbidden, ("word", "term", "phrase", "expression", '"', "'", "`")),
    Rule(frequency, ("time", "once", "twice", "thrice")),
)
