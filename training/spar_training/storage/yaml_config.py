"""Read settings from YAML: files shipped with the package, known by name, or files of the user.

file, study = load_config(Study, "small-pair", folder=STUDIES, what="study")
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from spar_core.errors import ConfigError
from spar_core.validation import format_validation_error

M = TypeVar("M", bound=BaseModel)


def load_config(model: type[M], name_or_file: str, *, folder: Path, what: str) -> tuple[Path, M]:
    """The file and its values. `folder` holds the shipped files, and `what` is the noun for errors.

    Raises:
        ConfigError: there is no such file, it is not YAML, or a key or a value is invalid; names it.
    """
    file = find_config(name_or_file, folder=folder, what=what)
    try:
        return file, model.model_validate(read_yaml(file))
    except ValidationError as error:
        raise ConfigError(f"{file}: {format_validation_error(error, whole=what, model=model)}") from error


def find_config(name_or_file: str, *, folder: Path, what: str) -> Path:
    """The shipped file of that name, or else the user's file.

    Raises:
        ConfigError: there is neither.
    """
    shipped = folder / f"{name_or_file}.yaml"
    file = shipped if shipped.is_file() else Path(name_or_file)
    if not file.is_file():
        names = ", ".join(shipped_names(folder))
        raise ConfigError(f"{name_or_file}: neither a shipped {what} ({names}) nor a file")
    return file


def shipped_names(folder: Path) -> list[str]:
    """The names of the files in a folder."""
    return sorted(file.stem for file in folder.glob("*.yaml"))


def read_yaml(file: Path) -> Any:
    """The values in a file.

    Raises:
        ConfigError: it cannot be read, or is not YAML.
    """
    try:
        return yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: not YAML: {error}") from error
