"""JSON Schema as a client may give it: neither it nor what is held against it costs more than so much work.

A schema is a program: `$ref`s can double the work at every level, and a pattern can backtrack for ever. Patterns run
in RE2, in linear time; those that it does not know (look-around, references back) are not checked.
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

# Characters that are matched, or quoted in an error, in one step's time.
CHARACTERS: Final = 1000


class TooMuchWorkError(Exception):
    """A validation was given up."""


class SchemaWork:
    """What is left of one validation's allowance: `steps`, some ten microseconds each.

    A reference that is no path costs `search_steps`, because the library looks for it in the whole schema.
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
        """Whether it does, or RE2, which takes linear time, does not know the pattern."""
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
# Once for each schema, which takes about 25 of them for each property.
_SCHEMA_STEPS: Final = 75_000
# Characters of a schema that are searched in one step's time.
_SEARCHED: Final = 60
# OpenAI takes 120,000 characters of names and values.
_LONGEST_SCHEMA: Final = 200_000
_LONGEST_PROBLEM: Final = 500


def wrong_schema(schema: Mapping[str, Any]) -> str | None:
    """Why answers cannot be checked by it; None where they can."""
    try:
        text = json.dumps(schema)
    except RecursionError:
        return "nested too deeply"
    return _wrong(text) if len(text) <= _LONGEST_SCHEMA else f"longer than {_LONGEST_SCHEMA} characters"


@lru_cache(maxsize=64)
def _wrong(text: str) -> str | None:
    """By the schema's text: clients send the same few again and again."""
    # Not at the top: it takes a tenth of a second, and most servers never need it.

    if '"unevaluatedProperties"' in text and '"patternProperties"' in text:
        # The library looks for these with patterns whose time it does not limit.
        return "unevaluatedProperties is not available together with patternProperties"
    try:
        error = schema_error(json.loads(text), SchemaWork(_SCHEMA_STEPS, search_steps=1))
    except RecursionError:
        return "nested too deeply"
    except TooMuchWorkError as problem:
        return str(problem)
    return error and error[:_LONGEST_PROBLEM]


def schema_problem(schema: Mapping[str, Any], value: Any) -> str | None:
    """Where `value` departs from `schema`, or why that cannot be told; None where it does not."""

    try:
        work = SchemaWork(_STEPS, search_steps=1 + len(json.dumps(schema)) // _SEARCHED)
        error = value_error(schema, value, work)
    except (TooMuchWorkError, *UNFOLLOWABLE) as problem:
        error = f"the schema cannot be followed: {problem}"
    return error and error[:_LONGEST_PROBLEM]


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
