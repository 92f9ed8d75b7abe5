"""Rules for the form of the whole response: case, commas, its language, how it starts and ends, two responses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from spar_core.checklist.rules.amounts import amounts_of
from spar_core.checklist.rules.base import Found, Rule
from spar_core.checklist.rules.passage import MASK, Passage, Sentence, unquoted
from spar_core.checks.ifeval.language import LANGUAGES

_COMMAS: Final = unquoted(
    r"\b(?:not|never|n't)(?: \w+){0,2} (?:use|include|contain|have|put|add|write|employ)(?: \w+)?(?: any| a|"
    r" single)* commas?\b|"
    r"\b(?:no|without|avoid|zero|free of)(?: (?:the use of|using|any|all|a|single))* commas?\b|"
    r"\brefrain from (?:using|the use of|including)(?: any)? commas?\b|"
    r"\bcommas? (?:is|are|must|should|may|can)(?: ?not|n't)\b|\bcommas? (?:is|are) (?:forbidden|prohibited|banned)\b"
)
_LOWER: Final = unquoted(
    r"\b(?:in|all|only|entirely|completely|using) (?:in )?(?:english (?:and )?(?:in )?)?(?:all |"
    r"only )?lower ?case\b|\blower ?case (?:english )?(?:letters )?only\b|"
    r"\b(?:in |using )lower ?case(?: letters)?\b|\b(?:no|any|without|"
    r"avoid)(?: using)?(?: any)? (?:capital letters?|capitals|upper ?case(?: letters)?)\b"
)
_DENIED: Final = unquoted(
    r"\b(?:no|not|n't|never|without|avoid|any)\b(?: \w+){0,3}? (?:capital letters?|capitals|upper ?case)\b"
)
_UPPER: Final = unquoted(
    r"\b(?:all|only|entirely|completely|using|in|full) (?:english (?:and )?(?:in )?)?(?:all )?(?:only )?"
    r"(?:capital letters|capitals|caps|upper ?case)\b|"
    r"\b(?:capital letters|upper ?case(?: letters)?|capitals|caps) only\b|"
    r"\b(?:be|everything) (?:in )?(?:all )?upper ?case\b"
)
_SOME: Final = unquoted(
    r"\b(?:word|words|title|heading|headings|headline|name|names|first|each|every|section|start|initial|sentence|"
    r"sentences|"
    r"keyword|keywords|acronyms?|key)\b|\btimes?\b"
)
_CAPITAL_WORDS: Final = unquoted(
    r"\b(?:all|full) (?:caps?|capitals?|capital letters|uppercase)\b|\bcapital letters\b|\ball-caps\b|"
    r"\bfully capitali[sz]ed\b|\bupper ?case\b"
)
_PLACE: Final = unquoted(r"\b(?:each|every|per|title|first letter|heading)\b")
_ENDS: Final = unquoted(
    r"\b(?:end|finish|conclude|close|wrap up|ending|finishing|ends)(?: (?:your|the|it|this|with|response|answer|"
    r"reply|text|entire|whole|letter|email|essay|story|poem|off|out|by|message|note|output))* "
    r"(?:with|by saying|in)(?: (?:this|the|an?|these|following))*(?: (?:very|exact|exactly|precise|same|closing|"
    r"final))*(?: (?:phrase|sentence|words|line|text|statement|question))?:? ?"
)
_OF_PART: Final = unquoted(
    r"\b(?:each|every|words?|sentences?|lines?|paragraphs?|stanzas?|verses?|titles?|names?)\b[^,;]*$"
)
_LAST: Final = unquoted(
    r"\b(?:the )?(?:very )?(?:last|final|closing) (?:words?|phrase|sentence|line)(?: of (?:your|the) (?:response|"
    r"answer|text|reply))? (?:must|should|has to|have to|needs? to|shall|is to|are to)? ?(?:be|read|is|are):? ?"
)
_TRAILING: Final = unquoted(
    r"(?:,? (?:and|with) (?:add |put |write |say )?(?:nothing|no other|do not|don't).*|\(?(?:nothing|"
    r"no other words) (?:may|should|must|can|else|follows?|after).*|,? without .*)$"
)
_QUOTES: Final = unquoted(r"\bdouble (?:quotation marks?|quotes?|inverted commas)\b")
_WRAPS: Final = unquoted(
    r"\b(?:wrap|enclose|surround|put|place|encase|write)\w*\b.*\b(?:whole|entire|complete|full|all of your|"
    r"everything|your|the) ?(?:response|answer|reply|output|message|text|you write|letter|story|poem|essay)?\b|"
    r"\b(?:response|answer|reply|output|everything|message)\b.*\b(?:start|begin|wrapped|enclosed|surrounded|"
    r"inside|in|within)\b"
)
_QUOTED_PART: Final = unquoted(
    r"\b(?:title|name|word|words|phrase|each|every|quote|quotes from|dialogue|keyword|sentence)\b"
)
_REPEAT: Final = unquoted(
    r"\b(?:repeat|copy|repeating|copying|restate|echo)\b[^.]*\b(?:request|prompt|question|instruction|it|message|"
    r"task)s?\b[^.]*\b(?:word for word|word by word|verbatim|exactly|without (?:any )?chang\w+|unchanged|"
    r"as it (?:stands|is))\b"
)
_ABOVE: Final = unquoted(r"\babove\b|\b(?:begin|start) by\b|\b(?:first|before)\b")
_TWO: Final = unquoted(
    r"\b(?:two|2)(?: \w+){0,2} (?:responses?|answers?|versions?|alternatives?|replies|variants?|options?|"
    r"completions?)\b|\b(?:two|2) (?:different|distinct|separate) \w+"
)
_STARS: Final = unquoted(r"\*{6}|\b(?:six|6) (?:asterisks?|stars?)\b")
_NAMES: Final = {name.lower(): code for code, name in LANGUAGES.items() if "(" not in name} | {
    "chinese": "zh-cn",
    "farsi": "fa",
}
_NAME: Final = "(?P<name>" + "|".join(_NAMES) + ")"
_TONGUE: Final = (
    unquoted(
        rf"\b(?:answer|respond|reply|response|output|answered)(?: (?:to|me|this|it|the|your|question|request|"
        rf"should|must|be|has|needs|needs to|entirely|completely|only|written|using|fully|whole|"
        rf"entire))* in (?:the )?{_NAME}\b"
    ),
    unquoted(
        rf"\b(?:only|entirely|completely|exclusively|fully|solely) (?:in|use|using) (?:the )?{_NAME}(?: language)?\b"
    ),
    unquoted(rf"\b(?:in|using|use) (?:the )?{_NAME}(?: language)?(?:,)? (?:only|exclusively|alone)\b"),
    unquoted(
        rf"\b(?:write|written|be|whole|entire|everything|text|"
        rf"compose)\b[^.;:]*\bin (?:the )?{_NAME}(?: language)?(?:$|[.,;:!)]| and\b| please\b)"
    ),
)
_OTHER_TONGUE: Final = unquoted(
    r"\b(?:translat\w+|learn\w*|teach\w*|names?|word|words|phrases?|called|speak\w*|literature|history|compare|"
    r"version|title|not|n't|quote|both|or)\b"
)
_ENGLISH_CASE: Final = unquoted(r"\b(?:lower ?case|upper ?case|capitals?|caps)\b")


def no_comma(sentence: Sentence, passage: Passage) -> Iterator[Found]:
    found = _COMMAS.search(sentence.plain)
    if found and not sentence.plain.startswith(("explain", "describe", "why", "how", "what", "discuss")):
        yield "punctuation:no_comma", {}


def case(sentence: Sentence, passage: Passage) -> Iterator[Found]:
    plain = sentence.plain
    if (lower := _LOWER.search(plain)) and not _SOME.search(plain[: lower.start()]):
        yield "change_case:english_lowercase", {}
    elif _UPPER.search(plain) and not _SOME.search(plain) and not _DENIED.search(plain):
        yield "change_case:english_capital", {}


def capital_words(sentence: Sentence, passage: Passage) -> Iterator[Found]:
    plain = sentence.plain
    if not _CAPITAL_WORDS.search(plain) or _PLACE.search(plain) or "letter " in plain.replace("capital letter", ""):
        return
    amounts = [*amounts_of(plain, r"(?:different )?words?")] or (
        [*amounts_of(plain, r"times?")] if "word" in plain else []
    )
    if len(amounts) == 1 and not sentence.quotations():
        amount = amounts[0]
        for number, relation in amount.bounds if amount.least is None or amount.exact else amount.bounds[:1]:
            yield (
                "change_case:capital_word_frequency",
                {"capital_frequency": number, "capital_relation": relation},
            )


def language(sentence: Sentence, passage: Passage) -> Iterator[Found]:
    plain = sentence.plain
    found = next((found for pattern in _TONGUE if (found := pattern.search(plain))), None)
    if found is None or _OTHER_TONGUE.search(plain[: found.end()]):
        return
    # The checks of case are about English texts themselves.
    if found["name"] != "english" or not _ENGLISH_CASE.search(passage.around(sentence)):
        yield "language:response_language", {"language": _NAMES[found["name"]]}


def ending(sentence: Sentence, passage: Passage) -> Iterator[Found]:
    plain = sentence.plain
    last_words = list(_LAST.finditer(plain))
    commanded = [found for found in _ENDS.finditer(plain) if sentence.commands(found.start())]
    for found in (*commanded, *last_words):
        phrase = _phrase(sentence, found)
        if phrase and not _OF_PART.search(plain[: found.start()]) and not _POSTSCRIPT.search(phrase.lower()):
            yield "startend:end_checker", {"end_phrase": phrase}
            return


def _phrase(sentence: Sentence, found: re.Match[str]) -> str:
    """The phrase after the words that ask for it; empty if it is not certain."""
    asked = found[0].rstrip()
    rest, written = sentence.plain[found.end() :], sentence.text[found.end() :]
    if rest[:1] in ('"', "'", "`") and rest[1:2] == MASK:
        return written[1 : rest.index(rest[0], 1)].strip()
    if MASK in rest or not asked.endswith((":", "phrase", "words", "sentence", "be", "line", "statement")):
        return ""
    if "words" not in asked and rest.startswith(("that ", "which ", "of ", "about ")):
        return ""
    # An unquoted phrase reaches to the end of the sentence.
    cut = _TRAILING.search(rest)
    return (written[: cut.start()] if cut else written).strip()


_POSTSCRIPT: Final = unquoted(r"^p\.\s?(?:p\.\s?)?s")


def quotation(sentence: Sentence, passage: Passage) -> Iterator[Found]:
    plain = sentence.plain
    if (found := _QUOTES.search(plain)) and _WRAPS.search(plain) and not _QUOTED_PART.search(plain[: found.start()]):
        yield "startend:quotation", {}


def repeat_request(sentence: Sentence, passage: Passage) -> Iterator[Found]:
    """The request to repeat is the text of the paragraphs before."""
    if not _REPEAT.search(sentence.plain) or not _ABOVE.search(sentence.plain):
        return
    first = next(each for each in passage.sentences if each.paragraph == sentence.paragraph)
    before = passage.text[: first.start].strip()
    if before and first.paragraph > 0:
        yield "combination:repeat_prompt", {"prompt_to_repeat": before}


def two_responses(sentence: Sentence, passage: Passage) -> Iterator[Found]:
    if _TWO.search(sentence.plain) and _STARS.search(passage.around(sentence, before=0)):
        yield "combination:two_responses", {}


RULES: Final = (
    Rule(no_comma, ("comma",)),
    Rule(case, ("case", "capital", "caps")),
    Rule(capital_words, ("case", "capital", "caps")),
    Rule(language, (" in ", " in\n", "use ", "using ")),
    Rule(ending, ("end", "finish", "conclud", "close", "closing", "wrap up", "last", "final")),
    Rule(quotation, ("double",)),
    Rule(repeat_request, ("repeat", "copy", "restate", "echo")),
    Rule(two_responses, ("two", "2")),
)
