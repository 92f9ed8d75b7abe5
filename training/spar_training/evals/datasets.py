"""Locate the benchmarks' data sets: in the user's folder, or in a data set repository that the user names.

Nothing else is downloaded. The folder or repository holds `ifeval/input_data.jsonl`, `followbench/*_constraints.json`,
`llmbar/{Natural,Adversarial/*}/dataset.json`, `gsm8k/test.jsonl`, `triviaqa/*.jsonl`, `mmlu/{dev,test}/*.csv` and
`humaneval/HumanEval.jsonl.gz`, as their authors publish them; a benchmark needs only its own files.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from spar_core.errors import ConfigError, DataError

VARIABLE = "SPAR_DATA"
_HUB: Final = "hf:"
_KINDS: Final = {str: "text", int: "a whole number"}


def data_folder(folder: Path | None) -> Path:
    """Return `folder`, or by default that of the environment variable SPAR_DATA.

    `hf:OWNER/NAME`, optionally with `@REVISION`, is a data set repository on the Hugging Face Hub or at `HF_ENDPOINT`;
    it is fetched once, into the Hub's own cache.

    Raises:
        ConfigError: neither is set, there is no such folder, or the repository cannot be fetched.
    """
    folder = folder or (Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None)
    if folder is None:
        raise ConfigError(f"--data is needed: the folder with the data sets, or hf:OWNER/NAME (or set {VARIABLE})")
    if str(folder).startswith(_HUB):
        return _fetch(str(folder).removeprefix(_HUB))
    if not folder.is_dir():
        raise ConfigError(f"--data {folder}: no such folder")
    return folder


def _fetch(repository: str) -> Path:
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
    except ImportError as error:
        raise ConfigError("--data hf:...: needs pip install 'spar-server[training]'") from error
    name, _, revision = repository.partition("@")
    try:
        return Path(snapshot_download(name, repo_type="dataset", revision=revision or None))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ConfigError(f"--data {_HUB}{repository}: cannot be fetched ({reason})") from error


def data_file(folder: Path, name: str) -> Path:
    """Return the path of a file in the folder.

    Raises:
        ConfigError: there is no such file.
    """
    file = folder / name
    if not file.is_file():
        raise ConfigError(f"{file}: no such file; --data must be the folder that holds {name}")
    return file


def read_list(file: Path, needs: Mapping[str, type]) -> list[dict[str, Any]]:
    """Read a JSON file that is a list of objects, each with the keys of `needs` and values of their types.

    Raises:
        DataError: it is not; names the file, the item's number and the key.
    """
    try:
        rows = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{file}: not JSON ({error})") from error
    if not isinstance(rows, list):
        raise DataError(f"{file}: must be a list of objects")
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict) or any(key not in row for key in needs):
            raise DataError(f"{file}, item {number}: must be an object with {', '.join(needs)}")
        for key, kind in needs.items():
            if not isinstance(row[key], kind):
                raise DataError(f"{file}, item {number}: {key} must be {_KINDS[kind]}, is {row[key]!r}")
    return rows
