"""Minimal refinements of a text of the world: repair what fails, leave the rest as it is.

A text is parsed back into its structure, repaired constraint by constraint, and verified.

An edit is made at the first position where it works. A small model can learn to edit as soon as it can;
with an edit at a random position it would have to remember throughout whether it had made it yet.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import re2

from spar_core.checks import verify
from spar_core.checks.text import split_sentences
from spar_training.world import constraints as c
from spar_training.world import lexicon
from spar_training.world.answer import Answer
from spar_training.world.prompt import Prompt
from spar_training.world.reference import content_words, fill

Repair = Callable[[Answer, Any, Prompt, random.Random], Answer]
# A sentence's position: the index of its paragraph, then its index within that.
Position = tuple[int, int]
_ATTEMPTS: Final = 3
_NOUN: Final = re.compile(rf"(?<![\w\[])({'|'.join(lexicon.NOUNS)})(?![\w\]])", re.IGNORECASE)


def repair(prompt: Prompt, text: str, rng: random.Random) -> str | None:
    """Return `text` with the smallest edits that make it pass every check; None if no attempt succeeds."""
    # Marks and removable sentences are recognized by their lowercase words; the case of the text is set at the end.
    body = text.lower() if c.CAPITAL in {constraint.id for constraint in prompt.constraints} else text
    for _ in range(_ATTEMPTS):
        answer = read_answer(body)
        for constraint in prompt.constraints:
            is_case = constraint.id in (c.LOWERCASE, c.CAPITAL)
            if not is_case and not verify((constraint.check,), answer.render())[0].passed:
                answer = _REPAIRS[constraint.id](answer, constraint.kwargs, prompt, rng)
        repaired = _with_case(prompt, answer.render())
        if all(finding.passed for finding in verify(prompt.checks, repaired)):
            return repaired
    return None


def read_answer(text: str) -> Answer:
    """Parse a text into its structure; rendering that gives the text again, except for stray white space."""
    body = text.strip()
    opening, closing = body.startswith('"'), body.endswith('"') and len(body) > 1
    body = body[opening : len(body) - closing]
    title = postscript = None
    if match := re.match(r"<<([^\n]*)>>\n?", body):
        title, body = match[1], body[match.end() :]
    if match := re2.search(r"(?i)\n?P\.S\. ([^\n]*)\n?$", body):
        postscript, body = match[1], body[: match.start()]
    bullets = body.startswith("* ")
    if bullets:
        lines = [line for line in body.split("\n") if line.strip()]
        points = [line.removeprefix("* ") for line in lines if line.startswith("* ")]
        ending = " ".join(line for line in lines if not line.startswith("* ")) or None
        return Answer((tuple(points),), title, True, ending, postscript, _quotes(opening, closing))
    blocks = [tuple(split_sentences(block)) for block in re.split(r"\s?\*\*\*\s?", body) if block.strip()]
    return Answer(tuple(blocks) or (("",),), title, False, None, postscript, _quotes(opening, closing))


def _quotes(opening: bool, closing: bool) -> Any:
    return {(True, True): "both", (True, False): "open", (False, True): "close"}.get((opening, closing), "none")


def _with_case(prompt: Prompt, text: str) -> str:
    """Set the case of the whole text, once everything else is repaired."""
    ids = {constraint.id for constraint in prompt.constraints}
    return text.lower() if c.LOWERCASE in ids else text.upper() if c.CAPITAL in ids else text


def _required_words(prompt: Prompt) -> set[str]:
    words: set[str] = set()
    for constraint in prompt.constraints:
        words |= {*constraint.kwargs.get("keywords", ()), constraint.kwargs.get("keyword", "")}
    return words - {""}


def _end_phrase(prompt: Prompt) -> str | None:
    return next((str(k.kwargs["end_phrase"]) for k in prompt.constraints if k.id == c.ENDING), None)


def _removable(answer: Answer, prompt: Prompt) -> list[Position]:
    """List the sentences that no constraint needs: no required words, marks or placeholders, and not the ending.

    Those whose removal leaves no empty paragraph come first.
    """
    required, ending = _required_words(prompt), _end_phrase(prompt)
    positions = [
        (number, index)
        for number, paragraph in enumerate(answer.paragraphs)
        for index, sentence in enumerate(paragraph)
        if not any(word in sentence.lower() for word in required)
        and not re.search(r"[\[*]|\b[A-Z]{2,}\b", sentence)
        and sentence.lower() != (ending or "").lower()
    ]
    return sorted(positions, key=lambda position: len(answer.paragraphs[position[0]]) == 1)


def _replace_at(answer: Answer, position: Position, *sentences: str) -> Answer:
    """Replace one sentence by `sentences`; by none, to drop it."""
    number, index = position
    paragraph = answer.paragraphs[number]
    edited = (*paragraph[:index], *sentences, *paragraph[index + 1 :])
    paragraphs = (*answer.paragraphs[:number], edited, *answer.paragraphs[number + 1 :])
    return replace(answer, paragraphs=tuple(p for p in paragraphs if p))


def _insert(answer: Answer, sentence: str) -> Answer:
    first, *rest = answer.paragraphs
    return replace(answer, paragraphs=((sentence, *first), *rest))


def _new_line(prompt: Prompt, rng: random.Random) -> str:
    return fill(rng.choice(lexicon.SUBJECT_LINES[prompt.subject]), prompt.subject, rng)


def _limits_sentences(prompt: Prompt) -> bool:
    """Whether the prompt limits how many sentences there may be."""
    return any(k.id == c.BULLETS or k.kwargs.get("relation") == "less than" for k in prompt.constraints)


def _add_line(answer: Answer, line: str, prompt: Prompt) -> Answer:
    """Insert a sentence at the front; where no more are allowed, replace a removable one."""
    removable = _removable(answer, prompt) if _limits_sentences(prompt) else []
    return _replace_at(answer, removable[0], line) if removable else _insert(answer, line)


def _add_word(answer: Answer, word: str, prompt: Prompt, rng: random.Random) -> Answer:
    """Add a sentence with `word`; where no more are allowed, replace another noun by it."""
    return (_limits_sentences(prompt) and _swap_noun(answer, word, prompt)) or _add_line(
        answer, fill(rng.choice(lexicon.NOUN_LINES), prompt.subject, rng, word), prompt
    )


def _swap_noun(answer: Answer, word: str, prompt: Prompt) -> Answer | None:
    """Replace the first noun that no constraint requires by `word`; None if there is no such noun."""
    required = {*_required_words(prompt), prompt.subject}
    for number, paragraph in enumerate(answer.paragraphs):
        for index, sentence in enumerate(paragraph):
            match = next((m for m in _NOUN.finditer(sentence) if m[1].lower() not in required), None)
            if match:
                new = word.upper() if match[1].isupper() else word
                edited = sentence[: match.start(1)] + new + sentence[match.end(1) :]
                return _replace_at(answer, (number, index), edited)
    return None


def _existence(answer: Answer, kwargs: Any, prompt: Prompt, rng: random.Random) -> Answer:
    for word in kwargs["keywords"]:
        if word not in answer.render().lower():
            answer = _add_word(answer, word, prompt, rng)
    return answer


def _frequency(answer: Answer, kwargs: Any, prompt: Prompt, rng: random.Random) -> Answer:
    for _ in range(int(kwargs["frequency"]) - answer.render().lower().count(kwargs["keyword"])):
        answer = _add_word(answer, kwargs["keyword"], prompt, rng)
    return answer


def _forbidden(answer: Answer, kwargs: Any, prompt: Prompt, rng: random.Random) -> Answer:
    banned = set(kwargs["forbidden_words"])
    sentences = list(answer.sentences)
    for word in kwargs["forbidden_words"]:
        pool = next((list(words) for words in (lexicon.ADJECTIVES, lexicon.TIMES[:3]) if word in words), [])
        other = next((other for other in pool if other not in banned), None)
        for index, sentence in enumerate(sentences):
            if not re.search(rf"\b{word}\b", sentence, re.IGNORECASE):
                continue
            sentences[index] = _substitute(sentence, word, other) if other else _new_line(prompt, rng)
    return answer.with_sentences(tuple(sentences))


def _substitute(sentence: str, word: str, other: str) -> str:
    """Replace every `word`, in capitals where it was."""
    pattern = rf"\b{word}\b"
    return re.sub(pattern, lambda m: other.upper() if m[0].isupper() else other, sentence, flags=re.IGNORECASE)


def _length(answer: Answer, kwargs: Any, prompt: Prompt, rng: random.Random) -> Answer:
    for _ in range(10):
        count = len(split_sentences(answer.render()))
        if kwargs["relation"] == "at least" and count < kwargs["num_sentences"]:
            answer = _insert(answer, _new_line(prompt, rng))
        elif kwargs["relation"] == "less than" and count >= kwargs["num_sentences"] and _removable(answer, prompt):
            answer = _replace_at(answer, _removable(answer, prompt)[0])
    return answer


def _bullets(answer: Answer, kwargs: Any, prompt: Prompt, rng: random.Random) -> Answer:
    answer = replace(answer, paragraphs=(answer.sentences,), bullets=True)
    while len(answer.sentences) < kwargs["num_bullets"]:
        answer = _insert(answer, _new_line(prompt, rng))
    while len(answer.sentences) > kwargs["num_bullets"] and _removable(answer, prompt):
        answer = _replace_at(answer, _removable(answer, prompt)[0])
    return answer


def _paragraphs(answer: Answer, kwargs: Any, prompt: Prompt, rng: random.Random) -> Answer:
    paragraphs = list(answer.paragraphs)
    while len(paragraphs) > kwargs["num_paragraphs"]:
        paragraphs[:2] = [paragraphs[0] + paragraphs[1]]
    while len(paragraphs) < kwargs["num_paragraphs"]:
        long = next((index for index, paragraph in enumerate(paragraphs) if len(paragraph) > 1), None)
        if long is None:
            paragraphs.insert(0, (_new_line(prompt, rng),))
        else:
            paragraphs[long : long + 1] = [paragraphs[long][:1], paragraphs[long][1:]]
    return replace(answer, paragraphs=tuple(paragraphs))


def _placeholders(answer: Answer, kwargs: Any, prompt: Prompt, rng: random.Random) -> Answer:
    lines = [line for line, _ in lexicon.PLACEHOLDERS.values() if line not in answer.sentences]
    for line in lines[: int(kwargs["num_placeholders"]) - len(re.findall(r"\[[^\[\]\n]*\]", answer.render()))]:
        answer = _add_line(answer, line, prompt)
    return answer


def _ending(answer: Answer, kwargs: Any, prompt: Prompt, rng: random.Random) -> Answer:
    phrase = str(kwargs["end_phrase"])
    others = tuple(sentence for sentence in answer.sentences if sentence.lower() != phrase.lower())
    return replace(answer.with_sentences(others) if others else answer, ending=phrase)


def _mark(answer: Answer, number: int, mark: Callable[[str], str]) -> Answer:
    """Mark the first content word of each sentence, then the second of each, until `number` are marked."""
    sentences = list(answer.sentences)
    while number > 0 and any(content_words(sentence) for sentence in sentences):
        for index, sentence in enumerate(sentences):
            if number > 0 and (words := content_words(sentence)):
                pattern = rf"(?<![\w*\[]){words[0]}(?![\w*\]])"
                sentences[index] = re.sub(pattern, mark(words[0]), sentence, count=1)
                number -= 1
    return answer.with_sentences(tuple(sentences))


def _highlights(answer: Answer, kwargs: Any, prompt: Prompt, rng: random.Random) -> Answer:
    missing = int(kwargs["num_highlights"]) - len(re.findall(r"\*\w+\*", answer.render()))
    return _mark(answer, missing, lambda word: f"*{word}*")


def _capital_words(answer: Answer, kwargs: Any, prompt: Prompt, rng: random.Random) -> Answer:
    missing = int(kwargs["capital_frequency"]) - len(re.findall(r"\b[A-Z]{2,}\b", answer.render()))
    return _mark(answer, missing, str.upper)


def _no_commas(answer: Answer, kwargs: Any, prompt: Prompt, rng: random.Random) -> Answer:
    return answer.with_sentences(tuple(sentence.replace(",", "") for sentence in answer.sentences))


_REPAIRS: Final[dict[str, Repair]] = {
    c.EXISTENCE: _existence,
    c.FORBIDDEN: _forbidden,
    c.FREQUENCY: _frequency,
    c.SENTENCES: _length,
    c.PARAGRAPHS: _paragraphs,
    c.BULLETS: _bullets,
    c.HIGHLIGHTS: _highlights,
    c.TITLE: lambda answer, _, prompt, __: replace(answer, title=f"The {prompt.subject}"),
    c.POSTSCRIPT: lambda answer, _, prompt, rng: replace(answer, postscript=_new_line(prompt, rng)),
    c.PLACEHOLDERS: _placeholders,
    c.ENDING: _ending,
    c.QUOTATION: lambda answer, *_: replace(answer, quotes="both"),
    c.CAPITAL_WORDS: _capital_words,
    c.NO_COMMA: _no_commas,
}
