"""The folder for downloads and for files derived from them."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def cache_folder() -> Path:
    """`$SPAR_CACHE`, or the platform's cache folder. It may not exist yet."""
    if chosen := os.environ.get("SPAR_CACHE"):
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "spar"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "spar"
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "spar"
