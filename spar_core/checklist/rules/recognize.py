"""Apply all families of rules to an instruction."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from spar_core.checklist.rules import form, keywords, layout, length
from spar_core.checklist.rules.base import Rule
from spar_core.checklist.rules.passage import read_passage
from spar_core.checks import Check, build_check
from spar_core.errors import RequestError

# No instruction has as many constraints.
MOST_RECOGNIZED: Final = 32
# Each family is one file with its `RULES`.
_FAMILIES: Final = (keywords, length, layout, form)
_RULES: Final[tuple[Rule, ...]] = tuple(rule for family in _FAMILIES for rule in family.RULES)


def recognize(instruction: str) -> list[Check]:
    """The checks that `instruction` asks for in words that the rules know, in order, each once, at most 32.

        >>> [check.requirement() for check in recognize("Describe a mill in at least 3 sentences. Do not use commas.")]
        ['at least 3 sentences', 'no commas']

    Takes time linear in the instruction.
    """
    checks: list[Check] = []
    for check in _recognized(instruction):
        if check not in checks:
            checks.append(check)
        if len(checks) == MOST_RECOGNIZED:
            break
    return checks


def _recognized(instruction: str) -> Iterator[Check]:
    passage = read_passage(instruction)
    for sentence in passage.sentences:
        for rule in _RULES:
            if not rule.applies(sentence):
                continue
            for id, kwargs in rule.find(sentence, passage):
                try:
                    yield build_check(id, kwargs)
                except RequestError:
                    # What the instruction asks for cannot be met, such as the fourth of three paragraphs.
                    continue
