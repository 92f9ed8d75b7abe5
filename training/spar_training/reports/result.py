"""The result of a measurement as JSON: its figures, models, configuration, versions, and the outcome of every item.

    result = Result(name="ifeval", config=config, models=models, figures=figures, items=rows)
    write_result(folder / "result.json", result)

Reports and later comparisons read results again, so a result records everything in which two runs may differ.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from spar_core.errors import DataError
from spar_training.reports.intervals import Interval
from spar_training.storage.files import Row, write_json
from spar_training.storage.provenance import versions

_KINDS: Final = {"name": str, "config": dict, "models": dict, "figures": dict, "items": list, "versions": dict}


@dataclass(frozen=True, kw_only=True)
class Result:
    """The result of one run.

    `config` includes the seed. `models` holds the lineage of each role's model, from `model_lineage` or its server.
    `items` holds one row per item, each with its `id`.
    """

    name: str
    config: Mapping[str, Any]
    models: Mapping[str, Mapping[str, Any]]
    figures: Mapping[str, Interval | float]
    items: Sequence[Row]
    versions: Mapping[str, str] = field(default_factory=versions)


def write_result(path: Path, result: Result) -> None:
    """Write a result atomically.

    Raises:
        DataError: the file cannot be written.
    """
    figures = {
        name: _plain(asdict(value)) if isinstance(value, Interval) else value for name, value in result.figures.items()
    }
    write_json(path, {**asdict(result), "figures": figures})


def read_result(path: Path) -> Result:
    """Read a result.

    Raises:
        DataError: there is no such file, or it is not a result.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except ValueError as error:
        raise DataError(f"{path}: not JSON ({error}); give a file that `spar eval ... --out` wrote") from error
    for key, kind in _KINDS.items():
        if not isinstance(data, dict) or not isinstance(data.get(key), kind):
            raise DataError(f"{path}: not a result: {key} is missing; give a file that `spar eval ... --out` wrote")
    figures = {name: _figure(value) if isinstance(value, dict) else value for name, value in data["figures"].items()}
    return Result(**{**{key: data[key] for key in _KINDS}, "figures": figures})


def _plain(figure: dict[str, float]) -> dict[str, float | None]:
    """Replace NaN, which JSON lacks, by null: the figure of no items."""
    return {name: None if math.isnan(value) else value for name, value in figure.items()}


def _figure(stored: dict[str, Any]) -> Interval:
    mean, low, high = (math.nan if stored[name] is None else stored[name] for name in ("mean", "low", "high"))
    return Interval(mean, low, high, stored["n"])


def model_lineage(folder: Path) -> dict[str, Any]:
    """Return a local model's folder, with its `lineage.json` or else its `recipe.json` if it has one."""
    for name in ("lineage.json", "recipe.json"):
        file = folder / name
        if file.exists():
            return {"folder": str(folder), name.removesuffix(".json"): json.loads(file.read_text(encoding="utf-8"))}
    return {"folder": str(folder)}
