"""Checks on layout: bullets, highlights, titles, sections, JSON, fixed answers.

Responses may be long and degenerate, so every check takes time linear in their length.
"""

from __future__ import annotations

import json
import re
from itertools import chain
from typing import Final

from spar_core.checks.base import Finding
from spar_core.checks.response_format import refuse_crowded
from spar_core.checks.spec import CheckSpec, Kwargs, amount, counted, text, whole

_STAR_BULLET: Final = re.compile(r"^[^\S\n]*\*[^*].*$", re.MULTILINE)
_DASH_BULLET: Final = re.compile(r"^[^\S\n]*-", re.MULTILINE)
_HIGHLIGHT: Final = re.compile(r"\*([^\n*]*)\*")
_DOUBLE_HIGHLIGHT: Final = re.compile(r"\*\*([^\n*]*)\*\*")
FIXED_ANSWERS: Final = ("My answer is yes.", "My answer is no.", "My answer is maybe.")


def _bullets(response: str, kwargs: Kwargs) -> Finding:
    count = len(_STAR_BULLET.findall(response)) + len(_DASH_BULLET.findall(response))
    return Finding(count == kwargs["num_bullets"], counted(count, "bullet point"))


def _highlights(response: str, kwargs: Kwargs) -> Finding:
    # As in IFEval, double stars may count twice: also as single stars.
    marks = chain(_HIGHLIGHT.finditer(response), _DOUBLE_HIGHLIGHT.finditer(response))
    count = sum(1 for mark in marks if mark[1].strip())
    return Finding(count >= kwargs["num_highlights"], counted(count, "highlighted section"))


def _title(response: str, _: Kwargs) -> Finding:
    title = next(filter(None, map(_title_of, response.split("\n"))), None)
    return Finding(title is not None, title or "no title")


def _title_of(line: str) -> str | None:
    """What stands between the first `<<` of a line and its last `>>`, with these marks."""
    start, end = line.find("<<"), line.rfind(">>")
    if start < 0 or end <= start + 2 or not line[start:end].lstrip("<").rstrip(">").strip():
        return None
    return line[start : end + 2]


def _sections(response: str, kwargs: Kwargs) -> Finding:
    count = len(re.findall(rf"{re.escape(kwargs['section_spliter'].strip())}\s?\d", response))
    return Finding(count >= kwargs["num_sections"], counted(count, "section"))


def _json(response: str, _: Kwargs) -> Finding:
    body = response.strip()
    for fence in ("```json", "```Json", "```JSON", "```"):
        body = body.removeprefix(fence)
    body = body.removesuffix("```").strip()
    try:
        refuse_crowded(body)
        json.loads(body)
    except ValueError as error:
        return Finding(False, f"not JSON: {error}")
    except RecursionError:
        return Finding(False, "not JSON: nested too deeply")
    return Finding(True, "valid JSON")


def _fixed(response: str, _: Kwargs) -> Finding:
    found = next((answer for answer in FIXED_ANSWERS if answer in response), None)
    return Finding(found is not None, found or "none of them")


SPECS: Final = (
    CheckSpec(
        "detectable_format:number_bullet_lists",
        lambda k: f"exactly {counted(k['num_bullets'], 'bullet point')}",
        _bullets,
        {"num_bullets": whole},
    ),
    CheckSpec(
        "detectable_format:number_highlighted_sections",
        lambda k: amount(k["num_highlights"], "at least", "highlighted section"),
        _highlights,
        {"num_highlights": whole},
        passes=lambda _: 50,
    ),
    CheckSpec("detectable_format:title", lambda _: "a title in double angular brackets", _title),
    CheckSpec(
        "detectable_format:multiple_sections",
        lambda k: (
            f"{amount(k['num_sections'], 'at least', 'section')} "
            f"each starting with {k['section_spliter'].strip()} and its number"
        ),
        _sections,
        {"section_spliter": text, "num_sections": whole},
    ),
    CheckSpec("detectable_format:json_format", lambda _: "the whole response as JSON", _json),
    CheckSpec(
        "detectable_format:constrained_response",
        lambda _: "one of " + ", ".join(f'"{answer}"' for answer in FIXED_ANSWERS),
        _fixed,
    ),
)
