"""Read OpenAI's batch input: one request a line, `{"custom_id", "method", "url", "body"}`."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

_REFINING: Final = ("/v1/chat/completions", "/v1/responses", "/v1/refine")
ENDPOINTS: Final = (*_REFINING, "/v1/judge", "/v1/completions", "/v1/embeddings")
_NAMED_BUDGET: Final = re.compile(r"@\d+$")


@dataclass(frozen=True, slots=True)
class Request:
    """A request; its `id` is the digest of all that is sent, so a changed line is another request."""

    number: int
    custom_id: str
    url: str
    body: Mapping[str, Any]

    @property
    def id(self) -> str:
        return _digest([self.custom_id, self.url, self.body])


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that is no request, and why."""

    number: int
    text: str
    problem: str
    custom_id: str | None = None

    @property
    def id(self) -> str:
        return _digest([self.number, self.text])


Line = Request | BadLine


def read_lines(path: Path, *, model: str, budget: int | None = None) -> Iterator[Line]:
    """The lines of a file; empty ones are skipped.

    `model` is for bodies that name none, `budget` for those of searches that name none.
    """
    seen: set[str] = set()
    with path.open(encoding="utf-8", errors="surrogateescape") as lines:
        for number, text in enumerate(lines, 1):
            if not text.strip():
                continue
            line = _read_line(number, text, model, budget)
            if isinstance(line, Request):
                if line.custom_id in seen:
                    line = BadLine(number, text, f"the custom_id {line.custom_id!r} is taken", line.custom_id)
                else:
                    seen.add(line.custom_id)
            yield line


def _read_line(number: int, text: str, model: str, budget: int | None) -> Line:
    try:
        data = json.loads(text)
        # What cannot be sent: NaN, and lone surrogates, which also stand for bytes that are not UTF-8.
        json.dumps(data, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError) as error:
        return BadLine(number, text.encode(errors="replace").decode(), f"not JSON in UTF-8: {error}")
    problem = _problem(data)
    if problem is not None:
        custom_id = data.get("custom_id") if isinstance(data, dict) else None
        return BadLine(number, text, problem, custom_id if isinstance(custom_id, str) else None)
    body: dict[str, Any] = {"model": model, **data["body"]}
    if budget is not None and data["url"] in _REFINING and not _names_budget(body):
        body["refine_budget"] = budget
    return Request(number, data["custom_id"], data["url"], body)


def _problem(data: Any) -> str | None:
    if not isinstance(data, dict):
        return "must be an object"
    if not isinstance(data.get("custom_id"), str) or not data["custom_id"]:
        return "custom_id: is needed, a string"
    if data.get("method", "POST") != "POST":
        return f"method: must be POST, not {data['method']!r}"
    if data.get("url") not in ENDPOINTS:
        return f"url: must be one of {', '.join(ENDPOINTS)}"
    if not isinstance(data.get("body"), dict):
        return "body: is needed, an object"
    if data["body"].get("stream"):
        return "body.stream: answers in a batch are not streamed"
    return None


def _names_budget(body: Mapping[str, Any]) -> bool:
    """Whether a body names a budget in one of the ways that the server knows."""
    efforts = (body.get("reasoning_effort"), (body.get("reasoning") or {}).get("effort"))
    return body.get("refine_budget") is not None or any(efforts) or _NAMED_BUDGET.search(str(body["model"])) is not None


def _digest(value: Any) -> str:
    encoded = json.dumps(value, sort_keys=True).encode()
    return f"batch_req_{hashlib.sha256(encoded).hexdigest()[:24]}"
