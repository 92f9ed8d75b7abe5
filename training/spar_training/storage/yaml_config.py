"""Settings in YAML: shipped with the package and known by a name, or in a file of the user's."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from spar_core.errors import ConfigError
from spar_core.validation import format_validation_error

M = TypeVar("M", bound=BaseModel)


def load_config(model: type[M], name_or_file: str, *, folder: Path, what: str) -> tuple[Path, M]:
    """The file and its values; `folder` holds those that are shipped, and `what` is what one of them is called.

    Raises:
        ConfigError: there is none, it is not YAML, or a key or a value is wrong; names it.
    """
    shipped = folder / f"{name_or_file}.yaml"
    file = shipped if shipped.is_file() else Path(name_or_file)
    try:
        return file, model.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
    except (FileNotFoundError, IsADirectoryError) as error:
        names = ", ".join(sorted(one.stem for one in folder.glob("*.yaml")))
        raise ConfigError(f"{name_or_file}: neither a shipped {what} ({names}) nor a file") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: not YAML: {error}") from error
    except ValidationError as error:
        raise ConfigError(f"{file}: {format_validation_error(error, whole=what, model=model)}") from error
