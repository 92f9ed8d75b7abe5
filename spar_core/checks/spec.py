"""A check type as data: its kwargs, its wording as a requirement, and its test."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from reprlib import repr as shortened
from typing import Any, Final, TypeVar

from spar_core.checks.base import Finding
from spar_core.errors import RequestError

# The most words of one check: each is searched for in every candidate.
_MOST_WORDS: Final = 1000

Kwargs = Mapping[str, Any]
Convert = Callable[[Any], Any]
Test = Callable[[str, Kwargs], Finding]


@dataclass(frozen=True, slots=True)
class CheckSpec:
    """One type of check.

        CheckSpec(
            "acme:no_digits",
            lambda kwargs: "no digits",
            lambda response, kwargs: Finding(not any(map(str.isdigit, response)), "looked for digits"),
        )

    `parameters` maps each kwarg to a converter that raises ValueError with what it accepts. `clash` returns a kwarg
    that no response could meet together with the others, and what it must be instead. `passes` is the test's cost in
    searches of the whole response for one word.
    """

    id: str
    requirement: Callable[[Kwargs], str]
    test: Test
    parameters: Mapping[str, Convert] = field(default_factory=dict)
    clash: Callable[[Kwargs], tuple[str, str] | None] = lambda _: None
    passes: Callable[[Kwargs], int] = lambda _: 3


@dataclass(frozen=True, slots=True)
class BoundCheck:
    """A check type bound to its kwargs; implements `Check`."""

    spec: CheckSpec
    kwargs: Mapping[str, Any]

    @property
    def id(self) -> str:
        return self.spec.id

    def requirement(self) -> str:
        return self.spec.requirement(self.kwargs)

    def work(self, response: str) -> int:
        return len(response) * self.spec.passes(self.kwargs)

    def find(self, response: str) -> Finding:
        if not response.strip():
            return Finding(False, "empty response")
        return self.spec.test(response, self.kwargs)


def bind(spec: CheckSpec, kwargs: Mapping[str, Any]) -> BoundCheck:
    """Validate kwargs; None values are dropped, because IFEval's rows have them.

    Raises:
        RequestError: a kwarg is unknown, missing or of the wrong kind; `param` is its name.
    """
    present = {name: value for name, value in kwargs.items() if value is not None}
    takes = ", ".join(spec.parameters) or "none"
    for name in present:
        if name not in spec.parameters:
            raise RequestError(f"{spec.id} has no kwarg {name!r}; it takes: {takes}", param=name)
    bound: dict[str, Any] = {}
    for name, convert in spec.parameters.items():
        if name not in present:
            raise RequestError(f"{spec.id} needs the kwarg {name!r}; it takes: {takes}", param=name)
        try:
            bound[name] = convert(present[name])
        except ValueError as error:
            raise _wrong(spec, name, str(error), present[name]) from error
    if clash := spec.clash(bound):
        name, wanted = clash
        raise _wrong(spec, name, wanted, present[name])
    return BoundCheck(spec, bound)


def _wrong(spec: CheckSpec, name: str, wanted: str, value: Any) -> RequestError:
    return RequestError(f"{spec.id}: {name} must be {wanted}, not {shortened(value)}", param=name)


_SCHEMAS: Final[dict[Convert, Mapping[str, Any]]] = {}
_C = TypeVar("_C", bound=Convert)


def accepts(**schema: Any) -> Callable[[_C], _C]:
    """Describe what a converter accepts, as JSON Schema with examples; for those who choose a check from a list."""

    def describe(convert: _C) -> _C:
        _SCHEMAS[convert] = schema
        return convert

    return describe


def schema_of(convert: Convert) -> Mapping[str, Any]:
    """What a converter accepts; empty if it does not say."""
    return _SCHEMAS.get(convert, {})


@accepts(type="integer", minimum=0, examples=[2, 3])
def whole(value: Any) -> int:
    """A count: an integer of at least zero (IFEval's rows have some as 3.0)."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not _is_whole(value) or value < 0:
        raise ValueError("a whole number of at least 0")
    return int(value)


def _is_whole(value: int | float) -> bool:
    return isinstance(value, int) or value.is_integer()


@accepts(type="integer", minimum=1, examples=[2])
def positive(value: Any) -> int:
    if not (number := whole(value)):
        raise ValueError("a whole number of at least 1")
    return number


@accepts(type="string", enum=["at least", "less than"], examples=["at least"])
def relation(value: Any) -> str:
    if value not in ("at least", "less than"):
        raise ValueError("'at least' or 'less than'")
    return str(value)


@accepts(type="string", minLength=1, examples=["river", "lamp"])
def text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("a text that is not empty")
    return value


@accepts(type="string", minLength=1, maxLength=1, examples=["e"])
def letter(value: Any) -> str:
    if not isinstance(value, str) or len(value.strip()) != 1:
        raise ValueError("one character")
    return value.strip()


@accepts(type="array", items={"type": "string", "minLength": 1}, minItems=1, maxItems=_MOST_WORDS, examples=[["river"]])
def words(value: Any) -> tuple[str, ...]:
    if (
        not isinstance(value, list | tuple)
        or not 1 <= len(value) <= _MOST_WORDS
        or not all(isinstance(word, str) and word.strip() for word in value)
    ):
        raise ValueError(f"a list of 1 to {_MOST_WORDS} words that are not empty")
    return tuple(value)


def compare(count: int, wanted: int, relation: str) -> bool:
    """IFEval's two relations: `at least` and `less than`."""
    return count >= wanted if relation == "at least" else count < wanted


def amount(number: int, relation: str, noun: str, plural: str | None = None) -> str:
    """`at least 3 sentences`, `fewer than 1 word`."""
    lead = "at least" if relation == "at least" else "fewer than"
    return f"{lead} {counted(number, noun, plural)}"


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """`1 word`, `2 words`."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"
