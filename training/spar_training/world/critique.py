"""Ground-truth critiques: each constraint restated with its evidence and a yes or no, then the verdict.

The evidence lets a small judge decide by reading rather than by guessing: whatever is counted is
enumerated, each item with its word.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

import re2

from spar_core.checks import Check, verify
from spar_core.checks.text import split_sentences
from spar_training.world import constraints as c

Evidence = Callable[[str, Any], str]
_WORD: Final = re.compile(r"\w+")


def write_critique(checks: Sequence[Check], response: str) -> str:
    """Write the judgement of `response` that the checks support, in the format the refiner learns."""
    findings = verify(checks, response)
    lines = [
        f"{number}. {check.requirement()}: {evidence(check, response)} -> {'yes' if finding.passed else 'no'}"
        for number, (check, finding) in enumerate(zip(checks, findings, strict=True), start=1)
    ]
    verdict = "Yes" if all(finding.passed for finding in findings) else "No"
    return "\n".join([*lines, f"Final Judgement: {verdict}"])


def evidence(check: Check, response: str) -> str:
    """Quote the part of `response` that decides `check`, in a few words."""
    return _EVIDENCE[check.id](response, check.kwargs)


def _enumerate(words: Sequence[str]) -> str:
    return " ".join(f"{number} {word}" for number, word in enumerate(words, start=1)) or "none"


def _first_word(text: str) -> str:
    match = _WORD.search(text)
    return match[0] if match else "nothing"


def _existence(response: str, kwargs: Any) -> str:
    lowered = response.lower()
    return " ".join(f"{word} {'found' if word in lowered else 'missing'}" for word in kwargs["keywords"])


def _forbidden(response: str, kwargs: Any) -> str:
    words = set(_WORD.findall(response.lower()))
    return " ".join(f"{word} {'found' if word in words else 'missing'}" for word in kwargs["forbidden_words"])


def _frequency(response: str, kwargs: Any) -> str:
    return _enumerate(re.findall(kwargs["keyword"], response, re.IGNORECASE))


def _sentences(response: str, _: Any) -> str:
    return _enumerate([_first_word(sentence) for sentence in split_sentences(response)])


def _paragraphs(response: str, _: Any) -> str:
    return _enumerate([_first_word(block) for block in re.split(r"\s?\*\*\*\s?", response) if block.strip()])


def _bullets(response: str, _: Any) -> str:
    return _enumerate([_first_word(line) for line in response.split("\n") if re.match(r"\s*\*[^*]", line)])


def _highlights(response: str, _: Any) -> str:
    return _enumerate([_first_word(mark) for mark in re.findall(r"\*[^\n*]+\*", response)])


def _title(response: str, _: Any) -> str:
    match = re2.search(r"<<([^\n]+)>>", response)
    return str(match[1]) if match else "none"


def _postscript(response: str, _: Any) -> str:
    return "P.S. found" if re.search(r"p\.s\.", response, re.IGNORECASE) else "none"


def _placeholders(response: str, _: Any) -> str:
    return _enumerate([_first_word(hole) for hole in re2.findall(r"\[.*?\]", response)])


def _ending(response: str, kwargs: Any) -> str:
    return " ".join(response.split()[-len(kwargs["end_phrase"].split()) :])


def _quotation(response: str, _: Any) -> str:
    text = response.strip()
    return f"first {_edge(text[:1], text)} last {_edge(text[-1:], text)}"


def _edge(character: str, text: str) -> str:
    return _first_word(text) if character.isalnum() else character


def _wrong_case(predicate: Callable[[str], bool]) -> Evidence:
    def find(response: str, _: Any) -> str:
        return next((word for word in re.findall(r"[^\W\d_]+", response) if not predicate(word)), "none")

    return find


def _capital_words(response: str, _: Any) -> str:
    return _enumerate([word for word in _WORD.findall(response) if word.isupper()])


def _commas(response: str, _: Any) -> str:
    match = re.search(r"(?<!\w)(\w*+)\W?,", response)
    return f"{match[1]}," if match else "none"


_EVIDENCE: Final[dict[str, Evidence]] = {
    c.EXISTENCE: _existence,
    c.FORBIDDEN: _forbidden,
    c.FREQUENCY: _frequency,
    c.SENTENCES: _sentences,
    c.PARAGRAPHS: _paragraphs,
    c.BULLETS: _bullets,
    c.HIGHLIGHTS: _highlights,
    c.TITLE: _title,
    c.POSTSCRIPT: _postscript,
    c.PLACEHOLDERS: _placeholders,
    c.ENDING: _ending,
    c.QUOTATION: _quotation,
    c.LOWERCASE: _wrong_case(str.islower),
    c.CAPITAL: _wrong_case(str.isupper),
    c.CAPITAL_WORDS: _capital_words,
    c.NO_COMMA: _commas,
}
