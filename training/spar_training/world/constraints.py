"""The constraint types of the world: IFEval ids, kwargs, phrasings, and which types exclude each other."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from spar_core.checks import Check, build_check
from spar_training.world import lexicon

Kwargs = dict[str, Any]

EXISTENCE: Final = "keywords:existence"
FORBIDDEN: Final = "keywords:forbidden_words"
FREQUENCY: Final = "keywords:frequency"
SENTENCES: Final = "length_constraints:number_sentences"
PARAGRAPHS: Final = "length_constraints:number_paragraphs"
BULLETS: Final = "detectable_format:number_bullet_lists"
HIGHLIGHTS: Final = "detectable_format:number_highlighted_sections"
TITLE: Final = "detectable_format:title"
POSTSCRIPT: Final = "detectable_content:postscript"
PLACEHOLDERS: Final = "detectable_content:number_placeholders"
ENDING: Final = "startend:end_checker"
QUOTATION: Final = "startend:quotation"
LOWERCASE: Final = "change_case:english_lowercase"
CAPITAL: Final = "change_case:english_capital"
CAPITAL_WORDS: Final = "change_case:capital_word_frequency"
NO_COMMA: Final = "punctuation:no_comma"


@dataclass(frozen=True, slots=True)
class Constraint:
    """A constraint of a prompt: its check and the phrase that asks for it."""

    check: Check
    phrase: str

    @property
    def id(self) -> str:
        return self.check.id

    @property
    def kwargs(self) -> Mapping[str, Any]:
        return self.check.kwargs


@dataclass(frozen=True, slots=True)
class ConstraintType:
    """How to draw a constraint: its kwargs, and phrasings with the kwargs as format fields.

    `excludes` names the types that it cannot be combined with.
    """

    draw: Callable[[random.Random], Kwargs]
    phrasings: tuple[str, ...]
    excludes: frozenset[str] = frozenset()


def _keywords(rng: random.Random) -> Kwargs:
    return {"keywords": rng.sample(lexicon.NOUNS, rng.choice((1, 1, 2)))}


def _forbidden(rng: random.Random) -> Kwargs:
    pool = (*lexicon.ADJECTIVES, "people", "children", "everyone", "many", *lexicon.TIMES)
    return {"forbidden_words": rng.sample(pool, rng.choice((1, 1, 2)))}


def _frequency(rng: random.Random) -> Kwargs:
    return {"keyword": rng.choice(lexicon.NOUNS), "frequency": rng.choice((2, 3)), "relation": "at least"}


def _sentences(rng: random.Random) -> Kwargs:
    if rng.random() < 0.6:
        return {"num_sentences": rng.randint(3, 6), "relation": "at least"}
    return {"num_sentences": rng.randint(2, 4), "relation": "less than"}


def _none(_: random.Random) -> Kwargs:
    return {}


CONSTRAINT_TYPES: Final[dict[str, ConstraintType]] = {
    EXISTENCE: ConstraintType(
        _keywords,
        ("Include {words}.", "Make sure to mention {words}.", "Your text must contain {words}."),
    ),
    FORBIDDEN: ConstraintType(
        _forbidden,
        ("Do not use {words}.", "Avoid {words}.", "Never write {words}."),
    ),
    FREQUENCY: ConstraintType(
        _frequency,
        (
            "Use the word {keyword} at least {frequency} times.",
            "The word {keyword} must appear {frequency} or more times.",
            "Write {keyword} at least {frequency} times.",
        ),
        frozenset({EXISTENCE}),
    ),
    SENTENCES: ConstraintType(
        _sentences,
        (
            "Write {relation} {num_sentences} sentences.",
            "Use {relation} {num_sentences} sentences.",
            "The text must have {relation} {num_sentences} sentences.",
        ),
        frozenset({BULLETS, POSTSCRIPT, PARAGRAPHS, PLACEHOLDERS, TITLE}),
    ),
    PARAGRAPHS: ConstraintType(
        lambda rng: {"num_paragraphs": rng.randint(2, 4)},
        (
            "Write {num_paragraphs} paragraphs separated by ***.",
            "Divide it into {num_paragraphs} paragraphs with *** between them.",
            "There should be {num_paragraphs} paragraphs divided by ***.",
        ),
        frozenset({BULLETS, HIGHLIGHTS, SENTENCES, QUOTATION}),
    ),
    BULLETS: ConstraintType(
        lambda rng: {"num_bullets": rng.randint(2, 5)},
        (
            "Write exactly {num_bullets} bullet points.",
            "Use a list of {num_bullets} bullet points.",
            "Answer with exactly {num_bullets} bullets like * this.",
        ),
        frozenset({PARAGRAPHS, HIGHLIGHTS, SENTENCES, QUOTATION}),
    ),
    HIGHLIGHTS: ConstraintType(
        lambda rng: {"num_highlights": rng.randint(1, 3)},
        (
            "Highlight at least {num_highlights} parts with *stars*.",
            "Mark at least {num_highlights} words like *this*.",
            "Use at least {num_highlights} highlighted sections like *this*.",
        ),
        frozenset({BULLETS, PARAGRAPHS}),
    ),
    TITLE: ConstraintType(
        _none,
        (
            "Add a title in double angular brackets.",
            "Give it a title like <<title>>.",
            "Start with a title wrapped in << and >>.",
        ),
        frozenset({QUOTATION, SENTENCES}),
    ),
    POSTSCRIPT: ConstraintType(
        lambda _: {"postscript_marker": "P.S."},
        (
            "Add a postscript starting with P.S.",
            "At the end add a P.S.",
            "Finish with a note that starts with P.S.",
        ),
        frozenset({ENDING, QUOTATION, SENTENCES, LOWERCASE, CAPITAL_WORDS}),
    ),
    PLACEHOLDERS: ConstraintType(
        lambda rng: {"num_placeholders": rng.randint(1, 3)},
        (
            "Include at least {num_placeholders} placeholders like [name].",
            "Use at least {num_placeholders} placeholders in square brackets.",
            "The text must have {num_placeholders} or more placeholders such as [date].",
        ),
        frozenset({SENTENCES}),
    ),
    ENDING: ConstraintType(
        lambda rng: {"end_phrase": rng.choice(lexicon.ENDINGS)},
        (
            "End with the phrase {end_phrase}",
            "The last words must be {end_phrase}",
            "Finish with exactly this: {end_phrase}",
        ),
        frozenset({POSTSCRIPT, QUOTATION}),
    ),
    QUOTATION: ConstraintType(
        _none,
        (
            "Wrap the whole text in double quotation marks.",
            "Put everything in double quotes.",
            "Your answer must start and end with a double quote.",
        ),
        frozenset({TITLE, BULLETS, POSTSCRIPT, ENDING, PARAGRAPHS}),
    ),
    LOWERCASE: ConstraintType(
        _none,
        ("Use only lowercase letters.", "Write everything in lowercase.", "No capital letters are allowed."),
        frozenset({CAPITAL, CAPITAL_WORDS, POSTSCRIPT}),
    ),
    CAPITAL: ConstraintType(
        _none,
        (
            "Use only capital letters.",
            "Write everything in capital letters.",
            "No lowercase letters are allowed.",
        ),
        frozenset({LOWERCASE, CAPITAL_WORDS}),
    ),
    CAPITAL_WORDS: ConstraintType(
        lambda rng: {"capital_frequency": rng.randint(1, 3), "capital_relation": "at least"},
        (
            "Write at least {capital_frequency} words in all capitals.",
            "Use at least {capital_frequency} words with all capital letters.",
            "Put {capital_frequency} or more words in capitals.",
        ),
        frozenset({LOWERCASE, CAPITAL, POSTSCRIPT}),
    ),
    NO_COMMA: ConstraintType(
        _none,
        ("Do not use commas.", "Write without any commas.", "Avoid commas in your answer."),
    ),
}

_RELATION_WORDS = {
    "at least": ("at least",),
    "less than": ("less than", "fewer than"),
}


def compatible(ids: frozenset[str]) -> bool:
    """Return whether constraints of these types can be met together."""
    return not any(CONSTRAINT_TYPES[one].excludes & ids for one in ids)


def draw_constraint(constraint_id: str, rng: random.Random) -> Constraint:
    """Draw kwargs and a phrasing for a constraint type."""
    kind = CONSTRAINT_TYPES[constraint_id]
    kwargs = kind.draw(rng)
    fields = dict(kwargs)
    for key in ("keywords", "forbidden_words"):
        if key in kwargs:
            words = kwargs[key]
            fields["words"] = f"the word {words[0]}" if len(words) == 1 else f"the words {' and '.join(words)}"
    if "relation" in kwargs:
        fields["relation"] = rng.choice(_RELATION_WORDS[kwargs["relation"]])
    return Constraint(build_check(constraint_id, kwargs), rng.choice(kind.phrasings).format(**fields))
