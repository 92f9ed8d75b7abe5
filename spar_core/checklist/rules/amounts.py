"""Amounts in an instruction: "at least 3 sentences", "no more than fifty words", "twice"."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Final, Literal

import re2

Relation = Literal["at least", "less than"]
Bound = tuple[int, Relation]

_SMALL: Final = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty"
).split()
_TENS: Final = {"thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90}
_LARGE: Final = {
    "a hundred": 100, "one hundred": 100, "two hundred": 200, "three hundred": 300, "four hundred": 400,
    "five hundred": 500, "six hundred": 600, "eight hundred": 800, "a thousand": 1000, "one thousand": 1000,
    "a dozen": 12, "a single": 1,
}  # fmt: skip
_NAMED: Final = {**{name: number for number, name in enumerate(_SMALL)}, **_TENS, **_LARGE}
NUMBER: Final = r"(?:\d{1,3}(?:,\d{3})+|\d{1,6}|" + "|".join(sorted(_NAMED, key=len, reverse=True)) + ")"
_ORDINALS: Final = "first second third fourth fifth sixth seventh eighth ninth tenth".split()
ORDINAL: Final = r"(?:\d{1,2}(?:st|nd|rd|th)|" + "|".join(_ORDINALS) + ")"

_LEAST: Final = (
    r"at least|at a minimum|no fewer than|no less than|not fewer than|not less than|(?:a )?minimum(?: of)?|at minimum"
)
_MORE: Final = r"more than|over|above|exceeding|exceeds?|greater than|in excess of"
_LESS: Final = r"fewer than|less than|under|below|lower than"
_MOST: Final = (
    r"at most|at a maximum|no more than|not more than|no longer than|(?:a )?maximum(?: of)?|up to|not exceeding|within"
)
_ABOUT: Final = re2.compile(
    r"\b(?:about|around|approximately|roughly|nearly|almost|circa|some|another|other|top|or|between)\s*$|[~#.\d]$"
)
_NEGATED: Final = re2.compile(r"(?:\bnot|n't|\bnever|\bcannot|\bwithout)\b[^,;:.]*$")
_CLAUSE: Final = re2.compile(r"[,;:.!?()]|\band\b|\bbut\b")


@dataclass(frozen=True, slots=True)
class Amount:
    """Bounds on a number of things, at these offsets of the sentence.

    `least` is the number if it is exact or not qualified, as in "exactly 3" and "3".
    """

    start: int
    end: int
    bounds: tuple[Bound, ...]
    least: int | None = None
    exact: bool = False


def number_of(text: str) -> int:
    return _NAMED[text] if text in _NAMED else int(text.replace(",", ""))


def ordinal_of(text: str) -> int:
    return _ORDINALS.index(text) + 1 if text in _ORDINALS else int(text[:-2])


def clause_before(plain: str, offset: int) -> str:
    """The clause up to `offset`."""
    before = plain[:offset]
    last = 0
    for found in _CLAUSE.finditer(before):
        last = found.end()
    return before[last:]


def clause_after(plain: str, offset: int) -> str:
    """The clause from `offset` on."""
    after = plain[offset:]
    found = _CLAUSE.search(after)
    return after[: found.start()] if found else after


def amounts_of(plain: str, noun: str) -> Iterator[Amount]:
    """The amounts of `noun`, a pattern such as `sentences?`, in a sentence's plain form."""
    for found in _pattern(noun).finditer(plain):
        groups = {name: value for name, value in found.groupdict().items() if value is not None}
        before = plain[: found.start()]
        if _ABOUT.search(before):
            continue
        negated = bool(_NEGATED.search(clause_before(plain, found.start())))
        if (amount := _amount(groups, found.start(), found.end(), negated=negated)) is not None:
            yield amount


@cache
def _pattern(noun: str) -> re.Pattern[str]:
    n = NUMBER
    compiled: re.Pattern[str] = re2.compile(
        rf"\b(?:between (?P<low>{n}) (?:and|to) (?P<high>{n})|(?P<from>{n}) ?(?:to|-|–) ?(?P<to>{n})|"
        rf"(?:(?P<least>{_LEAST})|(?P<most>{_MOST})|(?P<more>{_MORE})|(?P<less>{_LESS})|(?P<exact>exactly|"
        rf"precisely)) )?"
        rf"(?:(?P<number>{n})(?P<plus>\+| or more| plus)?(?P<minus> or fewer| or less)?)?"
        rf"[ -]+(?:{noun})\b(?P<after> or more| at (?:a )?minimum| at least| minimum)?(?P<before> or fewer|"
        rf" or less| at most| maximum| max)?"
    )
    return compiled


def _amount(groups: dict[str, str], start: int, end: int, *, negated: bool) -> Amount | None:
    if "low" in groups or "from" in groups:
        low, high = (number_of(groups[name]) for name in (("low", "high") if "low" in groups else ("from", "to")))
        if negated or "number" in groups or low >= high:
            return None
        return Amount(start, end, ((low, "at least"), (high + 1, "less than")))
    if "number" not in groups:
        return None
    number = number_of(groups["number"])
    least = {"least", "plus", "after"} & set(groups)
    most = {"most", "minus", "before"} & set(groups)
    if "more" in groups or "less" in groups:
        up = ("more" in groups) is not negated
        bound: Bound = (number + ("more" in groups), "at least" if up else "less than")
        return Amount(start, end, (bound,)) if not least and not most else None
    if negated or (least and most):
        return None
    if least:
        return Amount(start, end, ((number, "at least"),))
    if most:
        return Amount(start, end, ((number + 1, "less than"),))
    return Amount(start, end, ((number, "at least"), (number + 1, "less than")), number, exact="exact" in groups)
