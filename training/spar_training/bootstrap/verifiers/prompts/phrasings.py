"""Several wordings of each constraint type, so that a model learns the constraint and not a phrase.

A wording is a format string over `fields()`: the kwargs of the check and texts derived from them.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any, Final

from spar_core.checks.ifeval.language import LANGUAGES

_AT_LEAST: Final = ("at least {n} {noun}", "{n} or more {noun}", "no fewer than {n} {noun}", "a minimum of {n} {noun}")
_LESS_THAN: Final = ("fewer than {n} {noun}", "less than {n} {noun}", "under {n} {noun}")
# For each check with a relation: the kwarg of its number, of its relation, and the noun it counts.
_AMOUNTS: Final[Mapping[str, tuple[str, str, str]]] = {
    "length_constraints:number_words": ("num_words", "relation", "word"),
    "length_constraints:number_sentences": ("num_sentences", "relation", "sentence"),
    "keywords:frequency": ("frequency", "relation", "time"),
    "keywords:letter_frequency": ("let_frequency", "let_relation", "time"),
    "change_case:capital_word_frequency": ("capital_frequency", "capital_relation", "word"),
}
_NOUNS: Final[Mapping[str, tuple[str, str]]] = {
    "length_constraints:number_paragraphs": ("num_paragraphs", "paragraph"),
    "length_constraints:nth_paragraph_first_word": ("num_paragraphs", "paragraph"),
    "detectable_content:number_placeholders": ("num_placeholders", "placeholder"),
    "detectable_format:number_bullet_lists": ("num_bullets", "bullet point"),
    "detectable_format:number_highlighted_sections": ("num_highlights", "section"),
    "detectable_format:multiple_sections": ("num_sections", "section"),
}
_ORDINALS: Final = ("zeroth", "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")

PHRASINGS: Final[Mapping[str, Sequence[str]]] = {
    "keywords:existence": (
        "Include the {keyword_s} {quoted}.",
        "Make sure that the {keyword_s} {plain} can be found in your text.",
        "Your answer has to contain {quoted}.",
        "Work {quoted} into the response.",
        "Use the {keyword_s} {plain} somewhere.",
    ),
    "keywords:forbidden_words": (
        "Do not use the {keyword_s} {quoted}.",
        "Avoid the {keyword_s} {plain} entirely.",
        "The {keyword_s} {plain} must not appear in your answer.",
        "Write it without {quoted}.",
        "Leave out {quoted}.",
    ),
    "keywords:frequency": (
        'Use the word "{keyword}" {amount}.',
        "The word {keyword} should come up {amount}.",
        'Mention "{keyword}" {amount} in your answer.',
        "Let the word {keyword} occur {amount}.",
    ),
    "keywords:letter_frequency": (
        "Use the letter {letter} {amount}.",
        'The letter "{letter}" should occur {amount} in your answer.',
        "Make the letter {letter} appear {amount}.",
    ),
    "language:response_language": (
        "Answer in {language_name} only.",
        "Write the whole response in {language_name}; no other language is allowed.",
        "Your entire answer must be in {language_name}.",
        "Please reply in {language_name}.",
    ),
    "length_constraints:number_words": (
        "Write {amount}.",
        "Use {amount} in total.",
        "Your answer should have {amount}.",
        "Keep the length to {amount}.",
        "The response must be {amount} long.",
    ),
    "length_constraints:number_sentences": (
        "Write {amount}.",
        "Your answer should consist of {amount}.",
        "Answer in {amount}.",
        "The response must have {amount}.",
    ),
    "length_constraints:number_paragraphs": (
        "Write exactly {counted} and separate them by ***.",
        "There should be {counted}, divided by the markdown divider ***.",
        "Give {counted}. Put *** between one paragraph and the next.",
        "Your text must have {counted} with *** between them.",
    ),
    "length_constraints:nth_paragraph_first_word": (
        'Write {counted}, separated by blank lines. The {ordinal} one starts with the word "{first_word}".',
        "Give exactly {counted} with two line breaks between, and begin paragraph {nth_paragraph} with {first_word}.",
        'There should be {counted}, split by an empty line; the {ordinal} paragraph must begin with "{first_word}".',
    ),
    "detectable_content:postscript": (
        "Add a postscript at the end, starting with {postscript_marker}",
        "Finish with a postscript that begins with {postscript_marker}",
        "After the main text, put a postscript beginning with {postscript_marker}",
        "Close with a note that starts with {postscript_marker}",
    ),
    "detectable_content:number_placeholders": (
        "Use at least {counted} in square brackets, such as [name].",
        "Leave at least {counted} to fill in, written in square brackets like [date].",
        "The text must hold a minimum of {counted} in square brackets, for example [address].",
    ),
    "detectable_format:number_bullet_lists": (
        "Use exactly {counted} in markdown, such as: * A point.",
        "Your answer must have {counted}, no more and no fewer. Start each with an asterisk, like * this.",
        'Put it as a list of exactly {counted}, each on a line that starts with "* ".',
        "Include exactly {counted} written as markdown bullets (* item).",
    ),
    "detectable_format:number_highlighted_sections": (
        "Highlight at least {counted} of your answer with markdown, like *this*.",
        "Mark at least {counted} with asterisks, i.e. *highlighted section*.",
        "Emphasize no fewer than {counted} using *asterisks*.",
        "At least {counted} of the text should be highlighted as *in this example*.",
    ),
    "detectable_format:title": (
        "Give it a title in double angular brackets, such as <<a title>>.",
        "Put a title, wrapped in << and >>, on top.",
        "Your answer needs a title of the form <<my title>>.",
        "Begin with a title inside double angle brackets, e.g. <<name of the text>>.",
    ),
    "detectable_format:multiple_sections": (
        "Divide the answer into {counted}. Each begins with {section_spliter} and its number: {section_spliter} 1.",
        "Write at least {counted}, headed {section_spliter} 1, {section_spliter} 2 and so on.",
        "Structure the text in {counted} and start each one with {section_spliter} X, where X is its number.",
    ),
    "detectable_format:json_format": (
        "Format the whole output as JSON.",
        "Your entire response must be valid JSON.",
        "Give the answer as a JSON object and nothing else.",
        "Wrap everything in JSON; markdown ticks such as ```json are fine.",
    ),
    "detectable_format:constrained_response": (
        'Answer with one of these: "My answer is yes.", "My answer is no.", "My answer is maybe."',
        "Choose your answer from: My answer is yes. / My answer is no. / My answer is maybe.",
        'Reply with exactly one of the phrases "My answer is yes.", "My answer is no." or "My answer is maybe."',
    ),
    "change_case:english_lowercase": (
        "Write everything in lowercase English letters; no capital letters at all.",
        "Use lowercase letters only.",
        "Your whole answer should be in English and in lowercase. No capitals are allowed.",
        "Do not use any capital letters.",
    ),
    "change_case:english_capital": (
        "Write in English and use capital letters only.",
        "YOUR WHOLE ANSWER MUST BE IN CAPITAL LETTERS.",
        "All letters of your response must be uppercase.",
        "Use all caps for the entire answer, in English.",
    ),
    "change_case:capital_word_frequency": (
        "Write {amount} in all capital letters.",
        "Your answer should have {amount} in ALL CAPS.",
        "Put {amount} in full capitals, like THIS.",
    ),
    "punctuation:no_comma": (
        "Do not use any commas.",
        "Write it without commas.",
        "Commas are not allowed in your answer.",
        "Refrain from using commas anywhere.",
    ),
    "startend:end_checker": (
        'End your answer with the exact phrase "{end_phrase}" and add nothing after it.',
        "The very last words must be: {end_phrase}",
        'Finish with this phrase: "{end_phrase}" Nothing may follow it.',
        "Close the response with the words {end_phrase}",
    ),
    "startend:quotation": (
        "Wrap your whole answer in double quotation marks.",
        'Put the entire response inside double quotes, like "this".',
        "The answer must start and end with a double quotation mark.",
        "Enclose everything you write in double quotation marks.",
    ),
    "combination:repeat_prompt": (
        "Before you answer, repeat the request above word for word, without changing it.",
        "First copy the request exactly as it stands, then give your answer. Say nothing before the copy.",
        "Begin by repeating the request word by word; after that, answer it.",
    ),
    "combination:two_responses": (
        "Give two different responses, separated by six asterisks: ******.",
        "Write two answers that differ from each other and put ****** between them.",
        "I want two different versions. Separate the two with ******.",
    ),
}


def phrase(id: str, kwargs: Mapping[str, Any], rng: random.Random) -> str:
    """State the constraint in a random wording, e.g. "Use at least 3 bullet points." """
    return rng.choice(PHRASINGS[id]).format(**fields(id, kwargs, rng))


def fields(id: str, kwargs: Mapping[str, Any], rng: random.Random) -> dict[str, Any]:
    """The kwargs plus the derived texts `amount`, `counted`, `quoted`, `plain`, `ordinal` and `language_name`."""
    derived = dict(kwargs)
    if id in _AMOUNTS:
        number, relation, noun = _AMOUNTS[id]
        forms = _AT_LEAST if kwargs[relation] == "at least" else _LESS_THAN
        derived["amount"] = rng.choice(forms).format(n=kwargs[number], noun=_plural(noun, kwargs[number]))
    if id in _NOUNS:
        number, noun = _NOUNS[id]
        derived["counted"] = f"{kwargs[number]} {_plural(noun, kwargs[number])}"
    if words := kwargs.get("keywords") or kwargs.get("forbidden_words"):
        derived["keyword_s"] = _plural(rng.choice(("word", "keyword")) if "keywords" in kwargs else "word", len(words))
        derived["quoted"] = _listed([f'"{word}"' for word in words])
        derived["plain"] = _listed(words)
    if "nth_paragraph" in kwargs:
        derived["ordinal"] = _ORDINALS[kwargs["nth_paragraph"]]
    if "language" in kwargs:
        derived["language_name"] = LANGUAGES[kwargs["language"]]
    return derived


def _plural(noun: str, number: int) -> str:
    return noun if number == 1 else f"{noun}s"


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
