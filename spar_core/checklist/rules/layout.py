"""Rules for layout: bullets, highlights, titles, sections, JSON, fixed answers, placeholders, postscripts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from spar_core.checklist.rules.amounts import amounts_of, clause_after, clause_before
from spar_core.checklist.rules.base import Found, Rule
from spar_core.checklist.rules.passage import MASK, Passage, Sentence, span_of, unquoted
from spar_core.checks.ifeval.layout import FIXED_ANSWERS

_EACH: Final = unquoted(r"\b(?:each|every|per|both)\b")
_HIGHLIGHTS: Final = unquoted(r"\b(?:highlight(?:s|ed|ing)?|emphasi[sz]ed?|bold(?:ed)?|italici[sz]ed?|mark(?:ed)?)\b")
_MARKDOWN: Final = unquoted(r"\bmarkdown\b|\*|\basterisks?\b|\bhighlighted sections?\b")
_ANGULAR: Final = unquoted(r"<<|\bdouble ang(?:ular|le) brackets?\b")
_TITLE: Final = unquoted(r"\btitle\b")
_SPLITTER: Final = unquoted(
    r"(?:(?:with|by|as|:|,|like|e\.g\.|such as|using|start|begin|headed|labell?ed|marked)[ \n]+(?:the word |"
    r"the label )?[\"'`]?)"
    r"(?P<word>[a-z]+)[\"'`]? (?:x\b|1\b|i\b|and its number|followed by (?:its|the|a) (?:section )?number|"
    r"plus its number)"
)
_MASKED_SPLITTER: Final = unquoted(r"(?:[a-z]+) (?:x|1|i)$")
_JSON: Final = unquoted(
    r"\b(?:outputs?|responses?|answers?|reply|replies|respond|everything|it|results?|format|wrap|return|write|"
    r"present|give|"
    r"provide|use|using|only)(?: [\w']+){0,7}?(?: as| in| into| be| using| with| of| to| only| use)?(?: an?| the|"
    r" valid| single| raw| pure| "
    r"proper| one)* json(?: (?:format|object|document|string|notation|only|output))*(?:$|[\s]*[.,;:!()]| (?:and|"
    r"with|only|but|so|"
    r"that|using)\b)"
)
# Instructions about JSON rather than in it.
_PROGRAMS: Final = unquoted(
    r"\b(?:code|coding|functions?|scripts?|programs?|python|javascript|java|typescript|prompts?|llm|apis?|class|"
    r"files?|library|database|schema)\b"
)
_ABOUT_JSON: Final = unquoted(r"\b(?:explain|what is|difference|convert\w*|parse\w*|not?|versus|vs)\b[^.]*\bjson\b")
# The characters in which the fixed answers are listed.
_CHOICE: Final = 400
_BRACKETS: Final = unquoted(r"\bbrackets?\b|\[")
_POSTSCRIPT: Final = unquoted(r"\bp\.\s?(?P<second>p\.\s?)?s\b\.?")
_ADDS: Final = unquoted(
    r"\bpost ?script\b|\b(?:add|end|finish|close|append|include|conclude|put|note|starts?|starting|begin\w*)\b"
)


def bullets(sentence: Sentence, passage: Passage) -> Iterator[Found]:
    for amount in amounts_of(
        sentence.plain, r"(?:markdown |short |clear |concise )?bullet(?:ed)?(?: points?| list items?| items?)?s?"
    ):
        before = clause_before(sentence.plain, amount.start)
        if amount.least and not _EACH.search(before) and not _EACH.search(clause_after(sentence.plain, amount.end)):
            yield "detectable_format:number_bullet_lists", {"num_bullets": amount.least}


def highlights(sentence: Sentence, passage: Passage) -> Iterator[Found]:
    plain = sentence.plain
    if not _HIGHLIGHTS.search(plain) or not _MARKDOWN.search(plain):
        return
    for amount in amounts_of(
        plain, r"(?:\w+ )?(?:sections?|parts?|phrases?|passages?|words?|sentences?|spots?|places?|keywords?)"
    ):
        number, relation = amount.bounds[0]
        clause = clause_before(plain, amount.start) + "|" + clause_after(plain, amount.end)
        if relation == "at least" and number and _HIGHLIGHTS.search(clause):
            yield "detectable_format:number_highlighted_sections", {"num_highlights": number}
            return


def title(sentence: Sentence, passage: Passage) -> Iterator[Found]:
    if _TITLE.search(sentence.plain) and _ANGULAR.search(sentence.plain):
        yield "detectable_format:title", {}


def sections(sentence: Sentence, passage: Passage) -> Iterator[Found]:
    for amount in amounts_of(
        sentence.plain,
        r"(?:separate |distinct |different |numbered |main |clear )?(?:sections?|parts?|chapters?|days?)",
    ):
        number, relation = amount.bounds[0]
        if relation != "at least" or not number or _HIGHLIGHTS.search(clause_before(sentence.plain, amount.start)):
            continue
        if splitter := _splitter(sentence, passage):
            yield "detectable_format:multiple_sections", {"section_spliter": splitter, "num_sections": number}
            return


def _splitter(sentence: Sentence, passage: Passage) -> str | None:
    """The word that each section is headed with, as it is written: `SECTION` in "start each with SECTION X"."""
    for other in passage.near(sentence):
        if found := _SPLITTER.search(other.plain):
            return other.text[slice(*span_of(found, "word"))]
        for quotation in other.quotations():
            if _MASKED_SPLITTER.search(quotation.lower().strip()):
                return quotation.split()[-2]
    return None


def json_format(sentence: Sentence, passage: Passage) -> Iterator[Found]:
    if "json" not in sentence.plain or not _JSON.search(sentence.plain) or _ABOUT_JSON.search(sentence.plain):
        return
    if not passage.mentions(_PROGRAMS):
        yield "detectable_format:json_format", {}


def fixed_answers(sentence: Sentence, passage: Passage) -> Iterator[Found]:
    """The choice of fixed answers, which may be sentences of their own."""
    choices = [answer.removesuffix(".").lower() for answer in FIXED_ANSWERS]
    part = passage.text[sentence.start : sentence.start + _CHOICE].lower()
    if choices[0] in sentence.text.lower() and all(choice in part for choice in choices):
        yield "detectable_format:constrained_response", {}


def placeholders(sentence: Sentence, passage: Passage) -> Iterator[Found]:
    if not _BRACKETS.search(passage.around(sentence, before=0)):
        return
    for amount in amounts_of(sentence.plain, r"(?:\w+ )?place ?holders?"):
        number, relation = amount.bounds[0]
        if relation == "at least" and number:
            yield "detectable_content:number_placeholders", {"num_placeholders": number}
            return


def postscript(sentence: Sentence, passage: Passage) -> Iterator[Found]:
    lowered = sentence.text.lower()
    if (found := _POSTSCRIPT.search(lowered)) and _ADDS.search(lowered):
        yield "detectable_content:postscript", {"postscript_marker": "P.P.S" if found["second"] else "P.S."}


RULES: Final = (
    Rule(bullets, ("bullet",)),
    Rule(highlights, ("highlight", "emphasi", "bold", "itali", "mark")),
    Rule(title, ("title",)),
    Rule(sections, ("section", "part", "chapter", "day")),
    Rule(json_format, ("json",)),
    Rule(fixed_answers, ("my answer is", MASK)),
    Rule(placeholders, ("place",)),
    Rule(postscript, ("p.s", "p. s", "p.p", "p. p", MASK)),
)
