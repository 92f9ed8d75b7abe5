"""An instruction as sentences in which constraints can be recognized.

Quotations, code and pasted text are not the client's own words. A quotation's letters are masked, so that no rule finds
a constraint in it, while its text remains available as an argument: the word to include, the phrase to end with.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, field
from typing import Final

import re2

# The characters that are read at each end of a longer message; constraints are at its beginning or its end.
_REACH: Final = 10_000
LONGEST_READ: Final = 2 * _REACH
# The longest sentence that is read, in characters; a constraint with its words to include needs less.
_LONGEST: Final = 1000
_LONGEST_QUOTATION: Final = 5000
# The longest quotation in single quotes, which are apostrophes as well.
_LONGEST_WORD: Final = 200
# An apostrophe inside a word closes nothing.
_CLOSING: Final = {'"': re.compile('"'), "`": re.compile("`"), "'": re.compile(r"'(?!\w)")}
MASK: Final = "\x01"
_STRAIGHT: Final = str.maketrans({"“": '"', "”": '"', "„": '"', "‘": "'", "’": "'", MASK: " ", "\r": " ", "\t": " "})
_LOWER: Final = str.maketrans({chr(code): chr(code + 32) for code in range(ord("A"), ord("Z") + 1)})
_FENCED: Final = re2.compile(r"(?m)^```[^`]*\n```")
_BLOCK_QUOTE: Final = re2.compile(r"(?m)^>.*$")
_ITEM_MARK: Final = re2.compile(r"^\s*(?:[-*•]|\(?\d{1,2}[.)]|\(?[a-hA-H][.)])\s+")
_END: Final = re2.compile(r"[.!?][\"')\]]*\s+|\n+")
_ABBREVIATION: Final = re2.compile(
    r"(?:^|[\s(\"])(?:p\.\s?(?:p\.\s?)?s|e\.g|i\.e|etc|vs|mr|mrs|ms|dr|st|no|approx|min|max)\.?$"
)
_ASKS_FOR_PASTED: Final = re2.compile(
    r"\b(?:following|below|this|these|given|attached) (?:\w+ ){0,2}(?:texts?|e-?mails?|passages?|articles?|paragraphs?|"
    r"stor(?:y|ies)|poems?|letters?|messages?|code|sentences?|essays?|conversations?|dialogues?|reviews?|drafts?|"
    r"notes?|"
    r"documents?|prompts?|instructions?|excerpts?|quotes?|lyrics|transcripts?)\b[^:]*:"
)
_QUESTION: Final = re2.compile(
    r"^(?:so |and |but |also |now |then )*(?:what|why|how|who|whom|where|when|which|whose|is|are|was|were|do|does|"
    r"did|can|"
    r"could|should|would|will|has|have|had|may|might|shall|am|if)\b"
)
_POLITE: Final = re2.compile(r"^(?:and |please |then )*(?:can|could|would|will) you\b|\bplease\b")
_QUOTATION: Final = re2.compile(rf"[\"'`]{MASK}+[\"'`]")
# What may stand before a command: the start of a clause, an auxiliary, or a request.
_LEAD: Final = re2.compile(
    r"(?:^|[,;:.!?()\"\-\*]|\b(?:and|but|then|also|please|must|should|shall|will|can|may|needs? to|ha(?:s|ve) to|"
    r"want to|"
    r"want you to|like you to|you to|sure to|sure that you|sure you|sure it|to|just|only|always|first|finally|instead|"
    r"while|so|do|that))\s*$"
)
_DESCRIBED: Final = re2.compile(
    r"\b(?:how|why|whether|when|where|what|who|if|people|someone|anyone|everyone|he|she|they|we|"
    r"i)\b(?: [\w'-]+){0,4}\s*$"
)


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence as it is written, and in the form for rules: ASCII lowercase, quotations masked, of equal length.

    `index` is its number in the passage, `paragraph` that of its paragraph, and `start` its offset.
    """

    text: str
    plain: str
    index: int
    paragraph: int
    start: int

    def quotations(self, start: int = 0, end: int | None = None) -> list[str]:
        """The texts in quotation marks between two offsets."""
        part = self.plain[start:end]
        return [self.text[start + found.start() + 1 : start + found.end() - 1] for found in _QUOTATION.finditer(part)]

    def commands(self, offset: int) -> bool:
        """Whether what begins at `offset` is a command and not a description: not "explain why we use no commas"."""
        before = self.plain[:offset]
        return bool(_LEAD.search(before)) and not _DESCRIBED.search(before[-80:])


@dataclass(frozen=True, slots=True)
class Passage:
    """The sentences of one message that are the client's own words."""

    text: str
    sentences: tuple[Sentence, ...]
    _mentions: dict[re.Pattern[str], bool] = field(default_factory=dict, repr=False, compare=False)

    def around(self, sentence: Sentence, *, before: int = 1, after: int = 1) -> str:
        """The `plain` form of a sentence and its neighbours."""
        return "\n".join(each.plain for each in self.near(sentence, before=before, after=after))

    def near(self, sentence: Sentence, *, before: int = 0, after: int = 2) -> tuple[Sentence, ...]:
        """A sentence and its neighbours."""
        return self.sentences[max(0, sentence.index - before) : sentence.index + after + 1]

    def mentions(self, pattern: re.Pattern[str]) -> bool:
        """Whether a pattern matches in any sentence."""
        if pattern not in self._mentions:
            self._mentions[pattern] = any(pattern.search(each.plain) for each in self.sentences)
        return self._mentions[pattern]


def read_passage(message: str) -> Passage:
    """The sentences of a message without questions, pasted text and what is too long to be a constraint."""
    if len(message) > LONGEST_READ:
        message = f"{message[:_REACH]}\n\n{message[-_REACH:]}"
    plain = _masked(message.translate(_STRAIGHT)).translate(_LOWER)
    sentences: list[Sentence] = []
    paragraph = pasted = -1
    begin = 0
    for start, end in _spans(plain):
        if paragraph < 0 or "\n" in plain[begin:start].strip(" ")[1:] or plain[begin:start].count("\n") > 1:
            paragraph += 1
        begin = end
        if mark := _ITEM_MARK.match(plain[start:end]):
            start += mark.end()
        part = plain[start:end]
        if pasted == paragraph:
            continue
        if colon := _ASKS_FOR_PASTED.search(part):
            follows = plain[start + colon.end() : end].strip() or plain[end:].split("\n\n", 1)[0].strip(" .!?")
            pasted = paragraph if follows else paragraph + 1
            end = start + colon.end()
            part = plain[start:end]
        if end - start > _LONGEST or (_asks(part)):
            continue
        sentences.append(Sentence(message[start:end], part, len(sentences), paragraph, start))
    return Passage(message, tuple(sentences))


def _asks(sentence: str) -> bool:
    """Whether a sentence is a question and not a request."""
    return sentence.rstrip().endswith("?") and bool(_QUESTION.search(sentence)) and not _POLITE.search(sentence)


def _spans(plain: str) -> list[tuple[int, int]]:
    """The offsets of sentences and lines that are not blank."""
    cuts = [0]
    for found in _END.finditer(plain):
        if plain[found.start()] == "." and _ABBREVIATION.search(plain[max(0, found.start() - 12) : found.start() + 1]):
            continue
        cuts.append(found.end())
    cuts.append(len(plain))
    spans = []
    for start, end in itertools.pairwise(cuts):
        part = plain[start:end]
        if part.strip():
            spans.append((start + len(part) - len(part.lstrip()), start + len(part.rstrip())))
    return spans


def _masked(text: str) -> str:
    """`text` with the insides of quotations, and all of code blocks and quoted lines, replaced by the mask."""
    chars = list(text)
    for pattern in (_FENCED, _BLOCK_QUOTE):
        for found in pattern.finditer(text):
            chars[found.start() : found.end()] = [" " if char != "\n" else char for char in found[0]]
    hidden = "".join(chars)
    position = 0
    while position < len(hidden):
        char = hidden[position]
        if char in "\"'`" and (close := _closing(hidden, position, char)) is not None:
            chars[position + 1 : close] = MASK * (close - position - 1)
            position = close
        position += 1
    return "".join(chars)


def _closing(text: str, start: int, quote: str) -> int | None:
    """The offset of the mark that closes the quotation at `start`, or None if none opens there."""
    before, after = text[start - 1 : start], text[start + 1 : start + 2]
    if not after or after.isspace() or after == quote or (before and (before.isalnum() or before == quote)):
        return None
    limit = start + (_LONGEST_QUOTATION if quote == '"' else _LONGEST_WORD)
    closing = _CLOSING[quote].search(text, start + 1, limit)
    if closing is None:
        return None
    inside = text[start + 1 : closing.start()]
    return None if "\n\n" in inside or (quote != '"' and "\n" in inside) else closing.start()


def unquoted(pattern: str) -> re.Pattern[str]:
    """A compiled rule; linear in the text, whatever the pattern."""
    compiled: re.Pattern[str] = re2.compile(pattern)
    return compiled


def span_of(found: re.Match[str], group: str) -> tuple[int, int]:
    """The offsets of a named group; RE2's matches find spans by number only."""
    return found.span(found.re.groupindex[group])
