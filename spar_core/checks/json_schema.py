"""Validate against a client's JSON Schema with bounded work.

A schema is a program: `$ref`s can double the work at every level, and a pattern can backtrack for ever. Patterns run in
RE2, in linear time; patterns that it does not support (look-around, back references) are not checked.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from functools import lru_cache
from typing import Any, Final

import attrs
import re2
from jsonschema import Draft202012Validator, ValidationError
from jsonschema.exceptions import UnknownType, best_match
from jsonschema.validators import extend
from referencing import Registry
from referencing.exceptions import Unresolvable

# Characters that are matched, or quoted in an error, in the time of one step.
CHARACTERS: Final = 1000


class TooMuchWorkError(Exception):
    """A validation exceeded its work limit."""


class SchemaWork:
    """The remaining work of one validation, in `steps` of about ten microseconds.

    A reference that is not a path costs `search_steps`, because the library searches the whole schema for it.
    """

    def __init__(self, steps: int, *, search_steps: int) -> None:
        self._steps = steps
        self._search_steps = search_steps

    def spend(self, steps: int) -> None:
        self._steps -= steps
        if self._steps < 0:
            raise TooMuchWorkError("it takes too much work to check")

    def follow(self, reference: str) -> None:
        self.spend(1 if reference.startswith("#/") else self._search_steps)

    def matches(self, pattern: str, text: str) -> bool:
        """Whether `text` matches; True if RE2 does not support the pattern."""
        self.spend(1 + len(text) // CHARACTERS)
        return (compiled := _compiled(pattern)) is None or compiled.search(text) is not None


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error:
        return None


_STEPS: Final = 30_000
# For checking a schema itself, once; takes about 25 steps per property.
_SCHEMA_STEPS: Final = 75_000
# Characters of a schema that are searched in the time of one step.
_SEARCHED: Final = 60
# OpenAI's limit is 120,000 characters of names and values.
_LONGEST_SCHEMA: Final = 200_000
_LONGEST_PROBLEM: Final = 500


def wrong_schema(schema: Mapping[str, Any]) -> str | None:
    """Why the schema cannot be used to check answers; None if it can."""
    try:
        text = json.dumps(schema)
    except RecursionError:
        return "nested too deeply"
    return _wrong(text) if len(text) <= _LONGEST_SCHEMA else f"longer than {_LONGEST_SCHEMA} characters"


@lru_cache(maxsize=64)
def _wrong(text: str) -> str | None:
    """Cached by the schema's text, because clients send the same few schemas again and again."""
    if '"unevaluatedProperties"' in text and '"patternProperties"' in text:
        # The library evaluates these with patterns of unbounded time.
        return "unevaluatedProperties is not available together with patternProperties"
    try:
        error = schema_error(json.loads(text), SchemaWork(_SCHEMA_STEPS, search_steps=1))
    except RecursionError:
        return "nested too deeply"
    except TooMuchWorkError as problem:
        return str(problem)
    return error and error[:_LONGEST_PROBLEM]


def schema_problem(schema: Mapping[str, Any], value: Any) -> str | None:
    """Where `value` violates `schema`, or why that cannot be checked; None if it conforms."""
    try:
        work = SchemaWork(_STEPS, search_steps=1 + len(json.dumps(schema)) // _SEARCHED)
        error = value_error(schema, value, work)
    except (TooMuchWorkError, *UNFOLLOWABLE) as problem:
        error = f"the schema cannot be followed: {problem}"
    return error and error[:_LONGEST_PROBLEM]


# Entries of a schema, or pairs of a list's values, that cost one step.
_LISTED: Final = 16
_LIBRARY: Final[Mapping[str, Any]] = Draft202012Validator.VALIDATORS
# Errors from a `$ref` to a value that was never validated as a schema.
UNFOLLOWABLE: Final = (
    *(Unresolvable, UnknownType, RecursionError),
    *(ArithmeticError, AttributeError, LookupError, TypeError, ValueError),
)

_work: ContextVar[SchemaWork] = ContextVar("work")


def schema_error(schema: Any, work: SchemaWork) -> str | None:
    """Why `schema` is not a JSON Schema. Raises TooMuchWorkError or RecursionError."""
    error = _best_error(Draft202012Validator.META_SCHEMA, schema, work, Draft202012Validator.FORMAT_CHECKER)
    return error and str(error.message)


def value_error(schema: Any, value: Any, work: SchemaWork) -> str | None:
    """Where and why `value` violates `schema`; `format` is ignored. Raises TooMuchWorkError or UNFOLLOWABLE."""
    error = _best_error(schema, value, work, None)
    return error and f"{error.json_path}: {error.message}"


def _best_error(schema: Any, value: Any, work: SchemaWork, format_checker: Any) -> Any:
    """The most informative error."""
    token = _work.set(work)
    try:
        # An empty registry, so that a client's schema cannot make this server fetch URLs.
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
        # The library compares every pair.
        _work.get().spend(len(value) ** 2 // _LISTED)
    return _LIBRARY["uniqueItems"](validator, wanted, value, schema)


def _reference(validator: Any, wanted: str, value: Any, schema: Any) -> Any:
    _work.get().follow(wanted)
    return _LIBRARY["$ref"](validator, wanted, value, schema)


def _dynamic_reference(validator: Any, wanted: str, value: Any, schema: Any) -> Any:
    _work.get().follow(wanted)
    return _LIBRARY["$dynamicRef"](validator, wanted, value, schema)


def _spend_at_every_step(validator: Any) -> None:
    """The library enters every subschema through `evolve`, and leaves it through `descend` and `iter_errors`."""
    descend, iter_errors = validator.descend, validator.iter_errors

    def evolved(self: Any, **changes: Any) -> Any:
        schema = changes.get("schema")
        values = schema.values() if isinstance(schema, dict) else ()
        _work.get().spend(1 + sum(len(each) for each in values if isinstance(each, dict | list)) // _LISTED)
        # Not the library's `evolve`, which would switch to a subschema's own dialect, without limits.
        return attrs.evolve(self, **changes)

    validator.evolve = evolved
    validator.descend = lambda *args, **named: _charge(descend(*args, **named))
    validator.iter_errors = lambda *args, **named: _charge(iter_errors(*args, **named))


def _charge(errors: Iterable[ValidationError]) -> Iterator[ValidationError]:
    """Charge for long error messages, which quote the invalid value."""
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
