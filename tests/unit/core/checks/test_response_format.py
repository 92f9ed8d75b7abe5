"""`response_format` as a check, with untrusted schemas and answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from spar_core.checks import Finding, format_check
from spar_core.errors import RequestError

DRAFT_07 = "http://json-schema.org/draft-07/schema#"
PATTERNED = {
    "type": "object",
    "patternProperties": {"^n": {"type": "integer"}},
    "additionalProperties": {"type": "string"},
}


def find(schema: dict[str, Any], answer: Any) -> Finding:
    """Check `answer` against `schema`; a text is used as it is, anything else as its JSON."""
    check = format_check({"type": "json_schema", "json_schema": {"name": "x", "schema": schema}})
    assert check is not None
    return check.find(answer if isinstance(answer, str) else json.dumps(answer))


def doubling(levels: int) -> dict[str, Any]:
    """A schema in which each level applies the next one twice."""
    levels_by_name = {f"l{n}": {"allOf": [{"$ref": f"#/$defs/l{n + 1}"}] * 2} for n in range(levels)}
    return {"$ref": "#/$defs/l0", "$defs": levels_by_name | {f"l{levels}": {"type": "integer"}}}


@pytest.mark.parametrize(
    ("schema", "good", "bad", "problem"),
    [
        ({"type": "array", "items": {"type": "integer"}}, [1], [1, "2"], "$[1]: '2' is not of type 'integer'"),
        ({"properties": {"a": {"pattern": "^x+$"}}}, {"a": "xx"}, {"a": "xy"}, "$.a: 'xy' does not match '^x+$'"),
        (PATTERNED, {"n1": 1, "b": "c"}, {"n1": "1"}, "$.n1: '1' is not of type 'integer'"),
        (PATTERNED, {}, {"b": 2}, "$.b: 2 is not of type 'string'"),
        (PATTERNED | {"additionalProperties": False}, {"n1": 1}, {"b": 2}, "'b' was unexpected"),
        ({"uniqueItems": True}, [[1], [2]], [[1], [1]], "non-unique"),
        ({"$ref": "#here", "$defs": {"a": {"$anchor": "here", "type": "null"}}}, None, 1, "not of type 'null'"),
        ({"multipleOf": 0.5}, 1.5, 10**400, "cannot be followed"),
        (doubling(3), 1, "x", "$: 'x' is not of type 'integer'"),
    ],
)
def test_an_answer_must_match_the_schema(schema: dict[str, Any], good: Any, bad: Any, problem: str) -> None:
    assert find(schema, json.dumps(good)).passed
    finding = find(schema, json.dumps(bad))
    assert not finding.passed
    assert problem in finding.evidence


@pytest.mark.parametrize("answer", ["NaN", "[Infinity]", '{"a": -Infinity}', "{'a': 1}", "", "[" * 100_000])
def test_python_extensions_of_json_are_refused(answer: str) -> None:
    assert find({}, answer).evidence.startswith("no JSON")


def test_a_pattern_that_could_backtrack_for_ever_is_matched_in_linear_time() -> None:
    assert not find({"pattern": "^(a+)+$"}, json.dumps("a" * 5000 + "b")).passed
    assert not find(
        {"patternProperties": {"^(a|aa)+$": False}, "additionalProperties": False}, {"a" * 99 + "b": 1}
    ).passed


@pytest.mark.parametrize("pattern", ["(?=x)y", r"(a)\1", "(((a{1,999}){1,999}){1,999}){1,999}"])
def test_a_pattern_that_cannot_be_matched_in_linear_time_is_not_checked(pattern: str) -> None:
    assert find({"pattern": pattern}, json.dumps("z")).passed


@pytest.mark.parametrize("dialect", [{}, {"$schema": DRAFT_07}])
def test_a_validation_that_takes_too_much_work_is_stopped(dialect: dict[str, Any]) -> None:
    schema = doubling(40)
    schema["$defs"]["l1"] |= dialect
    assert "too much work" in find(schema, 1).evidence


@pytest.mark.parametrize(
    ("wrong", "answer"),
    [({"type": "strin"}, 1), ({"required": 5}, {}), ({"properties": [1]}, {}), ({"multipleOf": 0}, 1), (7, 1)],
)
def test_a_reference_may_lead_to_something_other_than_a_schema(wrong: Any, answer: Any) -> None:
    finding = find({"$ref": "#/default/wrong", "default": {"wrong": wrong}}, answer)
    assert "cannot be followed" in finding.evidence


def test_a_reference_to_itself_or_to_nothing_fails_the_answer() -> None:
    for reference in ("#", "#/$defs/none", "#nowhere", "http://127.0.0.1:9/secret"):
        assert "cannot be followed" in find({"$ref": reference}, 1).evidence


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        ({"type": "strin"}, "'strin' is not valid"),
        ({"properties": {"a": {"minimum": "1"}}}, "'1' is not of type 'number'"),
        ({"multipleOf": 0}, "0"),
        ({"pattern": "("}, "regex"),
        ({"enum": ["x" * 200_000]}, "longer than 200000 characters"),
        ({"properties": {f"p{n}": {"type": "string"} for n in range(5000)}}, "too much work"),
        ({"unevaluatedProperties": False, "patternProperties": {"a": {}}}, "together"),
    ],
)
def test_a_schema_that_answers_cannot_be_checked_by_is_refused(schema: dict[str, Any], problem: str) -> None:
    with pytest.raises(RequestError, match="no JSON Schema to check answers by") as refused:
        find(schema, 1)
    assert refused.value.param == "response_format.json_schema.schema"
    assert problem in str(refused.value)
    assert len(str(refused.value)) < 700


def test_a_schema_that_is_nested_too_deeply_is_refused() -> None:
    schema: dict[str, Any] = {}
    for _ in range(5000):
        schema = {"not": schema}
    with pytest.raises(RequestError, match="nested too deeply"):
        find(schema, 1)


def test_a_large_schema_of_a_real_client_is_accepted() -> None:
    properties = {f"field_{n}": {"type": ["string", "null"], "description": "What it is for."} for n in range(500)}
    schema = {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
    assert find(schema, dict.fromkeys(properties, "x")).passed
    assert not find(schema, {}).passed
