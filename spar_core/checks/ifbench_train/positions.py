"""Checks on which word stands where: first, last, or at a given place."""

from __future__ import annotations

from typing import Final

from spar_core.checks.base import Finding
from spar_core.checks.ifbench_train.words import one_word, quoted, same, words_of
from spar_core.checks.spec import CheckSpec, Kwargs, Test, counted, positive
from spar_core.checks.text import split_sentences

_FIRST: Final = 0
_LAST: Final = -1
_NAMES: Final = {_FIRST: "starts", _LAST: "ends"}


def _response_word(kwarg: str, place: int) -> Test:
    def test(response: str, kwargs: Kwargs) -> Finding:
        words = words_of(response)
        if not words:
            return Finding(False, "no words")
        return Finding(same(words[place], kwargs[kwarg]), f"{_NAMES[place]} with {quoted(words[place])}")

    return test


def _sentence_words(kwarg: str, place: int) -> Test:
    def test(response: str, kwargs: Kwargs) -> Finding:
        sentences = [words for sentence in split_sentences(response) if (words := words_of(sentence))]
        for number, words in enumerate(sentences, 1):
            if not same(words[place], kwargs[kwarg]):
                return Finding(False, f"sentence {number} {_NAMES[place]} with {quoted(words[place])}")
        return Finding(bool(sentences), counted(len(sentences), "sentence"))

    return test


def _keyword_at(response: str, kwargs: Kwargs) -> Finding:
    sentences, n, m = split_sentences(response), kwargs["n"], kwargs["m"]
    if n > len(sentences):
        return Finding(False, f"{counted(len(sentences), 'sentence')}, no sentence {n}")
    words = words_of(sentences[n - 1])
    if m > len(words):
        return Finding(False, f"sentence {n} has {counted(len(words), 'word')}, no word {m}")
    found = words[m - 1]
    return Finding(same(found, kwargs["keyword"]), f"word {m} of sentence {n} is {quoted(found)}")


def _start_end(response: str, _: Kwargs) -> Finding:
    words = words_of(response)
    if len(words) < 2:
        return Finding(False, counted(len(words), "word"))
    if not response.rstrip().endswith(words[-1]):
        return Finding(False, f"something follows the last word {quoted(words[-1])}")
    return Finding(same(words[0], words[-1]), f"starts with {quoted(words[0])} and ends with {quoted(words[-1])}")


SPECS: Final = (
    CheckSpec(
        "ifbench-train:first_word_answer",
        lambda k: f"start with the word {k['first_word']}",
        _response_word("first_word", _FIRST),
        {"first_word": one_word},
        passes=lambda _: 40,
    ),
    CheckSpec(
        "ifbench-train:first_word_sent",
        lambda k: f"start every sentence with the word {k['first_word']}",
        _sentence_words("first_word", _FIRST),
        {"first_word": one_word},
        passes=lambda _: 300,
    ),
    CheckSpec(
        "ifbench-train:last_word_answer",
        lambda k: f"end with the word {k['last_word']}",
        _response_word("last_word", _LAST),
        {"last_word": one_word},
        passes=lambda _: 40,
    ),
    CheckSpec(
        "ifbench-train:last_word_sent",
        lambda k: f"end every sentence with the word {k['last_word']}",
        _sentence_words("last_word", _LAST),
        {"last_word": one_word},
        passes=lambda _: 300,
    ),
    CheckSpec(
        "ifbench-train:keyword_specific_position",
        lambda k: f"the word {k['keyword']} as word {k['m']} of sentence {k['n']}",
        _keyword_at,
        {"keyword": one_word, "n": positive, "m": positive},
        passes=lambda _: 300,
    ),
    CheckSpec(
        "ifbench-train:start_end",
        lambda _: "start and end with the same word, with nothing after it",
        _start_end,
        passes=lambda _: 40,
    ),
)
