"""Repair an answer by program: it then meets its constraints and is otherwise unchanged.

Each constraint type has a repair that changes as little as possible. `repaired` applies the repairs of failed checks in
an order in which later ones do not undo earlier ones, and returns a text only if it passes every check.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from spar_core.checks import Check, verify
from spar_core.checks.ifeval.layout import FIXED_ANSWERS
from spar_core.checks.text import count_words, split_sentences
from spar_training.data.repairs.passages import all_sentences, drop_sentences, grouped, units
from spar_training.data.repairs.sentence_forms import (
    ABOUT_WORD,
    OPENINGS,
    PLACEHOLDER_LINES,
    POSTSCRIPTS,
    SAY_AGAIN,
    SYNONYMS,
)

Kwargs = Mapping[str, Any]
_ROUNDS: Final = 4
_SMALL_WORDS: Final = frozenset(
    "a an and as at be by for from in is it of on or that the this to with your you i".split()
)
_LONG_WORD: Final = re.compile(r"\b[a-zA-Z]{4,}\b")
_TITLE_START: Final = re.compile(r"^\s*+(?:#++\s*+|\*\*|title:\s*+)++", re.IGNORECASE)
_TITLE_END: Final = re.compile(r"(?<![*#:\"])[*#:\"]++\s*+$")


@dataclass(frozen=True)
class Source:
    """Material for repairs: the task, other answers to it, and a random generator for arbitrary choices."""

    task: str
    others: Sequence[str]
    rng: random.Random

    def new_sentences(self, text: str) -> list[str]:
        """Sentences of the other answers that `text` does not contain."""
        known = {one.lower() for one in units(text)}
        found = [one for other in self.others for one in units(other) if len(one.split()) > 3]
        return [one for one in dict.fromkeys(found) if one.lower() not in known and one[-1] in ".!?"]


def repaired(response: str, checks: Sequence[Check], source: Source) -> str | None:
    """Return the response with the smallest changes that make every check pass, or None if repairs cannot do it."""
    text = response.strip()
    ordered = sorted(checks, key=lambda check: _ORDER.index(check.id) if check.id in _REPAIRS else -1)
    for _ in range(_ROUNDS):
        for check in ordered:
            if check.find(text).passed:
                continue
            repair = _REPAIRS.get(check.id)
            if repair is None or not (changed := repair(text, check.kwargs, source).strip()):
                return None
            text = changed
        if all(finding.passed for finding in verify(checks, text)):
            return text
    return None


def _fixed_answer(text: str, kwargs: Kwargs, source: Source) -> str:
    said = text.lower()
    if re.match(r"\W*yes\b", said) or (" yes" in said and " no" not in said):
        return FIXED_ANSWERS[0]
    if re.match(r"\W*no\b", said):
        return FIXED_ANSWERS[1]
    return FIXED_ANSWERS[2]


def _without(text: str, word: str) -> str:
    """Remove a word: replace it by a synonym if there is one, otherwise drop the sentences that contain it."""
    pattern = re.compile(rf"(?<!\w){re.escape(word)}(?!\w)", re.IGNORECASE)
    if (other := SYNONYMS.get(word.lower())) is not None:
        return pattern.sub(lambda found: _cased_like(found[0], other), text)
    said = all_sentences(text)
    return drop_sentences(text, {place for place, one in enumerate(said) if pattern.search(one)})


def _cased_like(model: str, word: str) -> str:
    if len(model) > 1 and model.isupper():
        return word.upper()
    return word[:1].upper() + word[1:] if model[:1].isupper() else word


def _forbidden(text: str, kwargs: Kwargs, source: Source) -> str:
    for word in kwargs["forbidden_words"]:
        text = _without(text, word)
    return text


def _with_sentence(text: str, sentence: str) -> str:
    """Append a sentence to the last line of running text."""
    lines = text.split("\n")
    place = next((n for n in reversed(range(len(lines))) if _is_running(lines[n])), None)
    if place is None:
        return f"{text}\n{sentence}"
    lines[place] = f"{lines[place].rstrip()} {sentence}"
    return "\n".join(lines)


def _is_running(line: str) -> bool:
    return len(line.split()) > 3 and line.rstrip()[-1:] in ".!?" and not re.match(r"\s*(?:<<|p\.)", line, re.IGNORECASE)


def _keywords(text: str, kwargs: Kwargs, source: Source) -> str:
    for word in kwargs["keywords"]:
        if word.lower() not in text.lower():
            text = _with_sentence(text, source.rng.choice(ABOUT_WORD).format(word=word))
    return text


def _frequency(text: str, kwargs: Kwargs, source: Source) -> str:
    word, number = kwargs["keyword"].strip(), kwargs["frequency"]
    if kwargs["relation"] == "at least":
        forms = source.rng.sample(SAY_AGAIN, len(SAY_AGAIN))
        for form in forms:
            if text.lower().count(word.lower()) >= number:
                break
            text = _with_sentence(text, form.format(word=word))
        return text
    return _drop_until(
        text, lambda left: left.lower().count(word.lower()) < number, lambda one: word.lower() in one.lower()
    )


def _drop_until(text: str, done: Callable[[str], bool], offending: Callable[[str], bool]) -> str:
    """Drop offending sentences from the end until `done` holds."""
    while not done(text):
        said = all_sentences(text)
        place = next((n for n in reversed(range(len(said))) if offending(said[n])), None)
        if place is None or len(said) == 1:
            return text
        text = drop_sentences(text, {place})
    return text


def _letters(text: str, kwargs: Kwargs, source: Source) -> str:
    letter, number = kwargs["letter"].lower(), kwargs["let_frequency"]
    if kwargs["let_relation"] == "at least":
        for sentence in source.new_sentences(text):
            if text.lower().count(letter) >= number:
                break
            if letter in sentence.lower():
                text = _with_sentence(text, sentence)
        return text
    return _drop_until(text, lambda left: left.lower().count(letter) < number, lambda one: letter in one.lower())


def _words(text: str, kwargs: Kwargs, source: Source) -> str:
    number = kwargs["num_words"]
    if kwargs["relation"] == "at least":
        return _longer(text, source, lambda longer: count_words(longer) >= number)
    return _shorter(text, lambda left: count_words(left) < number)


def _sentences(text: str, kwargs: Kwargs, source: Source) -> str:
    number = kwargs["num_sentences"]
    if kwargs["relation"] == "at least":
        return _longer(text, source, lambda longer: len(split_sentences(longer)) >= number)
    return _shorter(text, lambda left: len(split_sentences(left)) < number)


def _longer(text: str, source: Source, done: Callable[[str], bool]) -> str:
    for sentence in source.new_sentences(text):
        if done(text):
            break
        text = _with_sentence(text, sentence)
    return text


def _shorter(text: str, done: Callable[[str], bool]) -> str:
    return _drop_until(text, done, lambda one: True)


def _bullets(text: str, kwargs: Kwargs, source: Source) -> str:
    number = kwargs["num_bullets"]
    marked = re.compile(r"^\s*(?:[*+•-](?!\*)|\d{1,2}[.)])\s*")
    items = [marked.sub("", line).strip() for line in text.split("\n") if marked.match(line)]
    items = [item for item in items if item]
    lead = [line for line in text.split("\n") if line.strip() and not marked.match(line)]
    if len(items) >= number:
        opening = lead[:1] if lead and text.lstrip().startswith(lead[0].lstrip()) else []
        return "\n".join([*opening, *(f"* {item}" for item in items[:number])])
    pieces = [*units(text), *source.new_sentences(text)]
    if len(pieces) < number:
        return ""
    return "\n".join(f"* {piece}" for piece in pieces[:number])


def _enough(text: str, number: int, source: Source) -> list[str]:
    pieces = units(text)
    if len(pieces) < number:
        pieces += source.new_sentences(text)[: number - len(pieces)]
    return pieces


def _parts(text: str, number: int, source: Source) -> list[str]:
    """Split the text into `number` parts: its paragraphs if the number fits, otherwise groups of sentences."""
    own = [part.strip() for part in re.split(r"\n[^\S\n]*+\n|\*{3,}+", text) if part.strip()]
    if len(own) == number:
        return own
    if len(own) > number:
        return [" ".join(" ".join(group).split("\n")) for group in grouped(own, number)]
    pieces = _enough(text, number, source)
    return [" ".join(group) for group in grouped(pieces, number)] if len(pieces) >= number else []


def _paragraphs(text: str, kwargs: Kwargs, source: Source) -> str:
    return "\n***\n".join(_parts(text, kwargs["num_paragraphs"], source))


def _nth_first_word(text: str, kwargs: Kwargs, source: Source) -> str:
    parts = _parts(text.replace("***", ""), kwargs["num_paragraphs"], source)
    if not parts:
        return ""
    nth, word = kwargs["nth_paragraph"] - 1, kwargs["first_word"]
    if re.split(r"\W", parts[nth].lower(), maxsplit=1)[0] != word.lower():
        opening = OPENINGS.get(word.lower(), f"{word.capitalize()}: ")
        keeps_case = opening[-2] in ":.!?"
        parts[nth] = opening + (parts[nth] if keeps_case else _lowered(parts[nth]))
    return "\n\n".join(parts)


def _lowered(text: str) -> str:
    """Lowercase the first letter, unless the first word is always capitalised."""
    first = text.split(maxsplit=1)[0]
    return text if first in ("I", "I'm", "I'd") or first.isupper() else text[:1].lower() + text[1:]


def _sections(text: str, kwargs: Kwargs, source: Source) -> str:
    mark = kwargs["section_spliter"].strip()
    unmarked = re.sub(rf"^[^\S\n]*+[#*]*+ ?{re.escape(mark)} \d++[.:*]*+", "", text, flags=re.MULTILINE)
    parts = _parts(unmarked, kwargs["num_sections"], source)
    return "\n\n".join(f"{mark} {number}\n{part}" for number, part in enumerate(parts, start=1))


def _two_responses(text: str, kwargs: Kwargs, source: Source) -> str:
    first = text.split("******")[0].strip() or text.replace("*", "").strip()
    other = next(
        (one.replace("******", "").strip() for one in source.others if one.strip() and one.strip() != first), None
    )
    return f"{first}\n\n******\n\n{other}" if other else ""


def _placeholders(text: str, kwargs: Kwargs, source: Source) -> str:
    missing = kwargs["num_placeholders"] - len(re.findall(r"\[[^\[\]\n]*\]", text))
    for line in source.rng.sample(PLACEHOLDER_LINES, len(PLACEHOLDER_LINES)):
        if missing <= 0:
            break
        text = _with_sentence(text, line)
        missing -= line.count("[")
    return text


def _highlights(text: str, kwargs: Kwargs, source: Source) -> str:
    # Not at the start of a line, where an asterisk would make a bullet point.
    places = [found for found in re.finditer(r"(?<=[a-z,] )[a-zA-Z]{4,}(?: [a-z]{4,})?\b", text) if "*" not in found[0]]
    for found in reversed(_spread(places, kwargs["num_highlights"])):
        text = f"{text[: found.start()]}*{found[0]}*{text[found.end() :]}"
    return text


def _capital_words(text: str, kwargs: Kwargs, source: Source) -> str:
    number = kwargs["capital_frequency"]
    if kwargs["capital_relation"] == "at least":
        places = [found for found in _LONG_WORD.finditer(text) if not found[0].isupper()]
        for found in reversed(_spread(places, number)):
            text = f"{text[: found.start()]}{found[0].upper()}{text[found.end() :]}"
        return text
    return re.sub(r"\b[A-Z]{2,}\b", lambda found: found[0].capitalize(), text)


def _spread(places: Sequence[re.Match[str]], number: int) -> list[re.Match[str]]:
    """Choose `number` of the places, spread evenly over the text."""
    if len(places) <= number:
        return list(places)
    step = len(places) / number
    return [places[int(place * step)] for place in range(number)]


def _title(text: str, kwargs: Kwargs, source: Source) -> str:
    first, _, rest = text.partition("\n")
    plain = _TITLE_END.sub("", _TITLE_START.sub("", first)).strip()
    if rest.strip() and 1 <= len(plain.split()) <= 10 and plain[-1:] not in ".!?," and not re.match(r"[*-] ", first):
        return f"<<{plain}>>\n{rest}"
    return f"<<{_headline(source.task)}>>\n\n{text}"


def _headline(task: str) -> str:
    words = re.findall(r"[\w'-]+", re.split(r"[.?!]", task)[0])
    about = next((words[n + 1 :] for n, word in enumerate(words) if word in ("about", "of", "for")), words)
    chosen = (about or words)[:6]
    return " ".join(
        word if word in _SMALL_WORDS and n else word[:1].upper() + word[1:] for n, word in enumerate(chosen)
    )


def _postscript(text: str, kwargs: Kwargs, source: Source) -> str:
    return f"{text}\n\n{kwargs['postscript_marker'].strip()} {source.rng.choice(POSTSCRIPTS)}"


def _ending(text: str, kwargs: Kwargs, source: Source) -> str:
    phrase = kwargs["end_phrase"].strip()
    if (place := text.lower().rfind(phrase.lower())) > 0:
        # The phrase exists, but text follows it.
        text = text[:place].rstrip() + text[place + len(phrase) :].rstrip()
    return f"{text}\n\n{phrase}" if "\n" in text else f"{text} {phrase}"


def _quoted(text: str, kwargs: Kwargs, source: Source) -> str:
    inner = text.strip().strip('"').replace('"', "'")
    return f'"{inner}"'


def _no_comma(text: str, kwargs: Kwargs, source: Source) -> str:
    return re.sub(r"(?<![ \t])[ \t]*+,", "", text)


def _repeat(text: str, kwargs: Kwargs, source: Source) -> str:
    asked = kwargs["prompt_to_repeat"].strip()
    body = text.replace(asked, "").strip()
    return f"{asked}\n\n{body}"


def _json(text: str, kwargs: Kwargs, source: Source) -> str:
    parts = [part.strip() for part in text.split("\n") if part.strip() and part.strip() not in ("```", "```json")]
    answer: str | list[str] = parts[0] if len(parts) == 1 else parts
    return json.dumps({"title": _headline(source.task), "answer": answer}, ensure_ascii=False, indent=1)


# In order of application: content, length, layout, then what encloses the text.
_REPAIRS: Final[Mapping[str, Callable[[str, Kwargs, Source], str]]] = {
    "detectable_format:constrained_response": _fixed_answer,
    "keywords:forbidden_words": _forbidden,
    "length_constraints:number_words": _words,
    "length_constraints:number_sentences": _sentences,
    "keywords:existence": _keywords,
    "keywords:frequency": _frequency,
    "keywords:letter_frequency": _letters,
    "detectable_content:number_placeholders": _placeholders,
    "detectable_format:number_bullet_lists": _bullets,
    "length_constraints:number_paragraphs": _paragraphs,
    "length_constraints:nth_paragraph_first_word": _nth_first_word,
    "detectable_format:multiple_sections": _sections,
    "combination:two_responses": _two_responses,
    "detectable_format:number_highlighted_sections": _highlights,
    "change_case:capital_word_frequency": _capital_words,
    "detectable_format:title": _title,
    "detectable_content:postscript": _postscript,
    "startend:end_checker": _ending,
    "punctuation:no_comma": _no_comma,
    "change_case:english_lowercase": lambda text, kwargs, source: text.lower(),
    "change_case:english_capital": lambda text, kwargs, source: text.upper(),
    "combination:repeat_prompt": _repeat,
    "startend:quotation": _quoted,
    "detectable_format:json_format": _json,
}
_ORDER: Final = tuple(_REPAIRS)
