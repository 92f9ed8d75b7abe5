"""Checks that count words: those in lowercase, those that are repeated, and those of every sentence."""

from __future__ import annotations

import re
from typing import Final

from spar_core.checks.base import Finding
from spar_core.checks.ifbench_train.words import quoted, words_of
from spar_core.checks.spec import CheckSpec, Kwargs, counted, positive, whole
from spar_core.checks.text import split_sentences

_PARAGRAPHS: Final = 3
_DIVIDER: Final = re.compile(r"\* ?\* ?\*")


def _lowercase(response: str, kwargs: Kwargs) -> Finding:
    count = sum(map(str.islower, words_of(response)))
    return Finding(count <= kwargs["N"], f"{counted(count, 'word')} in lowercase")


def _unique(response: str, _: Kwargs) -> Finding:
    seen: set[str] = set()
    for word in words_of(response):
        if (folded := word.casefold()) in seen:
            return Finding(False, f"{quoted(word)} repeated")
        seen.add(folded)
    return Finding(bool(seen), counted(len(seen), "different word"))


def _composition(response: str, kwargs: Kwargs) -> Finding:
    parts = _DIVIDER.split(response)
    # As in IFEval's check, a divider may also stand before the first paragraph and after the last.
    if any(not part.strip() for part in parts[1:-1]):
        return Finding(False, "an empty paragraph")
    paragraphs = [part for part in parts if part.strip()]
    if len(paragraphs) != _PARAGRAPHS:
        return Finding(False, counted(len(paragraphs), "paragraph"))
    for number, paragraph in enumerate(paragraphs, 1):
        sentences = split_sentences(paragraph)
        if len(sentences) != kwargs["n_sent"]:
            return Finding(False, f"paragraph {number} has {counted(len(sentences), 'sentence')}")
        for place, sentence in enumerate(sentences, 1):
            if (count := len(words_of(sentence))) != kwargs["n_words"]:
                return Finding(False, f"sentence {place} of paragraph {number} has {counted(count, 'word')}")
    return Finding(True, "as required")


SPECS: Final = (
    CheckSpec(
        "ifbench-train:lowercase_counting",
        lambda k: f"at most {counted(k['N'], 'word')} in lowercase",
        _lowercase,
        {"N": whole},
        passes=lambda _: 60,
    ),
    CheckSpec("ifbench-train:count_unique", lambda _: "no word twice", _unique, passes=lambda _: 60),
    CheckSpec(
        "ifbench-train:counting_composition",
        lambda k: (
            f"exactly {_PARAGRAPHS} paragraphs separated by * * *, each of exactly {counted(k['n_sent'], 'sentence')}, "
            f"each of exactly {counted(k['n_words'], 'word')}"
        ),
        _composition,
        {"n_sent": positive, "n_words": positive},
        passes=lambda _: 300,
    ),
)
