"""JSON Schema as a client may give it: neither it nor what is held against it costs more than so much work.

A schema is a program: `$ref`s can double the work at every level, and a pattern can backtrack for ever. Patterns run
in RE2, in linear time; those that it does not know (look-around, references back) are not checked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from spar_core.checks.schema_work import SchemaWork, TooMuchWorkError

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
    from spar_core.checks.bounded_validator import schema_error

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
    from spar_core.checks.bounded_validator import UNFOLLOWABLE, value_error

    try:
        work = SchemaWork(_STEPS, search_steps=1 + len(json.dumps(schema)) // _SEARCHED)
        error = value_error(schema, value, work)
    except (TooMuchWorkError, *UNFOLLOWABLE) as problem:
        error = f"the schema cannot be followed: {problem}"
    return error and error[:_LONGEST_PROBLEM]
