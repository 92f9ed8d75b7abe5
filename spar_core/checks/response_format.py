"""OpenAI's `response_format` as a check: an answer that breaks its format is never chosen over one that keeps it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from spar_core.checks.base import Check, Finding
from spar_core.errors import RequestError

RESPONSE_FORMAT: Final = "response_format"


@dataclass(frozen=True, slots=True)
class JsonFormat:
    """The whole response is JSON: an object, or what `schema` (JSON Schema) describes."""

    schema: Mapping[str, Any]
    kwargs: Mapping[str, Any]

    @property
    def id(self) -> str:
        return RESPONSE_FORMAT

    def requirement(self) -> str:
        if self.schema == _ANY_OBJECT:
            return "nothing but one JSON object"
        return f"nothing but JSON that matches the schema {json.dumps(self.schema)}"

    def find(self, response: str) -> Finding:
        try:
            value = json.loads(response)
        except (ValueError, RecursionError) as error:
            return Finding(False, f"no JSON: {error}", form=True)
        problem = _problem(self.schema, value)
        return Finding(problem is None, problem or "JSON as asked", form=True)


_ANY_OBJECT: Final[Mapping[str, Any]] = {"type": "object"}


def format_check(response_format: Mapping[str, Any] | None) -> Check | None:
    """The check of a request's `response_format`; None where any text will do.

    Raises:
        RequestError: its type is unknown, or its schema is missing or no JSON Schema.
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
    _refuse_wrong_schema(schema)
    return JsonFormat(schema, response_format)


def _wrong(field: str, message: str) -> RequestError:
    param = f"{RESPONSE_FORMAT}.{field}"
    return RequestError(f"{param}: {message}", param=param)


def _refuse_wrong_schema(schema: Mapping[str, Any]) -> None:
    from jsonschema import Draft202012Validator, SchemaError

    try:
        Draft202012Validator.check_schema(schema)
    except (SchemaError, RecursionError) as error:
        told = error.message if isinstance(error, SchemaError) else "nested too deeply"
        raise _wrong("json_schema.schema", f"no JSON Schema: {told}") from error


def _problem(schema: Mapping[str, Any], value: Any) -> str | None:
    """Where `value` departs from `schema`; None where it does not."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    # An empty registry: a schema is a client's, and must not make this server fetch addresses.
    validator = Draft202012Validator(schema, registry=Registry())
    try:
        error = best_match(validator.iter_errors(value))
    except (Unresolvable, RecursionError) as problem:
        return f"the schema cannot be followed: {problem}"
    return error and f"{error.json_path}: {error.message}"
