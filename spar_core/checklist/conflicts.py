"""Pairs of checks that no response can meet together. Only contradictions that are certain count."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from spar_core.checks import Check

_COMMA: Final = "punctuation:no_comma"
_FORBIDDEN: Final = "keywords:forbidden_words"
_LANGUAGE: Final = "language:response_language"
_LOWER: Final = "change_case:english_lowercase"
_UPPER: Final = "change_case:english_capital"
_CAPITAL_WORDS: Final = "change_case:capital_word_frequency"
_FIXED: Final = "detectable_format:constrained_response"
_SECTIONS: Final = "detectable_format:multiple_sections"
_REPEAT: Final = "combination:repeat_prompt"
_QUOTES: Final = "startend:quotation"
_JSON: Final = "detectable_format:json_format"
_WORDS: Final = "length_constraints:number_words"
_SENTENCES: Final = "length_constraints:number_sentences"
# A response has one of these only.
_SINGLE: Final = frozenset(
    {_LANGUAGE, "detectable_format:number_bullet_lists", "length_constraints:number_paragraphs", _REPEAT}
)
_RELATIONS: Final = ("relation", "let_relation", "capital_relation")


def conflict_of(first: Check, second: Check) -> str | None:
    """Why no response meets both checks; None if one may."""
    return _ordered(first, second) or _ordered(second, first)


def _ordered(first: Check, second: Check) -> str | None:
    if first.id == second.id:
        return _of_one_type(first, second)
    if first.id == _COMMA and (text := next((text for text in _required(second) if "," in text), None)):
        return f'"{text}" has a comma'
    if first.id == _FORBIDDEN:
        for word in first.kwargs["forbidden_words"]:
            pattern = re.compile(rf"(?<!\w){re.escape(word.strip())}(?!\w)", re.IGNORECASE)
            if text := next((text for text in _required(second) if pattern.search(text)), None):
                return f'"{word}" is forbidden and "{text}" has to be there'
    if first.id in (_LOWER, _UPPER):
        return _of_case(first, second)
    if first.id == _LANGUAGE and second.id == _FIXED and first.kwargs["language"] != "en":
        return "the fixed answers are English"
    return _of_whole(first, second)


def _of_whole(first: Check, second: Check) -> str | None:
    """Contradictions about the response as a whole."""
    ids = (first.id, second.id)
    if ids == (_REPEAT, _QUOTES) and not first.kwargs["prompt_to_repeat"].strip().startswith('"'):
        return "the response cannot start with both the request and a quotation mark"
    if ids == (_REPEAT, _JSON) and first.kwargs["prompt_to_repeat"].strip()[:1] not in ("{", "[", '"'):
        return "JSON does not start with the request"
    if ids == (_WORDS, _SENTENCES) and (limit := _most(first)) is not None and (_least(second) or 0) > limit:
        return "there are more sentences than words"
    return None


def _of_one_type(first: Check, second: Check) -> str | None:
    relation = next((name for name in _RELATIONS if name in first.kwargs), None)
    if relation is not None:
        numbers = [name for name, value in first.kwargs.items() if isinstance(value, int)]
        same = [name for name in first.kwargs if name != relation and name not in numbers]
        if any(_folded(first.kwargs[name]) != _folded(second.kwargs.get(name)) for name in same):
            return None
        least, most = _least(first), _most(second)
        return (
            f"at least {least} and at most {most}" if least is not None and most is not None and least > most else None
        )
    if first.id in _SINGLE and dict(first.kwargs) != dict(second.kwargs):
        return "a response has only one of them"
    if first.id == "length_constraints:nth_paragraph_first_word":
        one, other = first.kwargs, second.kwargs
        if one["num_paragraphs"] != other["num_paragraphs"]:
            return "a response has one number of paragraphs"
        if one["nth_paragraph"] == other["nth_paragraph"] and one["first_word"].lower() != other["first_word"].lower():
            return "a paragraph has one first word"
    if first.id == "startend:end_checker":
        ends = [check.kwargs["end_phrase"].strip().lower() for check in (first, second)]
        if not ends[0].endswith(ends[1]) and not ends[1].endswith(ends[0]):
            return "a response has one end"
    return None


def _of_case(first: Check, second: Check) -> str | None:
    """Contradictions of all lowercase or all capitals with something else."""
    lower = first.id == _LOWER
    if second.id in (_LOWER, _UPPER):
        return "lowercase and capitals"
    if second.id == _LANGUAGE and second.kwargs["language"] != "en":
        return "this check of case is for English"
    if second.id == _FIXED:
        return "the fixed answers have capitals and small letters"
    if lower and second.id == _CAPITAL_WORDS and (_least(second) or 0) > 0:
        return "lowercase, and words in capitals"
    if second.id == _SECTIONS:
        word = second.kwargs["section_spliter"]
        if word != (word.lower() if lower else word.upper()):
            return f'"{word}" is written otherwise'
    return None


def _required(check: Check) -> Iterator[str]:
    """Texts that occur in every response that passes."""
    kwargs = check.kwargs
    match check.id:
        case "keywords:existence":
            yield from kwargs["keywords"]
        case "keywords:frequency" if (_least(check) or 0) > 0:
            yield kwargs["keyword"]
        case "keywords:letter_frequency" if (_least(check) or 0) > 0:
            yield kwargs["letter"]
        case "startend:end_checker":
            yield kwargs["end_phrase"]
        case "detectable_content:postscript":
            yield kwargs["postscript_marker"]
        case "combination:repeat_prompt":
            yield kwargs["prompt_to_repeat"]
        case "length_constraints:nth_paragraph_first_word":
            yield kwargs["first_word"]
        case "detectable_format:multiple_sections" if kwargs["num_sections"]:
            yield kwargs["section_spliter"]


def _least(check: Check) -> int | None:
    """The number that a check with a relation wants at least."""
    return _number(check) if "at least" in _relation(check) else None


def _most(check: Check) -> int | None:
    return _number(check) - 1 if "less than" in _relation(check) else None


def _relation(check: Check) -> tuple[object, ...]:
    return tuple(check.kwargs[name] for name in _RELATIONS if name in check.kwargs)


def _number(check: Check) -> int:
    return next((value for value in check.kwargs.values() if isinstance(value, int)), 0)


def _folded(value: object) -> object:
    return value.lower().strip() if isinstance(value, str) else value
