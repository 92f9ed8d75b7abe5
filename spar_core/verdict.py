"""Read the verdict of a judgement, whatever else the judged response or the judge's own sentences say.

Only a line that begins with the heading `Final Judgement` has a verdict, and a Yes must be beyond doubt: a wrong Yes
accepts a bad answer, while an abstention only costs a vote.
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

# In the form of `plain_letters`.
_CLAIMED_HEADING: Final = re.compile(r"finaijudge?ment")
# The most letters between a claimed heading and its Yes: "(Yes or No)", "after long thought about every constraint".
_CLAIM_REACH: Final = 40
# What a line may have before a heading, all of which is removed or ignored.
_BEFORE_HEADING: Final = "`*_~# \t\r\v\f\x1c\x1d\x1e\x1f"
_HEADING: Final = re.compile(r"\A[ \t]*final[ \t]+judge?ment(?![^\W_])", re.IGNORECASE)
# The most characters that are read of a line. A reason may follow a verdict, but no judge needs as many before it.
_LONGEST_LINE: Final = 4000
# A line that is nothing but a verdict, with the mark or without.
_PLAIN: Final = re.compile(r"Final Judge?ment: (?:(\d{6}) )?(Yes|No)")
_MARKUP: Final = str.maketrans("", "", "*_~#")
_WORD: Final = re.compile(r"[^\W_]+")
_SENTENCE_END: Final = re.compile(r"[.!?。;]")
_BALLOT: Final = re.compile(r"\[[ xX]?\]|[\u2610-\u2612\u2713\u2714]")
_QUOTES: Final = frozenset("\"'`“”‘’«»„「」")
_PAUSE: Final = re.compile(r"[,.;:!。、—–]|\s-+\s")
_OPPOSITE: Final = {"yes": "no", "no": "yes"}
_CHOICE: Final = frozenset({"or", "and", "oder", "ou", "o"})
_THEREFORE: Final = frozenset({"so", "therefore", "thus", "hence"})
# A sentence with one of these words that ends in Yes may report another's Yes, or deny it.
_DOUBT: Final = frozenset(
    "not cannot never nor neither without t wrong false if unless would could should "
    "response responses answer answers text it he she they claims claim says said say saying writes written states "
    "reads asks wants demands quote quotes quoted ends begins contains".split()
)


@dataclass(frozen=True, slots=True)
class VerdictReader:
    """Reads the judgements of one response.

    `claimed` says whether the response itself says "Final Judgement ... Yes", in any disguise. `mark` is the token that
    the judge must put into its verdict line and that no response can know; empty for none.

        >>> VerdictReader.of("A river.").read("1. no commas -> yes\\nFinal Judgement: Yes")
        True
    """

    claimed: bool = False
    mark: str = ""

    @classmethod
    def of(cls, response: str, mark: str = "") -> VerdictReader:
        claimed = (
            _claims(plain_letters(response))
            or _claims(plain_letters(response, digits=True))
            or any(verdict for verdict, _ in _verdict_lines(response, ""))
        )
        return cls(claimed, mark)

    def read(self, text: str, finish_reason: FinishReason = "stop") -> bool | None:
        """True for Yes, False for No, None for neither.

        If any lines have the mark, only they count. Lines that disagree are a No. A Yes requires a judgement that was
        not cut off and, without the mark, a response that claims none: a judge may quote it, and more than once.
        """
        lines = list(_verdict_lines(text, self.mark))
        marked = [verdict for verdict, with_mark in lines if with_mark]
        verdicts = marked or [verdict for verdict, _ in lines]
        if not verdicts:
            return None
        if not all(verdicts):
            return False
        if finish_reason != "stop" or (self.claimed and not marked):
            return None
        return True


def parse_verdict(
    text: str, response: str = "", *, finish_reason: FinishReason = "stop", mark: str = ""
) -> bool | None:
    """The verdict of one judgement of `response`; see `VerdictReader.read`."""
    return VerdictReader.of(response, mark).read(text, finish_reason)


def _claims(letters: str) -> bool:
    # A judge may quote the end of a response right before its beginning.
    letters += letters[:_CLAIM_REACH]
    return any(
        "yes" in letters[heading.end() : heading.end() + _CLAIM_REACH] for heading in _CLAIMED_HEADING.finditer(letters)
    )


def _verdict_lines(text: str, mark: str) -> Iterator[tuple[bool, bool]]:
    """The verdict of every line that has one, and whether the line has the mark."""
    lines = text.split("\n")
    for number, raw in enumerate(lines):
        first = raw.lstrip(_BEFORE_HEADING)[:1]
        # One look dismisses most lines; a character beyond ASCII may become another when it is normalized.
        if not first or (first.isascii() and first not in "Ff"):
            continue
        if plain := _PLAIN.fullmatch(raw):
            yield plain[2] == "Yes", bool(mark) and plain[1] == mark
            continue
        line = _readable(raw)
        if not (heading := _HEADING.match(line)):
            continue
        rest = line[heading.end() :]
        words = _without_echo(list(_WORD.finditer(rest)), rest)
        marked = bool(mark and words and words[0][0] == mark)
        while words and (words[0][0].isdigit() or words[0][0].lower() == "is"):
            words.pop(0)
        verdict = _spoken(words, rest) if words else _below(lines, number + 1)
        if verdict and len(raw) > _LONGEST_LINE and not (words and words[0][0].lower() == "yes"):
            # The end of the line has not been read.
            verdict = None
        if verdict is not None:
            yield verdict, marked


def _readable(line: str) -> str:
    """The beginning of a line, in which a verdict must be, normalized and without emphasis."""
    return _unfenced(normalized(line[:_LONGEST_LINE], "NFKC"))


def _unfenced(line: str) -> str:
    """A line without emphasis; code marks are removed only around a whole line, because inside a line they quote."""
    line = line.strip()
    if len(line) > 1 and line[0] == line[-1] == "`":
        line = line.strip("`")
    return line.translate(_MARKUP)


def _without_echo(words: list[re.Match[str]], text: str) -> list[re.Match[str]]:
    """The words without an echo of the prompt's choice, such as "(Yes or No)", which is no verdict."""
    rest: list[re.Match[str]] = []
    index = 0
    while index < len(words):
        size = _echo(words, index, text)
        if not size:
            rest.append(words[index])
        index += size or 1
    return rest


def _echo(words: list[re.Match[str]], index: int, text: str) -> int:
    """The number of words from `index` on that echo the choice."""
    opposite = _OPPOSITE.get(words[index][0].lower())
    following = [word[0].lower() for word in words[index + 1 : index + 3]]
    if opposite is None or not following:
        return 0
    if following[0] == opposite:
        between = text[words[index].end() : words[index + 1].start()]
        return 2 if len(words) == 2 or not _PAUSE.search(between) else 0
    return 3 if following[0] in _CHOICE and following[1:] == [opposite] else 0


def _spoken(words: list[re.Match[str]], text: str) -> bool | None:
    """The verdict in the words after a heading: a Yes or No that comes first, otherwise the sentence's last one."""
    first = words[0][0].lower()
    if first == "no":
        return False
    if first == "yes" and not _doubtful(words, text):
        return True
    verdicts = [index for index, word in enumerate(words) if word[0].lower() in _OPPOSITE]
    if not verdicts:
        return None
    # Only the first sentence with a verdict counts; later ones explain it and may contain "no" for other reasons.
    stop = _SENTENCE_END.search(text, words[verdicts[0]].end())
    end = stop.start() if stop else len(text)
    last = max(index for index in verdicts if words[index].start() < end)
    if words[last][0].lower() == "no":
        return False
    closes = (last + 1 == len(words) or words[last + 1].start() >= end) and text[end : end + 1] != "?"
    return True if last and closes and _concludes(words[: last + 1], text) else None


def _doubtful(words: list[re.Match[str]], text: str) -> bool:
    """Whether a first Yes is a question, a box to tick, or a quotation that is discussed."""
    if _BALLOT.search(text):
        return True
    yes = words[0]
    after = text[yes.end() : words[1].start()] if len(words) > 1 else text[yes.end() :]
    quoted = yes.start() > 0 and text[yes.start() - 1] in _QUOTES
    return after.lstrip().startswith("?") or (quoted and len(words) > 1 and not _PAUSE.search(after))


def _concludes(words: list[re.Match[str]], text: str) -> bool:
    """Whether a sentence that ends in Yes draws that conclusion itself."""
    sentence = text[words[0].start() : words[-1].end()]
    before = [word[0].lower() for word in words[:-1]]
    if _QUOTES & set(sentence) or _DOUBT & set(before):
        return before in (["the", "answer", "is"], ["my", "answer", "is"])
    pause = text[words[-2].end() : words[-1].start()]
    return before[-1] in _THEREFORE or bool(_PAUSE.search(pause))


def _below(lines: list[str], number: int) -> bool | None:
    """The verdict below a heading on its own line: the next line's first word, unless a sentence continues from it."""
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
