"""One run's result as JSON: what was measured, on what, how, and every item's outcome.

A result is read again by reports and compared with by later runs, so it carries all that tells two runs apart.
"""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from spar_core.errors import DataError
from spar_training.reports.intervals import Interval
from spar_training.storage.files import Row, write_json

# What a figure may depend on besides the model.
_PACKAGES: Final = ("spar-server", "torch", "transformers", "vllm", "lm-eval", "langdetect")
_KINDS: Final = {"name": str, "config": dict, "models": dict, "figures": dict, "items": list, "versions": dict}


@dataclass(frozen=True, kw_only=True)
class Result:
    """One run. `config` holds the seed; `models` tells of each role's model what `of_folder` or a server tells.

    `items` are the outcomes item by item, each with its `id`.
    """

    name: str
    config: Mapping[str, Any]
    models: Mapping[str, Mapping[str, Any]]
    figures: Mapping[str, Interval | float]
    items: Sequence[Row]
    versions: Mapping[str, str] = field(default_factory=lambda: installed())


def write_result(path: Path, result: Result) -> None:
    """Keep a result; the file is whole or as it was before.

    Raises:
        DataError: it cannot be written.
    """
    figures = {
        name: _plain(asdict(value)) if isinstance(value, Interval) else value for name, value in result.figures.items()
    }
    write_json(path, {**asdict(result), "figures": figures})


def read_result(path: Path) -> Result:
    """A result that was kept.

    Raises:
        DataError: there is no such file, or it is no result.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except ValueError as error:
        raise DataError(f"{path}: not JSON ({error}); give a file that `spar eval ... --out` wrote") from error
    for key, kind in _KINDS.items():
        if not isinstance(data, dict) or not isinstance(data.get(key), kind):
            raise DataError(f"{path}: no result: {key} is missing; give a file that `spar eval ... --out` wrote")
    figures = {name: _figure(value) if isinstance(value, dict) else value for name, value in data["figures"].items()}
    return Result(**{**{key: data[key] for key in _KINDS}, "figures": figures})


def _plain(figure: dict[str, float]) -> dict[str, float | None]:
    """JSON has no NaN: a figure of no items is null."""
    return {name: None if math.isnan(value) else value for name, value in figure.items()}


def _figure(kept: dict[str, Any]) -> Interval:
    mean, low, high = (math.nan if kept[name] is None else kept[name] for name in ("mean", "low", "high"))
    return Interval(mean, low, high, kept["n"])


def of_folder(folder: Path) -> dict[str, Any]:
    """A local model's lineage: its folder, and what `lineage.json` or else `recipe.json` in it says of its making."""
    for name in ("lineage.json", "recipe.json"):
        file = folder / name
        if file.exists():
            return {"folder": str(folder), name.removesuffix(".json"): json.loads(file.read_text(encoding="utf-8"))}
    return {"folder": str(folder)}


def installed() -> dict[str, str]:
    """The versions of Python and of the packages that figures may depend on, where installed."""
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions
