"""Checks on layout: two paragraphs, brackets around words, hyphens between sentences."""

from __future__ import annotations

import re
from typing import Final

from spar_core.checks.base import Finding
from spar_core.checks.ifbench_train.words import quoted, words_of
from spar_core.checks.ifeval import length
from spar_core.checks.spec import CheckSpec, Kwargs, counted
from spar_core.checks.text import split_sentences

_PARAGRAPHS: Final = 2
_BRACKETED: Final = re.compile(r"\[[^\[\]\s]+\]")
_WRAPPED: Final = re.compile(r"<<[^\s<>]+\s+[^\s<>]+>>")
# The end of a sentence with its closing marks, and a hyphen that joins the next one to it.
_JOIN: Final = re.compile(r"([.!?])[\"'”’)\]*_]*(\s*-\s*)")
_SHOWN: Final = 30


def _divided(response: str, _: Kwargs) -> Finding:
    return length.paragraphs(response, {"num_paragraphs": _PARAGRAPHS})


def _blank_lines(response: str, _: Kwargs) -> Finding:
    blocks = response.split("\n\n")
    if any(not block.strip() for block in blocks[1:-1]):
        return Finding(False, "more than one blank line")
    count = sum(1 for block in blocks if block.strip())
    return Finding(count == _PARAGRAPHS, counted(count, "paragraph"))


def _bracketed(response: str, _: Kwargs) -> Finding:
    bare = words_of(_BRACKETED.sub(" ", response))
    if bare:
        return Finding(False, f"{quoted(bare[0])} is not in square brackets")
    count = len(words_of(response))
    return Finding(count > 0, f"{counted(count, 'word')} in square brackets")


def _wrapped(response: str, _: Kwargs) -> Finding:
    pairs = list(_WRAPPED.finditer(response))
    if not pairs:
        return Finding(False, "no pair of words in double angular brackets")
    end = pairs[-1].end()
    before = words_of(_WRAPPED.sub(" ", response[:end]))
    # Of an odd number of words, the last one has no partner.
    bare = before or words_of(response[end:])[1:]
    return Finding(not bare, f"{quoted(bare[0])} is not in a pair" if bare else counted(len(pairs), "pair"))


def _hyphenated(response: str, _: Kwargs) -> Finding:
    if loose := next((join for join in _JOIN.finditer(response) if join[2] != "-"), None):
        end = loose.start() + 1
        return Finding(False, f'white space beside the hyphen after "{response[max(0, end - _SHOWN) : end]}"')
    # Where a hyphen follows directly, no sentence ends for the splitter: what it splits is not joined.
    sentences = split_sentences(_JOIN.sub(r"\1-", response.strip()))
    if len(sentences) == 1:
        return Finding(True, "nothing else between sentences")
    return Finding(False, f'no hyphen after "{sentences[0][-_SHOWN:]}"')


SPECS: Final = (
    CheckSpec(
        "ifbench-train:paragraphs",
        lambda _: f"exactly {_PARAGRAPHS} paragraphs separated by ***",
        _divided,
        passes=lambda _: 15,
    ),
    CheckSpec(
        "ifbench-train:paragraphs2",
        lambda _: f"exactly {_PARAGRAPHS} paragraphs separated by a blank line",
        _blank_lines,
        passes=lambda _: 15,
    ),
    CheckSpec(
        "ifbench-train:square_brackets",
        lambda _: "every word in square brackets of its own",
        _bracketed,
        passes=lambda _: 60,
    ),
    CheckSpec(
        "ifbench-train:bigram_wrapping",
        lambda _: "every two words together in double angular brackets, as in <<I am>> <<at home>>",
        _wrapped,
        passes=lambda _: 60,
    ),
    CheckSpec(
        "ifbench-train:sentence_hyphens",
        lambda _: "a hyphen between sentences, without spaces, as in One.-Two.",
        _hyphenated,
        passes=lambda _: 300,
    ),
)
