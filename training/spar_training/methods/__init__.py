"""Training methods: how an iteration samples, judges and refines, and which training data it makes of that.

A method is a class as described by `spar_training.methods.base.Method`, and a line in `METHODS`, or, in another
package, an entry point:

    [project.entry-points."spar.methods"]
    mine = "my_package.method:MyMethod"

A recipe selects it by `method: {kind: mine}`, with the method's own settings beside `kind`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from spar_core.errors import ConfigError
from spar_core.plugins import Registry
from spar_core.validation import format_validation_error
from spar_training.methods.settings import MethodSettings

if TYPE_CHECKING:
    from spar_training.methods.base import Method
    from spar_training.runs.recipe import Recipe

# Imported when they are used: a method imports the recipe, and the recipe looks up the settings of its method here.
METHODS: Final[Registry[type[Method]]] = Registry(
    "spar.methods",
    {
        "spar": "spar_training.methods.spar:Spar",
        "sampled": "spar_training.methods.sampled:Sampled",
    },
    kind="method",
)


def method_of(recipe: Recipe) -> Method:
    """The method that a recipe selects."""
    return METHODS.find(recipe.method.kind)(recipe)


def parse_settings(values: object) -> MethodSettings:
    """The settings of the method that `values["kind"]` names.

    Raises:
        ValueError: there is no such method, or a key or a value is invalid.
    """
    if isinstance(values, MethodSettings):
        return values
    if not isinstance(values, Mapping) or not isinstance(values.get("kind"), str):
        raise ValueError("must be a mapping with a kind, such as {kind: spar}")
    try:
        model = METHODS.find(values["kind"]).settings
    except ConfigError as error:
        raise ValueError(f"kind: {error}") from error
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise ValueError(format_validation_error(error, whole="method", model=model)) from error
