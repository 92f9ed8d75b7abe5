"""Draw constraints for a prompt: types that are compatible, with kwargs in realistic ranges.

The types and kwargs are those of `spar_core.checks`, hence IFEval's; all prompts, ranges and wordings are our own.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from spar_core.checks import IFEVAL_IDS, Check, build_check
from spar_training.bootstrap.verifiers.prompts.phrasings import phrase
from spar_training.bootstrap.verifiers.prompts.word_lists import COMMON_WORDS, END_PHRASES, KEYWORDS, OPENING_WORDS

Kwargs = dict[str, Any]

_JSON: Final = "detectable_format:json_format"
_FIXED: Final = "detectable_format:constrained_response"
_REPEAT: Final = "combination:repeat_prompt"
_TWO: Final = "combination:two_responses"
_LANGUAGE: Final = "language:response_language"
_LOWER: Final = "change_case:english_lowercase"
_CAPITAL: Final = "change_case:english_capital"
_CAPITAL_WORDS: Final = "change_case:capital_word_frequency"
_PARAGRAPHS: Final = "length_constraints:number_paragraphs"
_NTH: Final = "length_constraints:nth_paragraph_first_word"
_WORDS: Final = "length_constraints:number_words"
_SENTENCES: Final = "length_constraints:number_sentences"
_TITLE: Final = "detectable_format:title"
_SECTIONS: Final = "detectable_format:multiple_sections"
_BULLETS: Final = "detectable_format:number_bullet_lists"
_COMMA: Final = "punctuation:no_comma"
_QUOTES: Final = "startend:quotation"
_END: Final = "startend:end_checker"
_EXIST: Final = "keywords:existence"
_FORBIDDEN: Final = "keywords:forbidden_words"
_FREQUENCY: Final = "keywords:frequency"
_LETTER: Final = "keywords:letter_frequency"
_POSTSCRIPT: Final = "detectable_content:postscript"

# Incompatible types, in either direction; every other pair may be combined.
_CONFLICTS: Final[Mapping[str, frozenset[str]]] = {
    _FIXED: frozenset(IFEVAL_IDS) - {_FIXED},
    _JSON: frozenset(IFEVAL_IDS) - {_JSON, _EXIST, _FORBIDDEN, _FREQUENCY, "detectable_content:number_placeholders"},
    _REPEAT: frozenset({_LOWER, _CAPITAL, _LANGUAGE, _COMMA, _FORBIDDEN, _QUOTES, _TWO, _NTH, _PARAGRAPHS, _WORDS}),
    _TWO: frozenset({_PARAGRAPHS, _NTH, _SECTIONS, _QUOTES, _BULLETS, _LANGUAGE}),
    _LANGUAGE: frozenset(
        {_LOWER, _CAPITAL, _CAPITAL_WORDS, _EXIST, _FORBIDDEN, _FREQUENCY, _LETTER, _END, _NTH, _POSTSCRIPT, _SECTIONS}
    ),
    _LOWER: frozenset({_CAPITAL, _CAPITAL_WORDS, _SECTIONS}),
    _CAPITAL: frozenset({_CAPITAL_WORDS, _SECTIONS}),
    _PARAGRAPHS: frozenset({_NTH, _SECTIONS}),
    # Anything that stands alone would count as a paragraph.
    _NTH: frozenset({_SECTIONS, _BULLETS, _TITLE, _POSTSCRIPT, _END}),
    _WORDS: frozenset({_SENTENCES}),
}
# Types that small bases can hardly satisfy are rarer; the one that suits few tasks is more frequent where it does.
_WEIGHTS: Final[Mapping[str, float]] = {_LANGUAGE: 0.5, _FIXED: 5.0, _LETTER: 0.7, _NTH: 0.7}
_NUMBERS: Final = (1, 2, 3, 4)
_YES_NO: Final = re.compile(
    r"(?:is|are|was|were|do|does|did|will|would|should|has|have|could|can) (?!you\b|i\b|we\b)[^?]*\?$", re.IGNORECASE
)
_WORD: Final = re.compile(r"[a-z]{4,}")


@dataclass(frozen=True, slots=True)
class Constraint:
    """One verifiable constraint and the sentence that asks for it."""

    check: Check
    wording: str

    @property
    def id(self) -> str:
        return self.check.id


def draw_constraints(
    task: str, rng: random.Random, *, shares: Sequence[float] = (0.4, 0.3, 0.2, 0.1)
) -> tuple[Constraint, ...]:
    """Draw one to four compatible constraints for `task`; `shares` weigh one constraint, two, and so on.

    Use `random.Random(f"{seed}/{task_id}")` to make draws independent of one another.
    """
    wanted = rng.choices(_NUMBERS[: len(shares)], shares)[0]
    ids: list[str] = []
    while len(ids) < wanted and (free := _free(task, ids)):
        ids.append(rng.choices(free, [_WEIGHTS.get(id, 1.0) for id in free])[0])
    drawn: list[Constraint] = []
    used: set[str] = set()
    for id in ids:
        kwargs = _KWARGS[id](task, rng, used)
        used |= {word.lower() for key in ("keywords", "forbidden_words") for word in kwargs.get(key, ())}
        drawn.append(Constraint(build_check(id, kwargs), phrase(id, kwargs, rng)))
    return tuple(drawn)


def _free(task: str, ids: Sequence[str]) -> list[str]:
    """The types that are compatible with `ids`."""
    return [
        id
        for id in IFEVAL_IDS
        if id not in ids
        and not any(id in _CONFLICTS.get(other, ()) or other in _CONFLICTS.get(id, ()) for other in ids)
        and (id != _FIXED or _YES_NO.match(task))
    ]


def _keywords(task: str, rng: random.Random, used: set[str]) -> list[str]:
    pool = [word for word in KEYWORDS if word not in used]
    return rng.sample(pool, rng.choice((1, 2, 2, 3)))


def _forbidden(task: str, rng: random.Random, used: set[str]) -> list[str]:
    # Words that an answer would probably use: words of the task, and common ones.
    own: list[str] = [word for word in dict.fromkeys(_WORD.findall(task.lower())) if word not in used]
    common = [word for word in COMMON_WORDS if word not in used and word not in own]
    chosen = rng.sample(own, min(len(own), rng.choice((0, 1, 1, 2))))
    return chosen + rng.sample(common, rng.choice((1, 1, 2)))


def _frequent_word(task: str, rng: random.Random, used: set[str]) -> str:
    own: list[str] = [word for word in dict.fromkeys(_WORD.findall(task.lower())) if word not in used]
    pool = own if own and rng.random() < 0.6 else [word for word in KEYWORDS if word not in used]
    used.add(word := rng.choice(pool))
    return word


def _relation(rng: random.Random, *, at_least: float = 0.6) -> str:
    return "at least" if rng.random() < at_least else "less than"


def _word_count(task: str, rng: random.Random, used: set[str]) -> Kwargs:
    relation = _relation(rng)
    numbers = (30, 40, 50, 60, 80, 100, 120, 150, 200) if relation == "at least" else (20, 30, 40, 50, 60, 80, 100, 150)
    return {"num_words": rng.choice(numbers), "relation": relation}


def _letters(task: str, rng: random.Random, used: set[str]) -> Kwargs:
    relation = _relation(rng)
    if relation == "at least":
        return {
            "letter": rng.choice("abcdefghiklmnoprstuwy"),
            "let_frequency": rng.randint(2, 8),
            "let_relation": relation,
        }
    return {"letter": rng.choice("bcfgjkpqvwxyz"), "let_frequency": rng.randint(3, 8), "let_relation": relation}


def _capital_words(task: str, rng: random.Random, used: set[str]) -> Kwargs:
    relation = _relation(rng)
    low, high = (1, 6) if relation == "at least" else (2, 6)
    return {"capital_frequency": rng.randint(low, high), "capital_relation": relation}


def _nth_first_word(task: str, rng: random.Random, used: set[str]) -> Kwargs:
    number = rng.randint(2, 4)
    return {
        "num_paragraphs": number,
        "nth_paragraph": rng.randint(1, number),
        "first_word": rng.choice(OPENING_WORDS),
    }


def _fixed(**kwargs: Any) -> Callable[[str, random.Random, set[str]], Kwargs]:
    return lambda task, rng, used: dict(kwargs)


_KWARGS: Final[Mapping[str, Callable[[str, random.Random, set[str]], Kwargs]]] = {
    _EXIST: lambda task, rng, used: {"keywords": _keywords(task, rng, used)},
    _FORBIDDEN: lambda task, rng, used: {"forbidden_words": _forbidden(task, rng, used)},
    _FREQUENCY: lambda task, rng, used: {
        "keyword": _frequent_word(task, rng, used),
        "frequency": rng.randint(2, 4),
        "relation": _relation(rng, at_least=0.75),
    },
    _LETTER: _letters,
    _LANGUAGE: lambda task, rng, used: {"language": rng.choice(("es", "fr", "de", "it", "pt"))},
    _WORDS: _word_count,
    _SENTENCES: lambda task, rng, used: {"num_sentences": rng.randint(2, 8), "relation": _relation(rng)},
    _PARAGRAPHS: lambda task, rng, used: {"num_paragraphs": rng.randint(2, 5)},
    _NTH: _nth_first_word,
    _POSTSCRIPT: lambda task, rng, used: {"postscript_marker": rng.choice(("P.S.", "P.P.S"))},
    "detectable_content:number_placeholders": lambda task, rng, used: {"num_placeholders": rng.randint(1, 5)},
    _BULLETS: lambda task, rng, used: {"num_bullets": rng.randint(2, 6)},
    "detectable_format:number_highlighted_sections": lambda task, rng, used: {"num_highlights": rng.randint(1, 4)},
    _TITLE: _fixed(),
    _SECTIONS: lambda task, rng, used: {
        "section_spliter": rng.choice(("SECTION", "Section", "PARAGRAPH", "Part", "Day", "Chapter")),
        "num_sections": rng.randint(2, 4),
    },
    _JSON: _fixed(),
    _FIXED: _fixed(),
    _LOWER: _fixed(),
    _CAPITAL: _fixed(),
    _CAPITAL_WORDS: _capital_words,
    _COMMA: _fixed(),
    _END: lambda task, rng, used: {"end_phrase": rng.choice(END_PHRASES)},
    _QUOTES: _fixed(),
    _REPEAT: lambda task, rng, used: {"prompt_to_repeat": task},
    _TWO: _fixed(),
}
