"""Checks on length: words, sentences, paragraphs."""

from __future__ import annotations

import re
from typing import Final

from spar_core.checks.base import Finding
from spar_core.checks.spec import CheckSpec, Kwargs, amount, compare, counted, positive, relation, text, whole
from spar_core.checks.text import count_words, split_by, split_sentences

_DIVIDER: Final = re.compile(r"\s?\*\*\*\s?")
_AFTER_WORD: Final = re.compile(r"[.,?!'\"]")


def _words(response: str, kwargs: Kwargs) -> Finding:
    count = count_words(response)
    return Finding(compare(count, kwargs["num_words"], kwargs["relation"]), counted(count, "word"))


def _sentences(response: str, kwargs: Kwargs) -> Finding:
    count = len(split_sentences(response))
    return Finding(compare(count, kwargs["num_sentences"], kwargs["relation"]), counted(count, "sentence"))


def paragraphs(response: str, kwargs: Kwargs) -> Finding:
    filled = [bool(block.strip()) for block in split_by(_DIVIDER, response)]
    # An empty block means an extra divider, except before the first paragraph and after the last.
    inner_empty = not all(filled[1:-1])
    count = sum(filled)
    evidence = "an empty paragraph" if inner_empty else counted(count, "paragraph")
    return Finding(not inner_empty and count == kwargs["num_paragraphs"], evidence)


def _nth_first_word(response: str, kwargs: Kwargs) -> Finding:
    blocks = response.split("\n\n")
    count = sum(1 for block in blocks if block.strip())
    nth = kwargs["nth_paragraph"]
    # IFEval takes the n-th of the blocks, empty ones included.
    block = blocks[nth - 1].strip() if nth <= count else ""
    if not block:
        return Finding(False, f"{counted(count, 'paragraph')}, no paragraph {nth}")
    first = block.split(maxsplit=1)[0].lstrip("'").lstrip('"')
    word = _AFTER_WORD.split(first)[0].lower()
    passed = count == kwargs["num_paragraphs"] and word == kwargs["first_word"].lower()
    return Finding(passed, f"{counted(count, 'paragraph')}, paragraph {nth} starts with {word or 'no word'}")


def _no_such_paragraph(kwargs: Kwargs) -> tuple[str, str] | None:
    if kwargs["nth_paragraph"] <= kwargs["num_paragraphs"]:
        return None
    return "nth_paragraph", f"at most num_paragraphs, which is {kwargs['num_paragraphs']}"


SPECS: Final = (
    CheckSpec(
        "length_constraints:number_words",
        lambda k: amount(k["num_words"], k["relation"], "word"),
        _words,
        {"num_words": whole, "relation": relation},
        passes=lambda _: 20,
    ),
    CheckSpec(
        "length_constraints:number_sentences",
        lambda k: amount(k["num_sentences"], k["relation"], "sentence"),
        _sentences,
        {"num_sentences": whole, "relation": relation},
        passes=lambda _: 250,
    ),
    CheckSpec(
        "length_constraints:number_paragraphs",
        lambda k: f"exactly {counted(k['num_paragraphs'], 'paragraph')} separated by ***",
        paragraphs,
        {"num_paragraphs": whole},
        passes=lambda _: 30,
    ),
    CheckSpec(
        "length_constraints:nth_paragraph_first_word",
        lambda k: (
            f"exactly {counted(k['num_paragraphs'], 'paragraph')}, "
            f"paragraph {k['nth_paragraph']} starting with the word {k['first_word']}"
        ),
        _nth_first_word,
        {"num_paragraphs": positive, "nth_paragraph": positive, "first_word": text},
        clash=_no_such_paragraph,
    ),
)
