"""The guard against resuming work under other settings, so that no folder mixes the results of two.

check_settings(out / "settings.json", {"model": "small", "seed": 1})     # the first call writes, later ones compare
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from spar_core.errors import ConfigError, DataError
from spar_training.storage.files import write_json

_SHOWN_CHARACTERS: Final = 60


@dataclass(frozen=True, slots=True)
class Difference:
    """A setting, by its dotted key, that is no longer what it was. Reads `search.budget was 6, is 9`."""

    key: str
    before: Any
    now: Any

    def __str__(self) -> str:
        return f"{self.key} was {_short(self.before)}, is {_short(self.now)}"


def check_settings(path: Path, settings: Mapping[str, Any]) -> None:
    """Write `settings` (plain JSON values) to `path` on the first call; on later ones require the same settings.

    Raises:
        ConfigError: the settings differ; names each key with both values.
        DataError: the file is damaged.
    """
    if not path.exists():
        write_json(path, settings)
    elif differing := find_differences(_read(path), settings):
        raise other_settings(path.parent, differing, "Give another --out, or the old settings")


def find_differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[Difference]:
    """The settings that differ, mappings key by key; values are compared as JSON, so a tuple equals a list."""
    return list(_differing(before, json.loads(json.dumps(now))))


def other_settings(folder: Path, differing: Sequence[Difference], remedy: str) -> ConfigError:
    """The error for work in `folder` that was started with other settings; `remedy` is a sentence without its stop."""
    changes = "; ".join(map(str, differing))
    return ConfigError(f"{folder} holds work with other settings: {changes}. {remedy}")


def _read(path: Path) -> dict[str, Any]:
    try:
        return {**json.loads(path.read_text(encoding="utf-8"))}
    except (ValueError, TypeError) as error:
        raise DataError(f"{path}: damaged ({error}); remove the folder, or give another --out") from error


def _differing(before: Mapping[str, Any], now: Mapping[str, Any], under: str = "") -> Iterator[Difference]:
    for key in {**before, **now}:
        was, value = before.get(key), now.get(key)
        if isinstance(was, Mapping) and isinstance(value, Mapping):
            yield from _differing(was, value, f"{under}{key}.")
        elif was != value:
            yield Difference(f"{under}{key}", was, value)


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 3]}..."
