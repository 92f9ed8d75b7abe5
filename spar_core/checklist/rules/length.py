"""Rules for lengths: words, sentences, paragraphs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from spar_core.checklist.rules.amounts import (
    NUMBER,
    ORDINAL,
    amounts_of,
    clause_after,
    clause_before,
    number_of,
    ordinal_of,
)
from spar_core.checklist.rules.base import Found, Rule
from spar_core.checklist.rules.passage import MASK, Passage, Sentence, span_of, unquoted

# A count in one of these is of a part of the response.
_PART: Final = unquoted(
    r"\b(?:titles?|headings?|headlines?|subject|bullets?|lines?|stanzas?|verses?|sections?|"
    r"points?|steps?|items?|introduction|conclusion|(?:first|last|second|third|final|opening|next|"
    r"of) (?:\w+ )?paragraphs?|"
    r"paragraph \d|summary of (?:the|each)|rows?|columns?|cells?|letters? of)\b"
)
_EACH: Final = unquoted(r"\b(?:each|every|per|both|apiece)\b")
_FREE_AFTER: Final = unquoted(
    r"^\s*(?:$|[)\"]|(?:in (?:total|all|length|your|the|this|a|one|english|plain)|long|total|overall|altogether|"
    r"for|about|on|"
    r"to|is|are|at|when|maximum|minimum|limit|please|only|or|as|using|so|that (?:is|are)|which|explaining|"
    r"describing)\b)"
)
_OTHER_WORDS: Final = unquoted(
    r"\b(?:key ?words?|start(?:ing|s)?|begin(?:ning|s)?|capitals?|caps|upper ?case|rhym\w+|letters?|times)\b"
)
_SENTENCE: Final = unquoted(r"\bsentences?\b")
# What stands before a number of sentences to write, and not before one of sentences to read.
_WRITES: Final = unquoted(
    r"(?:^|\b(?:in|into|to|of|with|be|have|has|contain|contains|write|use|using|give|compose|provide|exactly|only|"
    r"just|keep|a)) ?$"
)
_DIVIDER: Final = unquoted(r"\*\s?\*\s?\*(?:[^*]|$)|\bthree asterisks\b|\bmarkdown divider\b")
_BLANK: Final = unquoted(
    r"\b(?:blank|empty|new) lines?\b|\b(?:two|double) (?:new ?lines?|line ?breaks?|line ?feeds?|returns)\b|\\n\\n|"
    r"\b(?:line ?breaks?|newlines?)\b"
)
_NTH: Final = unquoted(
    rf"\b(?:(?:the )?(?P<ordinal>{ORDINAL})(?: paragraph| one)?|paragraph(?: number)? (?P<number>{NUMBER}))"
    rf"(?:,? (?:and )?(?:must|should|has to|needs to|shall|will|is to|starts?|begins?|have to))* ?"
    rf"(?:start|begin|starts|begins|starting|beginning|open|opens|"
    rf"opening)?(?: only)? with (?:the )?(?:first )?(?:word )?"
    rf"(?:[\"'`](?P<quoted>{MASK}+)[\"'`]|(?P<word>[a-z][\w'-]*))"
)


def words(sentence: Sentence, passage: Passage) -> Iterator[Found]:
    plain = sentence.plain
    for amount in amounts_of(plain, r"(?:english |total )?words?"):
        before, after = clause_before(plain, amount.start), clause_after(plain, amount.end)
        # A number without a bound is an approximate length.
        if amount.least is not None and not amount.exact:
            continue
        if (
            _EACH.search(plain)
            or _PART.search(before)
            or _PART.search(after)
            or _OTHER_WORDS.search(after)
            or _SENTENCE.search(before)
        ):
            continue
        if _FREE_AFTER.search(after):
            for number, relation in amount.bounds:
                yield "length_constraints:number_words", {"num_words": number, "relation": relation}


def sentences(sentence: Sentence, passage: Passage) -> Iterator[Found]:
    plain = sentence.plain
    for amount in amounts_of(plain, r"(?:short |long |complete |full |simple )?sentences?"):
        before, after = clause_before(plain, amount.start), clause_after(plain, amount.end)
        if (
            _EACH.search(plain)
            or _PART.search(before)
            or _PART.search(after)
            or _OTHER_WORDS.search(after)
            or not _FREE_AFTER.search(after)
        ):
            continue
        if amount.least is not None and not amount.exact and not _WRITES.search(before):
            continue
        for number, relation in amount.bounds:
            if number > 0 and (number, relation) != (1, "less than"):
                yield "length_constraints:number_sentences", {"num_sentences": number, "relation": relation}


def paragraphs(sentence: Sentence, passage: Passage) -> Iterator[Found]:
    for amount in amounts_of(sentence.plain, r"(?:short |long )?paragraphs?"):
        if amount.least is None or amount.least < 1:
            continue
        around = passage.around(sentence, before=1, after=2)
        if nth := _NTH.search(around):
            if _BLANK.search(around):
                yield from _nth(sentence, passage, amount.least, nth[0])
        elif _DIVIDER.search(around):
            yield "length_constraints:number_paragraphs", {"num_paragraphs": amount.least}


def _nth(sentence: Sentence, passage: Passage, count: int, wording: str) -> Iterator[Found]:
    for other in passage.near(sentence, before=1):
        if (nth := _NTH.search(other.plain)) and nth[0] == wording:
            number = ordinal_of(nth["ordinal"]) if nth["ordinal"] else number_of(nth["number"])
            group = "quoted" if nth["quoted"] else "word"
            word = other.text[slice(*span_of(nth, group))]
            if 1 <= number <= count and len(word.split()) == 1:
                yield (
                    "length_constraints:nth_paragraph_first_word",
                    {"num_paragraphs": count, "nth_paragraph": number, "first_word": word.lower()},
                )
            return


RULES: Final = (
    Rule(words, ("word",)),
    Rule(sentences, ("sentence",)),
    Rule(paragraphs, ("paragraph",)),
)
