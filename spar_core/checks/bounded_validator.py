"""The library's JSON Schema validator (2020-12), which spends work at every step; patterns take linear time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any, Final

import attrs
from jsonschema import Draft202012Validator, ValidationError
from jsonschema.exceptions import UnknownType, best_match
from jsonschema.validators import extend
from referencing import Registry
from referencing.exceptions import Unresolvable

from spar_core.checks.schema_work import CHARACTERS, SchemaWork

# Entries of a schema, or pairs of a list's values, that cost as much as one step.
_LISTED: Final = 16
_LIBRARY: Final[Mapping[str, Any]] = Draft202012Validator.VALIDATORS
# A `$ref` may lead to what was never checked to be a schema, where a keyword may hold anything.
UNFOLLOWABLE: Final = (
    *(Unresolvable, UnknownType, RecursionError),
    *(ArithmeticError, AttributeError, LookupError, TypeError, ValueError),
)

_work: ContextVar[SchemaWork] = ContextVar("work")


def schema_error(schema: Any, work: SchemaWork) -> str | None:
    """Why `schema` is no JSON Schema. Raises TooMuchWorkError or RecursionError."""
    error = _best_error(Draft202012Validator.META_SCHEMA, schema, work, Draft202012Validator.FORMAT_CHECKER)
    return error and str(error.message)


def value_error(schema: Any, value: Any, work: SchemaWork) -> str | None:
    """Where and why `value` departs from `schema`; formats are annotations. Raises TooMuchWorkError or UNFOLLOWABLE."""
    error = _best_error(schema, value, work, None)
    return error and f"{error.json_path}: {error.message}"


def _best_error(schema: Any, value: Any, work: SchemaWork, format_checker: Any) -> Any:
    """The one that tells most."""
    token = _work.set(work)
    try:
        # An empty registry: a schema is a client's, and must not make this server fetch addresses.
        validator = _Bounded(schema, registry=Registry(), format_checker=format_checker)
        return best_match(validator.iter_errors(value))
    finally:
        _work.reset(token)


def _pattern(validator: Any, wanted: str, value: Any, schema: Any) -> Iterator[ValidationError]:
    if validator.is_type(value, "string") and not _work.get().matches(wanted, value):
        yield ValidationError(f"{value!r} does not match {wanted!r}")


def _pattern_properties(validator: Any, patterns: Any, value: Any, schema: Any) -> Iterator[ValidationError]:
    if validator.is_type(value, "object"):
        for wanted, inner in patterns.items():
            for name in value:
                if _work.get().matches(wanted, name):
                    yield from validator.descend(value[name], inner, path=name, schema_path=wanted)


def _additional_properties(validator: Any, allowed: Any, value: Any, schema: Any) -> Any:
    patterns = schema.get("patternProperties")
    if patterns and validator.is_type(value, "object"):
        work = _work.get()
        matched = {name: True for name in value if any(work.matches(each, name) for each in patterns)}
        schema = {"properties": {**schema.get("properties", {}), **matched}}
    return _LIBRARY["additionalProperties"](validator, allowed, value, schema)


def _unique_items(validator: Any, wanted: Any, value: Any, schema: Any) -> Any:
    if validator.is_type(value, "array") and any(isinstance(each, dict | list) for each in value):
        # Each is compared with each.
        _work.get().spend(len(value) ** 2 // _LISTED)
    return _LIBRARY["uniqueItems"](validator, wanted, value, schema)


def _reference(validator: Any, wanted: str, value: Any, schema: Any) -> Any:
    _work.get().follow(wanted)
    return _LIBRARY["$ref"](validator, wanted, value, schema)


def _dynamic_reference(validator: Any, wanted: str, value: Any, schema: Any) -> Any:
    _work.get().follow(wanted)
    return _LIBRARY["$dynamicRef"](validator, wanted, value, schema)


def _spend_at_every_step(validator: Any) -> None:
    """All of the library's ways into a subschema lead through `evolve`, and out of it through the two others."""
    descend, iter_errors = validator.descend, validator.iter_errors

    def evolved(self: Any, **changes: Any) -> Any:
        schema = changes.get("schema")
        held = schema.values() if isinstance(schema, dict) else ()
        _work.get().spend(1 + sum(len(each) for each in held if isinstance(each, dict | list)) // _LISTED)
        # Not the library's, which goes on by a dialect of a subschema's own choice, and without limits.
        return attrs.evolve(self, **changes)

    validator.evolve = evolved
    validator.descend = lambda *args, **named: _told(descend(*args, **named))
    validator.iter_errors = lambda *args, **named: _told(iter_errors(*args, **named))


def _told(errors: Iterable[ValidationError]) -> Iterator[ValidationError]:
    """Errors that quote what they are about at length cost as much."""
    for error in errors:
        _work.get().spend(len(error.message) // CHARACTERS)
        yield error


_Bounded: Any = extend(  # type: ignore[no-untyped-call]
    Draft202012Validator,
    {
        "$ref": _reference,
        "$dynamicRef": _dynamic_reference,
        "pattern": _pattern,
        "patternProperties": _pattern_properties,
        "additionalProperties": _additional_properties,
        "uniqueItems": _unique_items,
    },
)
_spend_at_every_step(_Bounded)
