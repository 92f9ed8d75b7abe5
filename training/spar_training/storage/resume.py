"""The settings that a folder's work was begun with: a run that is resumed must not mix two kinds of work."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spar_core.errors import ConfigError, DataError
from spar_training.storage.files import write_json


def check_settings(path: Path, settings: Mapping[str, Any]) -> None:
    """Write `settings`, plain JSON, at the first run; at later ones hold them against what was written.

    Raises:
        ConfigError: they differ; names each key with both values.
        DataError: the file is damaged.
    """
    if not path.exists():
        write_json(path, settings)
        return
    try:
        before = {**json.loads(path.read_text(encoding="utf-8"))}
    except (ValueError, TypeError) as error:
        raise DataError(f"{path}: damaged ({error}); remove the folder, or give another --out") from error
    now = json.loads(json.dumps(settings))
    if differing := sorted(key for key in {*before, *now} if before.get(key) != now.get(key)):
        told = "; ".join(f"{key} was {_short(before.get(key))}, is {_short(now.get(key))}" for key in differing)
        raise ConfigError(
            f"{path.parent} holds work with other settings: {told}. Give another --out, or the old settings"
        )


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
