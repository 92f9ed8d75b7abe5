"""Rules that score rows: whether a response satisfies all constraints of its row's level.

Which rows have rules is FollowBench's choice; the rules implement what the rows' instructions ask for. They differ from
the published script where that does not: it counts white space after the last full stop as a sentence, treats any
suffix as the letters `-ly`, and checks the constraints of the speech (format 30) in another order than the levels add
them.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Sequence
from string import punctuation
from typing import Final

from spar_core.errors import DataError
from spar_training.evals.followbench.rows import Row

# Whether a response satisfies a level, given the row's target: (response, target, level).
Rule = Callable[[str, str, int], bool]
# Whether a response meets one constraint. A group's constraints are in the order in which the levels add them.
Constraint = Callable[[str], bool]

_CLOSING: Final = "Those are suggestions"
_POINT: Final = re.compile(r"^\s*+(?:[-*•]\s++|#++\s*+|\d++[.)]\s*+)*+\*\*(.+?)\*\*(.*)$")


def rule_of(row: Row) -> Rule | None:
    """Return the rule that scores a row; None if it needs a judge."""
    if row.kind == "example":
        return lambda response, target, _: _fits(response, target)
    if row.kind == "format":
        constraints = _FORMATS.get(row.example)
        return _levels(constraints) if constraints else None
    return _BY_SOURCE.get(row.source)


def _fits(response: str, target: str) -> bool:
    """Whether a response has the format of the examples, e.g. `Bot: {answer}`, with the answer on one line."""
    form = target.replace("{instruction}\n", "").replace("{{", "{").replace("}}", "}")
    before, _, after = form.partition("{answer}")
    return bool(re.fullmatch(f"{re.escape(before)}.*{re.escape(after)}", response.strip()))


def _equal(response: str, target: str, level: int) -> bool:
    return response.strip() == target.strip()


def _lines_of(response: str, target: str, level: int) -> bool:
    """Whether every line is one of the target's."""
    return set(response.strip().split("\n")) <= set(target.split("\n"))


def _one_of(response: str, target: str, level: int) -> bool:
    """Whether the response is in the target, a Python list literal."""
    try:
        options = ast.literal_eval(target)
    except (ValueError, SyntaxError) as error:
        raise DataError(f"FollowBench: the target {target[:60]!r} is not a list") from error
    return response.strip() in options


def _last(pattern: str) -> Rule:
    """Build a rule that the last match of `pattern` in the response is the target."""
    return lambda response, target, _: re.findall(pattern, response)[-1:] == [target]


def _contains(response: str, target: str, level: int) -> bool:
    return target in response


def _levels(constraints: Sequence[Constraint]) -> Rule:
    return lambda response, _, level: all(constraint(response.strip()) for constraint in constraints[:level])


def _sentences(text: str) -> list[str]:
    """Split as FollowBench does: at every full stop, exclamation mark and question mark."""
    return [piece for piece in re.split(r"[.!?]", text) if piece.strip()]


def _has(text: str, word: str) -> bool:
    return bool(re.search(rf"\b{re.escape(word)}\b", text))


def _has_nth(text: str, nth: int, word: str) -> bool:
    sentences = _sentences(text)
    return len(sentences) >= nth and _has(sentences[nth - 1], word)


def _third_is_present_perfect(text: str) -> bool:
    sentences = _sentences(text)
    return len(sentences) >= 3 and bool(re.search(r"\b(has|have)\s+\w+", sentences[2]))


def _one_sentence(text: str) -> bool:
    return len(_sentences(text)) == 1


_NEWS: Final[tuple[Constraint, ...]] = (
    lambda text: len(_sentences(text)) == 3,
    lambda text: all(len(sentence.split()) < 15 for sentence in _sentences(text)),
    lambda text: all(_has_nth(text, nth, word) for nth, word in ((1, "Potter"), (2, "actor"), (3, "films"))),
    lambda text: not _has_nth(text, 2, "lavish"),
    _third_is_present_perfect,
)
_FLOOD: Final[tuple[Constraint, ...]] = (
    _one_sentence,
    lambda text: len(text.split()) < 20,
    lambda text: not _has(text, "Newton Stewart"),
    lambda text: bool(re.search(r"\b(am|is|are)\s+\w+ing\b", text)),
    lambda text: _has(text, "operation"),
)
_DIALOGUE: Final[tuple[Constraint, ...]] = (
    _one_sentence,
    lambda text: len(text.split()) < 15,
    lambda text: _has(text, "stuff"),
    lambda text: "procrast" not in text.lower(),
    lambda text: sum(character in punctuation for character in text) == 1,
)
_HEADLINE: Final[tuple[Constraint, ...]] = (
    lambda text: len(text.split()) == 8,
    lambda text: not any(character in punctuation for character in text),
    str.islower,
    lambda text: not _has(text, "bus"),
    lambda text: _has(text, "in"),
)
_ABSTRACT: Final[tuple[Constraint, ...]] = (
    _one_sentence,
    lambda text: len(text.split()) <= 20,
    lambda text: bool(re.match(r"We\b", text)),
    lambda text: _has(text, "activations"),
    lambda text: not _has(text, "transformer"),
)


def _paragraphs(text: str) -> list[str]:
    """Split into paragraphs without the closing words, which may form a separate paragraph."""
    body = re.sub(rf"{_CLOSING}[.!]?$", "", text)
    return [paragraph.strip() for paragraph in body.split("\n\n") if paragraph.strip()]


def _prose(paragraph: str) -> str:
    """Strip the number marker, whose full stop does not end a sentence."""
    return re.sub(r"^\d+[.)]\s*", "", paragraph)


_TABLE: Final[tuple[Constraint, ...]] = (
    lambda text: len(_paragraphs(text)) == 3,
    lambda text: all(len(_sentences(_prose(paragraph))) < 3 for paragraph in _paragraphs(text)),
    lambda text: all(len(one.split()) > 20 for p in _paragraphs(text) for one in _sentences(_prose(p))),
    lambda text: all(re.match(r"\d+[.)]", paragraph) for paragraph in _paragraphs(text)),
    lambda text: bool(re.search(rf"{_CLOSING}[.!]?$", text)),
)


def _points(text: str) -> list[tuple[str, str]]:
    """Return the bold part of each line that has one, and the rest of that line."""
    found = (_POINT.match(line) for line in text.split("\n"))
    return [(match[1].strip(), match[2].strip()) for match in found if match]


def _line_sentences(text: str) -> list[str]:
    """Return the sentences of the text's lines, without bold marks and list markers."""
    plain = [re.sub(r"^\s*(?:[-*•]\s+|#+\s*|\d+[.)]\s*)+", "", line.replace("**", "")) for line in text.split("\n")]
    return [sentence for line in plain for sentence in _sentences(line)]


_SPEECH: Final[tuple[Constraint, ...]] = (
    lambda text: "**" in text,
    lambda text: all(len(_sentences(f"{_prose(key)} {detail}")) < 2 for key, detail in _points(text)),
    lambda text: all(10 <= len(sentence.split()) <= 15 for sentence in _line_sentences(text)),
    lambda text: not re.search(r"\wly\b", text),
    lambda text: (
        len(_points(text)) == 5 and all(detail.strip(" :–-") or key.count(":") for key, detail in _points(text))
    ),
)

_BY_SOURCE: Final[dict[str, Rule]] = {
    "E2E": _equal,
    "WIKIEVENTS": _lines_of,
    "CONLL2003": _one_of,
    "text_editing": _equal,
    "cnn_dailymail": _levels(_NEWS),
    "xsum": _levels(_FLOOD),
    "samsum": _levels(_DIALOGUE),
    "gigaword": _levels(_HEADLINE),
    "arxiv": _levels(_ABSTRACT),
    "BBH_logical": _last(r"\([A-Z]\)"),
    "BBH_time": _last(r"\d{2}/\d{2}/\d{4}"),
    "self_made_space": _contains,
    "gsm_8k": _last(r"\$\d+"),
}
_FORMATS: Final[dict[int, Sequence[Constraint]]] = {22: _TABLE, 30: _SPEECH}
