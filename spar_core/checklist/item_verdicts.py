"""Read the verdicts of a judgement item by item, whatever the judged response says.

A verdict counts only with the mark of its response, a number that the response cannot know, directly before the item's
own number. So no quotation of a response contains a verdict, and none can be moved from one item to another.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import re2

from spar_core.types import FinishReason
from spar_core.unicode import normalized

# The most of a judgement that is read, in characters.
_LONGEST: Final = 200_000
_LONGEST_EVIDENCE: Final = 400
_YES: Final = frozenset({"1", "yes"})
_LABEL: Final = re2.compile(r"(?i)^\W*(?:item|requirement)?\W{0,3}(?:\d{1,3}[.:)]+)?\s*(?:evidence\s*:)?\s*")
_VERDICT: Final = "verdict"
# What a verdict's label is set off with: "**Verdict", "=> ", "(".
_OFFSET: Final = " \t\n=>-:|[(*_#"


@dataclass(frozen=True, slots=True)
class ItemVerdict:
    """One judgement's verdict on one item, and what it says before it."""

    passed: bool
    evidence: str


def read_items(text: str, count: int, *, mark: str, finish_reason: FinishReason = "stop") -> dict[int, ItemVerdict]:
    """The verdicts on items 1 to `count`; those without a readable one are missing.

    A judgement that was cut off has none. Two verdicts on one item that differ are a No.

        >>> read_items("Item 1: two commas\\nVerdict 482913.1: 0", 1, mark="482913")
        {1: ItemVerdict(passed=False, evidence='two commas')}
    """
    if finish_reason != "stop" or not mark or len(text) > _LONGEST:
        return {}
    text = normalized(text, "NFKC")
    verdicts: dict[int, ItemVerdict] = {}
    begin = 0
    for found in _verdicts(mark).finditer(text):
        number, passed = int(found[1]), found[2].lower() in _YES
        evidence = _evidence(text[begin : found.start()])
        begin = found.end()
        if not 1 <= number <= count or found[3]:
            continue
        known = verdicts.get(number)
        if known is None or (known.passed and not passed):
            verdicts[number] = ItemVerdict(passed, evidence)
    return verdicts


def _verdicts(mark: str) -> re.Pattern[str]:
    # The third group is an echo of the form: "1 if it is met", "1 or 0".
    return re.compile(
        rf"(?<!\d){re.escape(mark)}[.\-#: ]{{1,3}}(\d{{1,3}})[\])*`]{{0,4}}\s{{0,3}}[:=\->]{{0,3}}[\s*`]{{0,4}}"
        r"(1|0|yes|no)\b(?!\.\d)([ \t]{0,3}(?:or\b|if\b|/|\|))?",
        re.IGNORECASE,
    )


def _evidence(text: str) -> str:
    """What stands before a verdict, on one line and without its labels."""
    # Only the last part can belong to this item's verdict, and it bounds the work.
    tail = text[-4 * _LONGEST_EVIDENCE :].rstrip(_OFFSET)
    if tail.lower().endswith(_VERDICT):
        tail = tail[: -len(_VERDICT)].rstrip(_OFFSET)
    return str(_LABEL.sub("", " ".join(tail.split()), count=1))[:_LONGEST_EVIDENCE].strip()
