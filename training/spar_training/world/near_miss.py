"""Near-miss answers: the smallest edit of a reference that breaks one chosen constraint."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from spar_core.checks import verify
from spar_training.world import constraints as c
from spar_training.world import lexicon
from spar_training.world.answer import Answer
from spar_training.world.prompt import Prompt
from spar_training.world.reference import content_words, fill

Break = Callable[[Answer, Any, str, random.Random], Answer]
_ATTEMPTS: Final = 4


def near_miss(prompt: Prompt, reference: Answer, rng: random.Random, *, broken: int) -> Answer | None:
    """Break `broken` of the prompt's constraints, or as many as possible; None if no edit broke any."""
    order = rng.sample(prompt.constraints, len(prompt.constraints))
    answer, done = reference, 0
    for constraint in order:
        if done == broken:
            break
        for _ in range(_ATTEMPTS):
            edited = _BREAKS[constraint.id](answer, constraint.kwargs, prompt.subject, rng)
            if edited.sentences and not verify((constraint.check,), edited.render())[0].passed:
                answer, done = edited, done + 1
                break
    return answer if done else None


def _other_noun(word: str, rng: random.Random) -> str:
    return rng.choice([noun for noun in lexicon.NOUNS if noun != word])


def _replace_word(answer: Answer, word: str, other: str, count: int) -> Answer:
    sentences = list(answer.sentences)
    for index, sentence in enumerate(sentences):
        if count == 0:
            break
        edited, changed = re.subn(rf"\b{word}\b", other, sentence, count=count, flags=re.IGNORECASE)
        sentences[index] = edited
        count -= changed
    return answer.with_sentences(tuple(sentences))


def _miss_keyword(answer: Answer, kwargs: Any, _: str, rng: random.Random) -> Answer:
    word = rng.choice(list(kwargs["keywords"]))
    if rng.random() < 0.4 and len(answer.sentences) > len(answer.paragraphs):
        return answer.with_sentences(tuple(s for s in answer.sentences if word not in s.lower()))
    # An actor's most common slip: it uses one required word twice and omits the other.
    others = [other for other in kwargs["keywords"] if other != word]
    other = rng.choice(others) if others and rng.random() < 0.5 else _other_noun(word, rng)
    return _replace_word(answer, word, other, count=9)


def _use_forbidden(answer: Answer, kwargs: Any, subject: str, rng: random.Random) -> Answer:
    word = rng.choice(list(kwargs["forbidden_words"]))
    sentences = list(answer.sentences)
    if word in lexicon.ADJECTIVES:
        spots = [(i, w) for i, s in enumerate(sentences) for w in content_words(s) if w in lexicon.ADJECTIVES]
        if spots:
            index, old = rng.choice(spots)
            sentences[index] = re.sub(rf"\b{old}\b", word, sentences[index], count=1)
            return answer.with_sentences(tuple(sentences))
        line = f"The {subject} is {word}."
    elif word in lexicon.TIMES:
        line = f"The {subject} is {rng.choice(lexicon.ADJECTIVES)} in the {word}."
    else:
        line = {
            "people": "Many people like the {S}.",
            "many": "Many people like the {S}.",
            "children": "Children like the {S}.",
            "everyone": "Everyone likes the {S}.",
        }[word].format(S=subject)
    sentences[rng.randrange(len(sentences))] = line
    return answer.with_sentences(tuple(sentences))


def _too_rare(answer: Answer, kwargs: Any, _: str, rng: random.Random) -> Answer:
    word = kwargs["keyword"]
    return _replace_word(answer, word, _other_noun(word, rng), count=rng.randint(1, int(kwargs["frequency"])))


def _wrong_length(answer: Answer, kwargs: Any, subject: str, rng: random.Random) -> Answer:
    sentences = list(answer.sentences)
    change = rng.choice((1, 1, 2))
    if kwargs["relation"] == "at least":
        for _ in range(min(change, len(sentences) - 1)):
            sentences.pop(rng.randrange(len(sentences)))
    else:
        for _ in range(change + rng.choice((0, 1))):
            line = fill(rng.choice(lexicon.SUBJECT_LINES[subject]), subject, rng)
            sentences.insert(rng.randint(0, len(sentences)), line)
    return answer.with_sentences(tuple(sentences))


def _wrong_bullets(answer: Answer, _: Any, subject: str, rng: random.Random) -> Answer:
    if rng.random() < 0.2:
        return replace(answer, bullets=False)
    relation = rng.choice(("at least", "less than"))
    return _wrong_length(answer, {"relation": relation}, subject, rng)


def _wrong_paragraphs(answer: Answer, _: Any, __: str, rng: random.Random) -> Answer:
    paragraphs = list(answer.paragraphs)
    if rng.random() < 0.5 and len(paragraphs) > 1:
        index = rng.randrange(len(paragraphs) - 1)
        paragraphs[index : index + 2] = [paragraphs[index] + paragraphs[index + 1]]
    else:
        index = max(range(len(paragraphs)), key=lambda i: len(paragraphs[i]))
        if len(paragraphs[index]) > 1:
            cut = rng.randint(1, len(paragraphs[index]) - 1)
            paragraphs[index : index + 1] = [paragraphs[index][:cut], paragraphs[index][cut:]]
    return replace(answer, paragraphs=tuple(paragraphs))


def _unmark(answer: Answer, pattern: str, undo: Callable[[re.Match[str]], str], rng: random.Random) -> Answer:
    """Undo some of the marks, at least one."""
    text = "\n".join(answer.sentences)
    marks = list(re.finditer(pattern, text))
    if not marks:
        return answer
    for mark in sorted(rng.sample(marks, rng.randint(1, len(marks))), key=lambda m: -m.start()):
        text = text[: mark.start()] + undo(mark) + text[mark.end() :]
    return answer.with_sentences(tuple(text.split("\n")))


def _no_highlights(answer: Answer, _: Any, __: str, rng: random.Random) -> Answer:
    return _unmark(answer, r"\*(\w+)\*", lambda mark: mark[1], rng)


def _no_capital_words(answer: Answer, _: Any, __: str, rng: random.Random) -> Answer:
    return _unmark(answer, r"\b[A-Z]{2,}\b", lambda mark: mark[0].lower(), rng)


def _no_placeholders(answer: Answer, _: Any, __: str, rng: random.Random) -> Answer:
    sentences = list(answer.sentences)
    filled = dict(lexicon.PLACEHOLDERS.values())
    holes = [i for i, sentence in enumerate(sentences) if sentence in filled]
    for index in rng.sample(holes, rng.randint(1, len(holes)) if holes else 0):
        sentences[index] = filled[sentences[index]]
    return answer.with_sentences(tuple(sentences))


def _wrong_ending(answer: Answer, kwargs: Any, subject: str, rng: random.Random) -> Answer:
    if rng.random() < 0.5:
        return replace(answer, ending=None)
    if rng.random() < 0.5:
        return replace(answer, ending=rng.choice([e for e in lexicon.ENDINGS if e != kwargs["end_phrase"]]))
    line = fill(rng.choice(lexicon.SUBJECT_LINES[subject]), subject, rng)
    return replace(answer, ending=f"{kwargs['end_phrase']} {line}")


def _wrong_case(answer: Answer, _: Any, __: str, rng: random.Random) -> Answer:
    if rng.random() < 0.5:
        return replace(answer, case="normal")
    case, flip = (str.lower, str.upper) if answer.case == "lower" else (str.upper, str.lower)
    sentences = [case(sentence) for sentence in answer.sentences]
    index = rng.randrange(len(sentences))
    words = sentences[index].split(" ")
    spot = rng.randrange(len(words))
    words[spot] = flip(words[spot]) if rng.random() < 0.5 else words[spot].capitalize()
    sentences[index] = " ".join(words)
    rest = replace(
        answer,
        title=answer.title and case(answer.title),
        ending=answer.ending and case(answer.ending),
        postscript=answer.postscript and case(answer.postscript),
        case="normal",
    )
    return rest.with_sentences(tuple(sentences))


def _use_comma(answer: Answer, _: Any, subject: str, rng: random.Random) -> Answer:
    sentences = list(answer.sentences)
    for index, sentence in enumerate(sentences):
        if " and " in sentence and rng.random() < 0.5:
            sentences[index] = sentence.replace(" and ", ", ", 1)
            return answer.with_sentences(tuple(sentences))
    sentences[rng.randrange(len(sentences))] = fill(rng.choice(lexicon.COMMA_LINES)[0], subject, rng)
    return answer.with_sentences(tuple(sentences))


_BREAKS: Final[dict[str, Break]] = {
    c.EXISTENCE: _miss_keyword,
    c.FORBIDDEN: _use_forbidden,
    c.FREQUENCY: _too_rare,
    c.SENTENCES: _wrong_length,
    c.PARAGRAPHS: _wrong_paragraphs,
    c.BULLETS: _wrong_bullets,
    c.HIGHLIGHTS: _no_highlights,
    c.TITLE: lambda answer, *_: replace(answer, title=None),
    c.POSTSCRIPT: lambda answer, *_: replace(answer, postscript=None),
    c.PLACEHOLDERS: _no_placeholders,
    c.ENDING: _wrong_ending,
    c.QUOTATION: lambda answer, _, __, rng: replace(answer, quotes=rng.choice(("none", "none", "open", "close"))),
    c.LOWERCASE: _wrong_case,
    c.CAPITAL: _wrong_case,
    c.CAPITAL_WORDS: _no_capital_words,
    c.NO_COMMA: _use_comma,
}
