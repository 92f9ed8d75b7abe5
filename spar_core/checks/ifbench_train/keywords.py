"""Checks on how often keywords occur. As in IFEval, an occurrence within a longer word counts."""

from __future__ import annotations

from typing import Final

from spar_core.checks.base import Finding
from spar_core.checks.ifeval import keywords
from spar_core.checks.spec import CheckSpec, Kwargs, counted, relation, text, whole


def _once(response: str, kwargs: Kwargs) -> Finding:
    count = keywords.occurrences(kwargs["keyword"], response)
    return Finding(count == 1, counted(count, "time"))


def _once_and_twice(response: str, kwargs: Kwargs) -> Finding:
    first, second = (keywords.occurrences(kwargs[name], response) for name in ("keyword1", "keyword2"))
    evidence = f"{kwargs['keyword1']} {counted(first, 'time')}, {kwargs['keyword2']} {counted(second, 'time')}"
    return Finding((first, second) == (1, 2), evidence)


def _one_within_the_other(kwargs: Kwargs) -> tuple[str, str] | None:
    # Twice the second would then be at least twice the first.
    if not keywords.occurrences(kwargs["keyword1"], kwargs["keyword2"]):
        return None
    return "keyword2", f"a word without {kwargs['keyword1']!r} in it, which is keyword1"


def _excluded(response: str, kwargs: Kwargs) -> Finding:
    return keywords.forbidden(response, {"forbidden_words": (kwargs["keyword"].strip(),)})


SPECS: Final = (
    CheckSpec(
        "ifbench-train:word_once",
        lambda k: f"use the word {k['keyword'].strip()} exactly once",
        _once,
        {"keyword": text},
    ),
    CheckSpec(
        "ifbench-train:word_count_different_numbers",
        lambda k: f"use the word {k['keyword'].strip()} {keywords.times(k['frequency'], k['relation'])}",
        keywords.frequency,
        {"keyword": text, "frequency": whole, "relation": relation},
    ),
    CheckSpec(
        "ifbench-train:exclude_word_harder",
        lambda k: f"avoid the word {k['keyword'].strip()}",
        _excluded,
        {"keyword": text},
        passes=lambda _: 12,
    ),
    CheckSpec(
        "ifbench-train:count_increment_word",
        lambda k: f"use the word {k['keyword1'].strip()} once and the word {k['keyword2'].strip()} twice",
        _once_and_twice,
        {"keyword1": text, "keyword2": text},
        clash=_one_within_the_other,
        passes=lambda _: 5,
    ),
)
