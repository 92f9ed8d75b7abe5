"""Redact an upstream's words for the log: no keys, no passwords, no text of the client."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

from spar_core.errors import BackendError

_LONGEST: Final = 500
# Shorter runs that an error and a prompt have in common are coincidence.
_RUN: Final = 12
# Longer prompts are not searched: the upstream's words are omitted instead.
_MAX_SEARCHED: Final = 2**20
_SECRETS: Final = (
    (re.compile(r"(?i)\b(bearer|basic)\s+\S+"), r"\1 [key]"),
    (re.compile(r"(?i)(api[_-]?key|token|password|secret|authorization)(\W{1,4})[^\s,;\"'&]+"), r"\1\2[key]"),
    (re.compile(r"://[^/\s@]*@"), "://[key]@"),
    (re.compile(r"\b(?:sk|pk|hf|spar)[-_][\w-]+"), "[key]"),
    # Anything else as long as a key, with a digit in it.
    (re.compile(r"(?<![\w-])(?=[A-Za-z_-]*\d)[\w-]{20,}"), "[key]"),
)


def redacted(text: str, *, secret: str | None, request: Mapping[str, Any]) -> str:
    """`text` in one short line, without `secret`, anything that looks like a key, and the texts of `request`."""
    text = " ".join(text[:_LONGEST].split())
    if secret:
        text = text.replace(secret, "[key]")
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return _without(text, list(_texts(request)))


def with_upstreams_words(error: BackendError) -> str:
    """The error with what the upstream said, without keys: for the operator who runs a command, never for a client."""
    words = redacted(error.detail, secret=None, request={})
    return f'{error}; it says "{words}"' if words else str(error)


def without_password(url: str) -> str:
    """An address without its user name and password."""
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


def _without(text: str, written: list[str]) -> str:
    """`text` with every longer run of the client's text masked."""
    if sum(map(len, written)) > _MAX_SEARCHED:
        return "[left out: the request is too long to look for it in here]"
    haystack = "\n".join(" ".join(each.split()) for each in written)
    for each in written:
        # Short texts are masked as a whole.
        if 3 < len(each) < _RUN:
            text = text.replace(each, "[text of the request]")
    masked = [False] * len(text)
    for start in range(len(text) - _RUN + 1):
        if text[start : start + _RUN] in haystack:
            masked[start : start + _RUN] = [True] * _RUN
    runs = groupby(zip(text, masked, strict=True), key=itemgetter(1))
    return "".join("[text of the request]" if hidden else "".join(char for char, _ in run) for hidden, run in runs)


def _texts(value: object) -> Iterator[str]:
    """Every text in a request except its keys; without recursion, because a request may be deep."""
    left = [value]
    while left:
        each = left.pop()
        if isinstance(each, str):
            yield each
        elif isinstance(each, Mapping):
            left.extend(each.values())
        elif isinstance(each, list | tuple):
            left.extend(each)
