"""Pydantic models and types for configuration files and requests, and their errors in one sentence."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Annotated, Any, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from spar_core.search.strategies import STRATEGIES


def _known_algorithm(name: str) -> str:
    if name not in STRATEGIES:
        raise ValueError(STRATEGIES.unknown(name))
    return name


def _list_algorithms(schema: dict[str, Any]) -> None:
    schema["enum"] = list(STRATEGIES)


AlgorithmName = Annotated[str, Field(json_schema_extra=_list_algorithms), AfterValidator(_known_algorithm)]


class StrictModel(BaseModel):
    """A frozen model that refuses keys it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def format_validation_error(error: ValidationError, *, whole: str, model: type[BaseModel] | None = None) -> str:
    """Every problem with its key; `whole` is the name of the values for problems without a key.

    With `model`, the problem of an unknown key suggests the closest known key, or lists all.
    """
    return "; ".join(
        f"{key_of(item['loc']) or whole}: "
        + (
            _unknown(item["loc"], model)
            if model and item["type"] == "extra_forbidden"
            else item["msg"].removeprefix("Value error, ")
        )
        for item in error.errors()
    )


def key_of(loc: tuple[int | str, ...]) -> str:
    """A problem's location as a dotted key: `search.budget`."""
    return ".".join(map(str, loc))


def nearest_key(loc: tuple[int | str, ...], model: type[BaseModel]) -> str | None:
    """The key of `model` closest to the unknown one at `loc`, or None."""
    near = difflib.get_close_matches(str(loc[-1]), _known_keys(loc, model), n=1)
    return near[0] if near else None


def _unknown(loc: tuple[int | str, ...], model: type[BaseModel]) -> str:
    near = nearest_key(loc, model)
    return "there is no such key; " + (
        f"did you mean {near}?" if near else f"there are {', '.join(_known_keys(loc, model))}"
    )


def _known_keys(loc: tuple[int | str, ...], model: type[BaseModel]) -> list[str]:
    for part in loc[:-1]:
        field = model.model_fields.get(str(part))
        model = next(_models(field.annotation), model) if field else model
    return list(model.model_fields)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models in a field's type."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)
