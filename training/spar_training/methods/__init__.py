"""Training methods: how an iteration samples, judges and refines, and which training data it makes of that.

A method is a class as described by `spar_training.methods.base.Method`, and a line in `METHODS`, or, in another
package, an entry point:

    [project.entry-points."spar.methods"]
    mine = "my_package.method:MyMethod"

A recipe selects it by `method: {kind: mine}`, with the method's own settings beside `kind`.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from spar_core.validation import format_validation_error
from spar_training.methods.settings import MethodSettings

if TYPE_CHECKING:
    from spar_training.methods.base import Method
    from spar_training.runs.recipe import Recipe

ENTRY_POINTS: Final = "spar.methods"
# Imported when they are used: a method imports the recipe, and the recipe looks up the settings of its method here.
METHODS: Final[Mapping[str, str]] = {
    "spar": "spar_training.methods.spar:Spar",
    "sampled": "spar_training.methods.sampled:Sampled",
}


def method_of(recipe: Recipe) -> Method:
    """The method that a recipe selects."""
    return _method_class(recipe.method.kind)(recipe)


def parse_settings(values: object) -> MethodSettings:
    """The settings of the method that `values["kind"]` names.

    Raises:
        ValueError: there is no such method, or a key or a value is invalid.
    """
    if isinstance(values, MethodSettings):
        return values
    if not isinstance(values, Mapping) or not isinstance(values.get("kind"), str):
        raise ValueError("must be a mapping with a kind, such as {kind: spar}")
    model = _method_class(values["kind"]).settings
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise ValueError(format_validation_error(error, whole="method", model=model)) from error


def _method_class(kind: str) -> type[Method]:
    found: Any = None
    if kind in METHODS:
        found = resolve_name(METHODS[kind])
    else:
        others = {entry.name: entry for entry in entry_points(group=ENTRY_POINTS)}
        if kind not in others:
            known = ", ".join(sorted({*METHODS, *others}))
            raise ValueError(f"kind: there is no method {kind!r}; there are {known}")
        try:
            found = others[kind].load()
        except (ImportError, AttributeError) as error:
            raise ValueError(f"kind: the method {kind!r} cannot be imported: {error}") from error
    method: type[Method] = found
    return method
