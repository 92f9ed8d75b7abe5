"""The optional dependencies of this package."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final, Literal

from spar_core.errors import ConfigError

Extra = Literal["training", "eval"]
_MODULES: Final[dict[Extra, tuple[str, ...]]] = {
    "training": ("accelerate", "datasets", "matplotlib", "peft", "trl", "yaml"),
    "eval": ("lm_eval", "nltk"),
}


def require(extra: Extra) -> None:
    """Check for the packages of an extra before long work starts.

    Raises:
        ConfigError: a package is not installed; gives the command that installs it.
    """
    if missing := [name for name in _MODULES[extra] if find_spec(name) is None]:
        raise ConfigError(f"{missing[0]} is not installed; pip install 'spar-server[{extra}]'")
