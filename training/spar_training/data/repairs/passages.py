"""Split texts into lines, sentences and list items, the units that repairs move around."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from spar_core.checks.text import split_sentences

# The marker at the start of a list item.
ITEM_MARK: Final = re.compile(r"^\s*(?:[*+•-](?!\*)|\d{1,2}[.)])\s*")
_HEADING: Final = re.compile(r"^\s*(?:#{1,6}\s|\*\*[^*]+\*\*:?\s*$|<<)")
_NUMBER: Final = re.compile(r"\s*\d{1,2}\.")
_DIVIDER: Final = re.compile(r"^\s*(?:\*{3,}|-{3,}|_{3,})\s*$")


def sentences_of(line: str) -> list[str]:
    """The sentences of one line; a list marker stays with the first."""
    mark = ITEM_MARK.match(line)
    body = line[mark.end() :] if mark else line
    found = split_sentences(body.strip()) if body.strip() else []
    if mark and found:
        found[0] = f"{line[: mark.end()]}{found[0]}"
    return found


def units(text: str) -> list[str]:
    """The sentences of a text without headings, dividers and list markers."""
    pieces: list[str] = []
    for line in text.split("\n"):
        if not line.strip() or _DIVIDER.match(line) or _HEADING.match(line):
            continue
        pieces += [piece for piece in (ITEM_MARK.sub("", one).strip() for one in sentences_of(line)) if piece]
    return pieces


def drop_sentences(text: str, places: set[int]) -> str:
    """Remove the sentences at `places`, counted over all lines, and lines that become empty."""
    lines: list[str] = []
    number = 0
    for line in text.split("\n"):
        if not line.strip():
            lines.append(line)
            continue
        own = sentences_of(line)
        left = [one for place, one in enumerate(own, start=number) if place not in places]
        number += len(own)
        if len(left) == len(own):
            lines.append(line)
        elif left:
            lines.append(" ".join(left))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def all_sentences(text: str) -> list[str]:
    """The sentences of all lines, numbered as in `drop_sentences`."""
    return [one for line in text.split("\n") if line.strip() for one in sentences_of(line)]


def grouped(pieces: Sequence[str], number: int) -> list[list[str]]:
    """Split `pieces` in order into `number` groups of nearly equal size."""
    size, more = divmod(len(pieces), number)
    groups: list[list[str]] = []
    start = 0
    for place in range(number):
        end = start + size + (place < more)
        groups.append(list(pieces[start:end]))
        start = end
    return groups


def whole_sentences(text: str) -> str:
    """Remove the unfinished last sentence of a truncated text; empty if nothing is left."""
    end = max(text.rfind(mark) for mark in ".!?")
    lines = text[: end + 1].split("\n")
    # The number of a list item is not a sentence.
    while lines and _NUMBER.fullmatch(lines[-1]):
        lines.pop()
        while lines and not lines[-1].strip():
            lines.pop()
    return "\n".join(lines)


def repeats_itself(text: str) -> bool:
    """Whether a text repeats sentences, lines or runs of five words, as small models do."""
    lines = [line for line in (ITEM_MARK.sub("", one).strip().lower() for one in text.split("\n")) if line]
    if any(len(line) > 3 and lines.count(line) > 2 for line in set(lines)):
        return True
    said = [one.lower() for one in all_sentences(text) if len(one) > 12]
    if len(said) - len(set(said)) > max(1, len(said) // 6):
        return True
    words = text.lower().split()
    runs = [tuple(words[place : place + 5]) for place in range(len(words) - 4)]
    return len(runs) > 20 and len(set(runs)) < 0.8 * len(runs)


def start_of_repeats(text: str) -> int | None:
    """The offset of the first sentence or run of five words that the text has said before, if it repeats itself."""
    if not repeats_itself(text):
        return None
    seen: set[tuple[str, ...]] = set()
    words = list(re.finditer(r"\S+", text))
    for place in range(len(words) - 4):
        run = tuple(word[0].lower() for word in words[place : place + 5])
        if run in seen:
            return words[place].start()
        seen.add(run)
    lines: set[str] = set()
    for line in re.finditer(r"[^\n]+", text):
        said = ITEM_MARK.sub("", line[0]).strip().lower()
        if len(said) > 3 and said in lines:
            return line.start()
        lines.add(said)
    return None
