"""Read a model's checklist: JSON or lines, in whatever wrapping, item by item."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from spar_core.checklist.extractors.base import Extraction
from spar_core.checklist.items import MOST_EXTRACTED, Dropped, Item
from spar_core.checks import Check, build_check
from spar_core.errors import ConfigError, RequestError

# The most of a reply that is read, in characters, and the longest requirement.
_LONGEST: Final = 50_000
_LONGEST_REQUIREMENT: Final = 300
_MARK: Final = re.compile(r"\A\s*(?:[-*•]|\d{1,3}[.)])\s+")
_QUOTATION_MARKS: Final = "\"'“”‘’«»`"
_NUMBER: Final = re.compile(r"\d{1,7}\Z")


@dataclass(frozen=True, slots=True)
class _Listed:
    """An item as a model wrote it."""

    requirement: str
    quote: str
    check: str = ""
    kwargs: Mapping[str, Any] | None = None


def read_reply(reply: str, conversation: str) -> Extraction:
    """The items of a model's reply about `conversation`.

    An item without a quotation of the conversation, or with a check that the registry refuses, is dropped.
    """
    said = _plain(conversation)
    items: list[Item] = []
    dropped: list[Dropped] = []
    for listed in _listed(reply[:_LONGEST]):
        if len(items) + len(dropped) == MOST_EXTRACTED:
            break
        requirement = " ".join(listed.requirement.split())[:_LONGEST_REQUIREMENT]
        words = Item(requirement, "model")
        quote = _plain(listed.quote)
        if not requirement:
            continue
        if not quote or quote not in said:
            dropped.append(Dropped(words, "the words that it quotes are not in the conversation"))
        elif not listed.check:
            items.append(words)
        else:
            check = _check(listed)
            if isinstance(check, str):
                dropped.append(Dropped(words, check))
            else:
                items.append(Item.of(check, "model"))
    return Extraction(tuple(items), tuple(dropped), None if items or dropped else _problem(reply))


def _problem(reply: str) -> str | None:
    """Why there are no items; a short reply may well say that nothing is missing."""
    return "the model's reply has no items that can be read" if "|" in reply or "{" in reply else None


def _check(listed: _Listed) -> Check | str:
    """The check, or why it is none. Models write numbers as texts, too."""
    kwargs = listed.kwargs or {}
    numbers = {name: _number(value) for name, value in kwargs.items()}
    for each in (kwargs, numbers):
        try:
            return build_check(listed.check, each)
        except (RequestError, ConfigError) as error:
            problem = str(error)
    return problem


def _listed(reply: str) -> Iterator[_Listed]:
    start = min((place for place in (reply.find("{"), reply.find("[")) if place >= 0), default=-1)
    before = reply[:start]
    if start >= 0 and "|" not in before and (data := _decoded(reply, start)) is not None:
        yield from _of_json(data)
        return
    for line in reply.split("\n"):
        if "|" in line:
            yield from _of_line(line)


def _decoded(reply: str, start: int) -> Any:
    """The JSON value at `start`; None if there is none."""
    try:
        return json.JSONDecoder().raw_decode(reply, start)[0]
    except (ValueError, RecursionError):
        return None


def _of_json(data: Any) -> Iterator[_Listed]:
    rows = data.get("items") if isinstance(data, dict) else data
    for row in rows if isinstance(rows, list) else []:
        if isinstance(row, dict):
            texts = {name: row.get(name) for name in ("requirement", "quote", "check")}
            if isinstance(texts["requirement"], str) and isinstance(texts["quote"], str):
                check = texts["check"] if isinstance(texts["check"], str) else ""
                yield _Listed(texts["requirement"], texts["quote"], check.strip(), _kwargs(row.get("kwargs")))


def _kwargs(value: Any) -> dict[str, Any]:
    """Kwargs as an object, or as a list of names and values."""
    if isinstance(value, dict):
        return value
    rows = [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []
    return {str(row.get("name")): row.get("value") for row in rows}


def _number(value: Any) -> Any:
    return int(value) if isinstance(value, str) and _NUMBER.match(value.strip()) else value


def _of_line(line: str) -> Iterator[_Listed]:
    requirement, quote, *rest = (part.strip() for part in _MARK.sub("", line).split("|"))
    # A quotation may contain a bar itself, and so may the kwargs.
    check, _, kwargs = "|".join(rest).strip().partition(" ")
    decoded = _decoded(kwargs, kwargs.find("{")) if "{" in kwargs else {}
    if isinstance(decoded, dict):
        yield _Listed(requirement, quote.strip(_QUOTATION_MARKS), check.strip("`*"), _kwargs(decoded))


def _plain(text: str) -> str:
    """Letters and digits in lowercase, so that quotations may differ in white space and punctuation."""
    return "".join(filter(str.isalnum, text.lower()))
