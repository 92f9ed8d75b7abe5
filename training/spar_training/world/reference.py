"""Reference answers: build a text that meets a prompt's constraints, then verify it."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any, Final

from spar_core.checks import verify
from spar_training.world import constraints as c
from spar_training.world import lexicon
from spar_training.world.answer import Answer
from spar_training.world.prompt import Prompt

_ATTEMPTS: Final = 50
_CONTENT_WORDS: Final = frozenset((*lexicon.SUBJECTS, *lexicon.NOUNS, *lexicon.ADJECTIVES))


class NoReferenceError(Exception):
    """No answer was found that meets the constraints: they contradict one another."""


def write_reference(prompt: Prompt, rng: random.Random) -> Answer:
    """Write an answer that passes every check of `prompt`.

    Raises:
        NoReferenceError: the constraints contradict one another.
    """
    for _ in range(_ATTEMPTS):
        answer = _compose(prompt, rng)
        if all(finding.passed for finding in verify(prompt.checks, answer.render())):
            return answer
    raise NoReferenceError(prompt.text)


def _compose(prompt: Prompt, rng: random.Random) -> Answer:
    wanted = {constraint.id: constraint.kwargs for constraint in prompt.constraints}
    sentences = _sentences(prompt.subject, wanted, rng)
    answer = Answer((tuple(sentences),))
    if rng.random() < 0.04 and c.TITLE not in wanted and c.QUOTATION not in wanted:
        answer = _title(answer, {}, prompt.subject, rng)
    for one in _FORMATTERS:
        if one in wanted:
            answer = _FORMATTERS[one](answer, wanted[one], prompt.subject, rng)
    return answer


def _sentences(subject: str, wanted: dict[str, Any], rng: random.Random) -> list[str]:
    count = _sentence_count(wanted, rng)
    nouns = list(wanted.get(c.EXISTENCE, {}).get("keywords", ()))
    if c.FREQUENCY in wanted:
        nouns += [wanted[c.FREQUENCY]["keyword"]] * wanted[c.FREQUENCY]["frequency"]
    count = max(count, len(nouns))
    templates = rng.sample(lexicon.NOUN_LINES, len(nouns))
    sentences = [fill(template, subject, rng, noun) for template, noun in zip(templates, nouns, strict=True)]
    if c.PLACEHOLDERS in wanted:
        names = rng.sample(sorted(lexicon.PLACEHOLDERS), wanted[c.PLACEHOLDERS]["num_placeholders"])
        sentences += [lexicon.PLACEHOLDERS[name][0] for name in names]
    spare = [*lexicon.SUBJECT_LINES[subject], *(t for t in lexicon.NOUN_LINES if t not in templates)]
    rng.shuffle(spare)
    while len(sentences) < count:
        sentences.append(fill(spare.pop(), subject, rng))
    if rng.random() < 0.3:
        with_comma, without = rng.choice(lexicon.COMMA_LINES)
        template = without if c.NO_COMMA in wanted else with_comma
        spot = next((i for i in range(len(nouns), len(sentences)) if "[" not in sentences[i]), None)
        if spot is not None:
            sentences[spot] = fill(template, subject, rng)
    rng.shuffle(sentences)
    return sentences


def _sentence_count(wanted: dict[str, Any], rng: random.Random) -> int:
    ending = 1 if c.ENDING in wanted else 0
    if c.SENTENCES in wanted:
        number = int(wanted[c.SENTENCES]["num_sentences"])
        if wanted[c.SENTENCES]["relation"] == "at least":
            return number - ending + rng.choice((0, 0, 1))
        return max(1, rng.randint(1, number - 1) - ending)
    if c.BULLETS in wanted:
        return int(wanted[c.BULLETS]["num_bullets"])
    if c.PARAGRAPHS in wanted:
        return int(wanted[c.PARAGRAPHS]["num_paragraphs"]) + rng.choice((0, 0, 1))
    return rng.choice((2, 2, 3, 4))


def fill(template: str, subject: str, rng: random.Random, noun: str | None = None) -> str:
    """Fill a template's slots; the adjectives within a sentence differ."""
    a, b, d = rng.sample(lexicon.ADJECTIVES, 3)
    return template.format(
        S=subject, n=noun or rng.choice(lexicon.NOUNS), a=a, b=b, c=d,
        t=rng.choice(lexicon.TIMES[:3]), season=rng.choice(lexicon.TIMES[3:7]),
    )  # fmt: skip


def _title(answer: Answer, _: Any, subject: str, rng: random.Random) -> Answer:
    return replace(answer, title=rng.choice((f"The {subject}", f"My {subject}", f"About the {subject}")))


def _bullets(answer: Answer, kwargs: Any, _: str, __: random.Random) -> Answer:
    return replace(answer, bullets=True)


def _paragraphs(answer: Answer, kwargs: Any, _: str, rng: random.Random) -> Answer:
    number = int(kwargs["num_paragraphs"])
    sentences = answer.sentences
    cuts = sorted(rng.sample(range(1, len(sentences)), min(number, len(sentences)) - 1))
    bounds = [0, *cuts, len(sentences)]
    return replace(answer, paragraphs=tuple(sentences[i:j] for i, j in pairwise(bounds)))


def content_words(sentence: str) -> list[str]:
    """Return the subjects, nouns and adjectives of a sentence that are not marked up yet."""
    return [word for word in re.findall(r"(?<![\w*\[])[a-z]+(?![\w*\]])", sentence) if word in _CONTENT_WORDS]


def mark_words(answer: Answer, number: int, rng: random.Random, mark: Callable[[str], str]) -> Answer:
    """Mark `number` content words, in different sentences as far as possible."""
    sentences = list(answer.sentences)
    order = rng.sample(range(len(sentences)), len(sentences))
    done = 0
    while done < number and order:
        for index in list(order):
            words = content_words(sentences[index])
            if not words:
                order.remove(index)
                continue
            word = rng.choice(words)
            sentences[index] = re.sub(rf"(?<![\w*\[]){word}(?![\w*\]])", mark(word), sentences[index], count=1)
            done += 1
            if done == number:
                break
    return answer.with_sentences(tuple(sentences))


def _highlights(answer: Answer, kwargs: Any, _: str, rng: random.Random) -> Answer:
    return mark_words(answer, int(kwargs["num_highlights"]), rng, lambda word: f"*{word}*")


def _capital_words(answer: Answer, kwargs: Any, _: str, rng: random.Random) -> Answer:
    return mark_words(answer, int(kwargs["capital_frequency"]), rng, str.upper)


def _postscript(answer: Answer, _: Any, subject: str, rng: random.Random) -> Answer:
    return replace(answer, postscript=fill(rng.choice(lexicon.SUBJECT_LINES[subject]), subject, rng))


# Applied in this order: marks need the final sentences, and the case comes last.
_FORMATTERS: Final[dict[str, Callable[[Answer, Any, str, random.Random], Answer]]] = {
    c.PARAGRAPHS: _paragraphs,
    c.BULLETS: _bullets,
    c.CAPITAL_WORDS: _capital_words,
    c.HIGHLIGHTS: _highlights,
    c.TITLE: _title,
    c.POSTSCRIPT: _postscript,
    c.ENDING: lambda answer, kwargs, _, __: replace(answer, ending=kwargs["end_phrase"]),
    c.QUOTATION: lambda answer, _, __, ___: replace(answer, quotes="both"),
    c.LOWERCASE: lambda answer, _, __, ___: replace(answer, case="lower"),
    c.CAPITAL: lambda answer, _, __, ___: replace(answer, case="upper"),
}
