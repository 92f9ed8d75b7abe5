"""Finding the refined text in a refiner's reply, whatever markers the response to refine has written itself.

A refiner that reflects may quote the response, markers and all. Such a quote is no answer: markers in it are passed
over, and come out only where the refined text holds the quote.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from spar_core.plain_letters import plain_letters
from spar_core.unicode import normalized

Failure = Literal["no_start", "no_end", "empty"]

_START: Final = "[[start]]"
_END: Final = "[[end]]"
_MARKER: Final = re.compile(r"\[\[(?:start|end)\]\]")
# How many blocks are compared with the response, which may be long.
_LAST_BLOCKS: Final = 8
# What a quote may add or drop: white space, marks of a block quote, and what cannot be seen.
_LOOSE: Final = re.compile(r"[\s>|\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]+")


@dataclass(frozen=True, slots=True)
class Found:
    """The text between the markers, or why there is none."""

    text: str | None
    failure: Failure | None = None


def start_marker(mark: str = "") -> str:
    return f"[[start {mark}]]" if mark else _START


def end_marker(mark: str = "") -> str:
    return f"[[end {mark}]]" if mark else _END


def between_markers(reply: str, response: str = "", mark: str = "") -> Found:
    """Find the refined text in `reply`.

    Markers with the mark count alone, if there are any. Otherwise, of the blocks between markers on lines of their own
    the last one that is not the response's counts; without such lines, the last end marker closes and the
    first start marker after the one before it opens. A reply cut off before its end marker is a failure.
    """
    if mark and ((start := start_marker(mark)) in reply or end_marker(mark) in reply):
        return _Reply(reply, start, end_marker(mark)).found(claimed=False)
    tight, _ = _tightened(response)
    claimed = bool(_MARKER.search(tight))
    if not claimed:
        return _Reply(reply, _START, _END, response).found(claimed=False)
    quotes = _Quotes(reply, tight)
    blocks, everything = quotes.blocks(), quotes.whole()
    found = _Reply(reply, _START, _END, response, blocks | everything).found(claimed=True)
    if found.text is None and not everything <= blocks:
        # What looked like a quote of the whole may have been the refined text, which begins like the response.
        again = _Reply(reply, _START, _END, response, blocks).found(claimed=True)
        return again if again.text is not None else found
    return found


class _Quotes:
    """Which of a reply's markers stand in quotes of the response, by their places in the reply."""

    def __init__(self, reply: str, tight_response: str) -> None:
        self._response = tight_response
        self._tight, self._places = _tightened(reply)

    def blocks(self) -> frozenset[int]:
        """Markers of blocks that the response holds too."""
        known = {self._response[start:end] for start, end in _innermost(self._response)}
        spans = [(start, end) for start, end in _innermost(self._tight) if self._tight[start:end] in known]
        marked = list(_MARKER.finditer(self._response))
        if len(marked) > 1:
            spans += self._occurrences(self._response[marked[0].start() : marked[-1].end()])
        return self._markers(spans)

    def whole(self) -> frozenset[int]:
        """Markers in quotes of the whole response."""
        if _MARKER.fullmatch(self._response):
            return frozenset()
        return self._markers(self._occurrences(self._response))

    def _occurrences(self, text: str) -> list[tuple[int, int]]:
        spans: list[tuple[int, int]] = []
        place = self._tight.find(text)
        while place >= 0:
            spans.append((place, place + len(text)))
            place = self._tight.find(text, place + len(text))
        return spans

    def _markers(self, spans: Iterable[tuple[int, int]]) -> frozenset[int]:
        return frozenset(
            self._places[match.start()] for start, end in spans for match in _MARKER.finditer(self._tight, start, end)
        )


class _Reply:
    """A reply with the places of its markers, without those that are `quoted`."""

    def __init__(
        self, text: str, start: str, end: str, response: str = "", quoted: frozenset[int] = frozenset()
    ) -> None:
        self._text = text
        self._response = response
        either = f"({re.escape(start)}|{re.escape(end)})"
        self._marks = [
            (match.start(), match.end(), match[0] == start)
            for match in re.finditer(either, text)
            if match.start() not in quoted
        ]
        # Those on lines of their own.
        self._alone = {match.start(1) for match in re.finditer(rf"^[ \t]*{either}[ \t\r]*$", text, re.MULTILINE)}

    def found(self, *, claimed: bool) -> Found:
        blocks, open_at = self._blocks()
        if open_at is not None and (claimed or not blocks):
            # It may have been closed at the end of a line of text.
            closing = [start for start, _, opens in self._marks if not opens and start >= open_at]
            return _read(self._text[open_at : closing[-1]]) if closing else Found(None, "no_end")
        if blocks:
            return _read(self._text[slice(*self._own(blocks))])
        return self._inline()

    def _blocks(self) -> tuple[list[tuple[int, int]], int | None]:
        """The outermost blocks between markers on lines of their own, and where one begins that is not closed."""
        blocks: list[tuple[int, int]] = []
        depth, begin, last_end = 0, 0, 0
        for start, end, opens in self._marks:
            if start not in self._alone:
                continue
            if opens:
                # A marker written twice is one.
                if depth == 1 and not self._text[begin:start].strip():
                    begin = end
                    continue
                begin = begin if depth else end
                depth += 1
            elif depth:
                depth -= 1
                last_end = start
                if not depth:
                    blocks.append((begin, start))
        # Too few end markers: the last one closes all the same, if a block began before it.
        if depth and last_end > begin and not (blocks and blocks[-1][1] >= last_end):
            return [*blocks, (begin, last_end)], None
        return blocks, begin if depth else None

    def _own(self, blocks: list[tuple[int, int]]) -> tuple[int, int]:
        """The last block that does not only repeat the response, if there is one."""
        if len(blocks) > 1 and (said := plain_letters(self._response)):
            others = [block for block in blocks[-_LAST_BLOCKS:] if plain_letters(self._text[slice(*block)]) not in said]
            blocks = others or blocks
        return blocks[-1]

    def _inline(self) -> Found:
        ends = [place for place, mark in enumerate(self._marks) if not mark[2]]
        if not ends:
            return Found(None, "no_end" if self._marks else "no_start")
        after = ends[-2] + 1 if len(ends) > 1 else 0
        opening = self._marks[after] if after < ends[-1] else None
        if opening is None:
            return Found(None, "no_start")
        return _read(self._text[opening[1] : self._marks[ends[-1]][0]])


def _read(body: str) -> Found:
    text = body.strip("\n").strip()
    return Found(text) if text else Found(None, "empty")


def _tightened(text: str) -> tuple[str, list[int]]:
    """`text` without what a quote may add or drop, and each character's place in `text`."""
    chars: list[str] = []
    places: list[int] = []
    for place, char in enumerate(text):
        for part in char.lower() if char.isascii() else normalized(char, "NFKC").lower():
            if not _LOOSE.match(part):
                chars.append(part)
                places.append(place)
    return "".join(chars), places


def _innermost(tight: str) -> Iterator[tuple[int, int]]:
    """Every start marker that is followed by an end marker before another start marker, up to that end marker's end."""
    start: int | None = None
    for match in _MARKER.finditer(tight):
        if match[0] == _START:
            start = match.start()
        elif start is not None:
            yield start, match.end()
            start = None
