"""Reading the verdict of a judgement, whatever the judged response and the judge's own sentences say besides.

Only a line that begins with the heading `Final Judgement` holds a verdict, and what reads as Yes must be beyond doubt:
a Yes too many passes a bad answer off as a good one, an abstention costs a vote.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

from spar_core.plain_letters import plain_letters
from spar_core.types import FinishReason
from spar_core.unicode import normalized

# As `plain_letters` writes it.
_CLAIMED_HEADING: Final = re.compile(r"finaijudge?ment")
# Letters between a claimed heading and its Yes: "(Yes or No)", "after long thought about every constraint".
_CLAIM_REACH: Final = 40
_HEADING: Final = re.compile(r"\A[ \t]*final[ \t]+judge?ment(?![^\W_])", re.IGNORECASE)
# Characters of a line that are read. A reason may follow a verdict, but no judge needs so many words before it.
_LONGEST_LINE: Final = 4000
_MARKUP: Final = str.maketrans("", "", "*_~#")
_WORD: Final = re.compile(r"[^\W_]+")
_SENTENCE_END: Final = re.compile(r"[.!?。;]")
_BALLOT: Final = re.compile(r"\[[ xX]?\]|[\u2610-\u2612\u2713\u2714]")
_QUOTES: Final = frozenset("\"'`“”‘’«»„「」")
_PAUSE: Final = re.compile(r"[,.;:!。、—–]|\s-+\s")
_OPPOSITE: Final = {"yes": "no", "no": "yes"}
_CHOICE: Final = frozenset({"or", "and", "oder", "ou", "o"})
_THEREFORE: Final = frozenset({"so", "therefore", "thus", "hence"})
# With one of these in it, a sentence that ends in Yes may be about somebody else's Yes, or deny it.
_DOUBT: Final = frozenset(
    "not cannot never nor neither without t wrong false if unless would could should "
    "response responses answer answers text it he she they claims claim says said say saying writes written states "
    "reads asks wants demands quote quotes quoted ends begins contains".split()
)


@dataclass(frozen=True, slots=True)
class VerdictReader:
    """Reads the judgements of one response.

    `claims` is how often the response writes "Final Judgement ... Yes" itself, in any disguise. `mark` is the token
    that the judge was asked to write into its verdict line, which no response can know; empty for none.

        >>> VerdictReader.of("A river.").read("1. no commas -> yes\\nFinal Judgement: Yes")
        True
    """

    claims: int = 0
    mark: str = ""

    @classmethod
    def of(cls, response: str, mark: str = "") -> VerdictReader:
        claims = (
            _claims(plain_letters(response)),
            _claims(plain_letters(response, digits=True)),
            sum(verdict for verdict, _ in _verdict_lines(response, "")),
        )
        return cls(max(claims), mark)

    def read(self, text: str, finish_reason: FinishReason = "stop") -> bool | None:
        """True for Yes, False for No, None for neither.

        Lines with the mark decide, if there are any. Lines that disagree say No. Yes needs a judgement that ended by
        itself, and, without the mark, more lines that say Yes than the response claims: each of those may be a quote.
        """
        lines = list(_verdict_lines(text, self.mark))
        marked = [verdict for verdict, with_mark in lines if with_mark]
        verdicts = marked or [verdict for verdict, _ in lines]
        if not verdicts:
            return None
        if not all(verdicts):
            return False
        if finish_reason != "stop" or (not marked and len(verdicts) <= self.claims):
            return None
        return True


def parse_verdict(
    text: str, response: str = "", *, finish_reason: FinishReason = "stop", mark: str = ""
) -> bool | None:
    """The verdict of one judgement of `response`, as `VerdictReader` reads it."""
    return VerdictReader.of(response, mark).read(text, finish_reason)


def _claims(letters: str) -> int:
    return sum(
        "yes" in letters[heading.end() : heading.end() + _CLAIM_REACH] for heading in _CLAIMED_HEADING.finditer(letters)
    )


def _verdict_lines(text: str, mark: str) -> Iterator[tuple[bool, bool]]:
    """The verdict of every line that has one, and whether it bears the mark."""
    lines = text.split("\n")
    for number, written in enumerate(lines):
        if not written:
            continue
        line = _readable(written)
        if not (heading := _HEADING.match(line)):
            continue
        rest = line[heading.end() :]
        words = _without_echo(list(_WORD.finditer(rest)), rest)
        marked = bool(mark and words and words[0][0] == mark)
        while words and (words[0][0].isdigit() or words[0][0].lower() == "is"):
            words.pop(0)
        verdict = _spoken(words, rest) if words else _below(lines, number + 1)
        if verdict and len(written) > _LONGEST_LINE and not (words and words[0][0].lower() == "yes"):
            # What it comes to at its end has not been read.
            verdict = None
        if verdict is not None:
            yield verdict, marked


def _readable(line: str) -> str:
    """The beginning of a line, as long as any verdict is, in plain letters and without emphasis."""
    return _unfenced(normalized(line[:_LONGEST_LINE], "NFKC"))


def _unfenced(line: str) -> str:
    """A line without emphasis; a code span only where it is the whole line, because a part of a line is a quotation."""
    line = line.strip()
    if len(line) > 1 and line[0] == line[-1] == "`":
        line = line.strip("`")
    return line.translate(_MARKUP)


def _without_echo(words: list[re.Match[str]], text: str) -> list[re.Match[str]]:
    """The words without the choice as the prompt may have put it, "(Yes or No)", which names both and says neither."""
    left: list[re.Match[str]] = []
    place = 0
    while place < len(words):
        size = _echo(words, place, text)
        if not size:
            left.append(words[place])
        place += size or 1
    return left


def _echo(words: list[re.Match[str]], place: int, text: str) -> int:
    """How many words from `place` on are an echo of the choice."""
    opposite = _OPPOSITE.get(words[place][0].lower())
    following = [word[0].lower() for word in words[place + 1 : place + 3]]
    if opposite is None or not following:
        return 0
    if following[0] == opposite:
        between = text[words[place].end() : words[place + 1].start()]
        return 2 if len(words) == 2 or not _PAUSE.search(between) else 0
    return 3 if following[0] in _CHOICE and following[1:] == [opposite] else 0


def _spoken(words: list[re.Match[str]], text: str) -> bool | None:
    """What the words after a heading say. A Yes or No that stands first decides, otherwise the sentence's last."""
    first = words[0][0].lower()
    if first == "no":
        return False
    if first == "yes" and not _doubtful(words, text):
        return True
    said = [place for place, word in enumerate(words) if word[0].lower() in _OPPOSITE]
    if not said:
        return None
    # The first sentence that holds a verdict; what follows it explains it and may say "no" for other reasons.
    stop = _SENTENCE_END.search(text, words[said[0]].end())
    end = stop.start() if stop else len(text)
    last = max(place for place in said if words[place].start() < end)
    if words[last][0].lower() == "no":
        return False
    closes = (last + 1 == len(words) or words[last + 1].start() >= end) and text[end : end + 1] != "?"
    return True if last and closes and _concludes(words[: last + 1], text) else None


def _doubtful(words: list[re.Match[str]], text: str) -> bool:
    """Whether a first Yes is asked, to be ticked, or quoted and spoken about."""
    if _BALLOT.search(text):
        return True
    yes = words[0]
    behind = text[yes.end() : words[1].start()] if len(words) > 1 else text[yes.end() :]
    quoted = yes.start() > 0 and text[yes.start() - 1] in _QUOTES
    return behind.lstrip().startswith("?") or (quoted and len(words) > 1 and not _PAUSE.search(behind))


def _concludes(words: list[re.Match[str]], text: str) -> bool:
    """Whether words whose last is Yes come to that conclusion themselves."""
    said = text[words[0].start() : words[-1].end()]
    before = [word[0].lower() for word in words[:-1]]
    if _QUOTES & set(said) or _DOUBT & set(before):
        return before in (["the", "answer", "is"], ["my", "answer", "is"])
    pause = text[words[-2].end() : words[-1].start()]
    return before[-1] in _THEREFORE or bool(_PAUSE.search(pause))


def _below(lines: list[str], number: int) -> bool | None:
    """The verdict under a heading that stands alone: the next line's first word, if nothing runs on from it."""
    below = next((each for each in islice(lines, number, None) if each and not each.isspace()), "")
    line = _readable(below)
    words = list(_WORD.finditer(line))
    if not words or (verdict := words[0][0].lower()) not in _OPPOSITE or _without_echo(words[:3], line) != words[:3]:
        return None
    if verdict == "no":
        return False
    quoted = bool(_QUOTES & set(line[: words[0].start()])) or line.lstrip().startswith(">")
    behind = line[words[0].end() : words[1].start()] if len(words) > 1 else ""
    runs_on = len(words) > 1 and not _PAUSE.search(behind)
    return None if quoted or runs_on or _doubtful(words, line) else True
