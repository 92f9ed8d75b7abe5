"""Find the refined text in a refiner's reply, even if the response to refine contains markers itself.

A refiner that reflects may quote the response with its markers. Such a quote is not the answer: its markers are
ignored, unless the quote is part of the refined text.
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
# The number of blocks that are compared with the response, which may be long.
_LAST_BLOCKS: Final = 8
# Characters that a quote may add or drop: white space, block quote marks, invisible characters.
_LOOSE: Final = re.compile(r"[\s>|\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]+")


@dataclass(frozen=True, slots=True)
class Found:
    """The text between the markers, or the reason why there is none."""

    text: str | None
    failure: Failure | None = None


def start_marker(mark: str = "") -> str:
    return f"[[start {mark}]]" if mark else _START


def end_marker(mark: str = "") -> str:
    return f"[[end {mark}]]" if mark else _END


def between_markers(reply: str, response: str = "", mark: str = "") -> Found:
    """Find the refined text in `reply`.

    If any markers have the `mark`, only they count. Otherwise the refined text is the last block between markers on
    their own lines that is not the response's. Without such blocks it ends at the last end marker and begins at the
    first start marker after the end marker before. A reply that is cut off before its end marker is a failure.
    """
    if mark and ((start := start_marker(mark)) in reply or end_marker(mark) in reply):
        return _Reply(reply, start, end_marker(mark)).found(in_response=False)
    # Most responses have no bracket, and then no marker either.
    tight = _tightened(response)[0] if "[" in normalized(response, "NFKC") else ""
    if not _MARKER.search(tight):
        return _Reply(reply, _START, _END, response).found(in_response=False)
    quotes = _Quotes(reply, tight)
    blocks, everything = quotes.blocks(), quotes.whole()
    found = _Reply(reply, _START, _END, response, blocks | everything).found(in_response=True)
    if found.text is None and not everything <= blocks:
        # What looked like a quote of the whole response may be the refined text, which begins like the response.
        again = _Reply(reply, _START, _END, response, blocks).found(in_response=True)
        return again if again.text is not None else found
    return found


class _Quotes:
    """The markers of a reply that are part of quotes of the response, by their offsets in the reply."""

    def __init__(self, reply: str, tight_response: str) -> None:
        self._response = tight_response
        self._tight, self._offsets = _tightened(reply)

    def blocks(self) -> frozenset[int]:
        """Markers of blocks that the response contains as well."""
        known = {self._response[start:end] for start, end in _innermost(self._response)}
        spans = [(start, end) for start, end in _innermost(self._tight) if self._tight[start:end] in known]
        marked = list(_MARKER.finditer(self._response))
        if len(marked) > 1:
            spans += self._occurrences(self._response[marked[0].start() : marked[-1].end()])
        return self._markers(spans)

    def whole(self) -> frozenset[int]:
        """Markers in quotes of the complete response."""
        if _MARKER.fullmatch(self._response):
            return frozenset()
        return self._markers(self._occurrences(self._response))

    def _occurrences(self, text: str) -> list[tuple[int, int]]:
        spans: list[tuple[int, int]] = []
        start = self._tight.find(text)
        while start >= 0:
            spans.append((start, start + len(text)))
            start = self._tight.find(text, start + len(text))
        return spans

    def _markers(self, spans: Iterable[tuple[int, int]]) -> frozenset[int]:
        return frozenset(
            self._offsets[match.start()] for start, end in spans for match in _MARKER.finditer(self._tight, start, end)
        )


class _Reply:
    """A reply with its markers, except those at the offsets in `quoted`."""

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
        # Those on their own lines.
        self._alone = {match.start(1) for match in re.finditer(rf"^[ \t]*{either}[ \t\r]*$", text, re.MULTILINE)}

    def found(self, *, in_response: bool) -> Found:
        blocks, open_at = self._blocks()
        if open_at is not None and (in_response or not blocks):
            # The end marker may be at the end of a line of text.
            closing = [start for start, _, opens in self._marks if not opens and start >= open_at]
            return _read(self._text[open_at : closing[-1]]) if closing else Found(None, "no_end")
        if blocks:
            return _read(self._text[slice(*self._own(blocks))])
        return self._inline()

    def _blocks(self) -> tuple[list[tuple[int, int]], int | None]:
        """The outermost blocks between markers on their own lines, and the start of one that is not closed."""
        blocks: list[tuple[int, int]] = []
        depth, begin, last_end = 0, 0, 0
        for start, end, opens in self._marks:
            if start not in self._alone:
                continue
            if opens:
                # A repeated start marker counts once.
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
        # With too few end markers the last one still closes a block that began before it.
        if depth and last_end > begin and not (blocks and blocks[-1][1] >= last_end):
            return [*blocks, (begin, last_end)], None
        return blocks, begin if depth else None

    def _own(self, blocks: list[tuple[int, int]]) -> tuple[int, int]:
        """The last block that does not merely repeat the response, if there is one."""
        if len(blocks) > 1 and (letters := plain_letters(self._response)):
            others = [
                block for block in blocks[-_LAST_BLOCKS:] if plain_letters(self._text[slice(*block)]) not in letters
            ]
            blocks = others or blocks
        return blocks[-1]

    def _inline(self) -> Found:
        ends = [index for index, mark in enumerate(self._marks) if not mark[2]]
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
    """`text` without the characters that a quote may add or drop, and the offset of each remaining one."""
    chars: list[str] = []
    offsets: list[int] = []
    for offset, char in enumerate(text):
        for part in char.lower() if char.isascii() else normalized(char, "NFKC").lower():
            if not _LOOSE.match(part):
                chars.append(part)
                offsets.append(offset)
    return "".join(chars), offsets


def _innermost(tight: str) -> Iterator[tuple[int, int]]:
    """The span of every start marker with the next end marker, if no other start marker is between them."""
    start: int | None = None
    for match in _MARKER.finditer(tight):
        if match[0] == _START:
            start = match.start()
        elif start is not None:
            yield start, match.end()
            start = None
