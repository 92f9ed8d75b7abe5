"""OpenAI's `response_format` as a check: an answer that violates it is never preferred to one that satisfies it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from spar_core.checks.base import Check, Finding
from spar_core.checks.json_schema import schema_problem, wrong_schema
from spar_core.errors import RequestError

# About twenty milliseconds of parsing.
_MAX_VALUES: Final = 100_000


def strict_json(text: str) -> Any:
    """Parse strict JSON.

    Raises:
        ValueError: it is not JSON, or has too many values.
        RecursionError: it is nested too deeply.
    """
    refuse_crowded(text)
    return json.loads(text, parse_constant=_refuse)


def refuse_crowded(text: str) -> None:
    """Raise ValueError if a text has so many lists, objects and keys that parsing it would block the process."""
    if text.count("[") + text.count("{") + text.count(":") > _MAX_VALUES:
        raise ValueError(f"more than {_MAX_VALUES} lists, objects and keys")


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no number in JSON")


RESPONSE_FORMAT: Final = "response_format"
# The most work of a validation (`json_schema.py`), in the unit of `Check.work`.
_SCHEMA_WORK: Final = 50_000_000


@dataclass(frozen=True, slots=True)
class JsonFormat:
    """Requires that the whole response is JSON: an object, or a value that `schema` (JSON Schema) describes."""

    schema: Mapping[str, Any]
    kwargs: Mapping[str, Any]

    @property
    def id(self) -> str:
        return RESPONSE_FORMAT

    def requirement(self) -> str:
        if self.schema == _ANY_OBJECT:
            return "nothing but one JSON object"
        return f"nothing but JSON that matches the schema {json.dumps(self.schema)}"

    def work(self, response: str) -> int:
        # A recursive schema takes long for any response.
        return len(response) if self.schema == _ANY_OBJECT else len(response) + _SCHEMA_WORK

    def find(self, response: str) -> Finding:
        try:
            value = strict_json(response)
        except (ValueError, RecursionError) as error:
            return Finding(False, f"no JSON: {error}", form=True)
        problem = schema_problem(self.schema, value)
        return Finding(problem is None, problem or "JSON as asked", form=True)


_ANY_OBJECT: Final[Mapping[str, Any]] = {"type": "object"}


def format_check(response_format: Mapping[str, Any] | None, *, used: bool = True) -> Check | None:
    """The check of a request's `response_format`; None if any text is valid.

    With `used=False` the schema is only for the engine, which may support more than this check, and not validated.

    Raises:
        RequestError: the type is unknown, or the schema is missing or cannot be used to check answers.
    """
    kind = (response_format or {"type": "text"}).get("type")
    if response_format is None or kind == "text":
        return None
    if kind == "json_object":
        return JsonFormat(_ANY_OBJECT, response_format)
    if kind != "json_schema":
        raise _wrong("type", "must be text, json_object or json_schema")
    described = response_format.get("json_schema")
    schema = described.get("schema") if isinstance(described, Mapping) else None
    if not isinstance(schema, Mapping):
        raise _wrong("json_schema.schema", "is needed, a JSON Schema")
    if used and (problem := wrong_schema(schema)) is not None:
        raise _wrong("json_schema.schema", f"no JSON Schema to check answers by: {problem}")
    return JsonFormat(schema, response_format)


def _wrong(field: str, message: str) -> RequestError:
    param = f"{RESPONSE_FORMAT}.{field}"
    return RequestError(f"{param}: {message}", param=param)
