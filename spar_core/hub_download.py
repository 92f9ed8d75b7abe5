"""Download a model's files from the Hugging Face Hub: resumable, and verified by the Hub's digests."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import Request, urlopen

from spar_core.errors import ConfigError

OnProgress = Callable[[int, int], None]

_TIMEOUT_S: Final = 30
_PIECE: Final = 1 << 20


def download_files(repository: str, files: Sequence[str], folder: Path, *, on_progress: OnProgress) -> None:
    """Download `files` of a repository's main revision into `folder`; complete files are skipped.

    `$HF_ENDPOINT` is the Hub's address, `$HF_TOKEN` the token for repositories that need one.

    Raises:
        ConfigError: the Hub cannot be reached, refuses, lacks a file, or sends a file with the wrong digest.
    """
    found = _listing(repository)
    missing = [file for file in files if file not in found]
    if missing:
        raise ConfigError(f"{repository}: has no {missing[0]} at the Hub")
    total = sum(int(found[file]["size"]) for file in files)
    done = 0
    on_progress(0, total)
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        size = int(found[file]["size"])
        if not _is_there(folder / file, size):
            _download(repository, file, folder / file, found[file], partial(_report, on_progress, done, total))
        done += size
        on_progress(done, total)


def _report(on_progress: OnProgress, before: int, total: int, got: int) -> None:
    on_progress(before + got, total)


def _is_there(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _download(
    repository: str, file: str, target: Path, about: Mapping[str, Any], on_bytes: Callable[[int], None]
) -> None:
    """Download into a `.part` file, which is renamed to `target` once it is complete and verified."""
    part = target.with_name(f"{target.name}.part")
    got = part.stat().st_size if part.is_file() else 0
    size = int(about["size"])
    if got > size:
        part.unlink()
        got = 0
    if got < size:
        path = f"/{repository}/resolve/main/{quote(file)}"
        with _open(path, {"Range": f"bytes={got}-"} if got else {}) as answer, part.open("ab" if got else "wb") as out:
            if got and answer.status != 206:
                # The server does not resume downloads, so start again.
                out.truncate(0)
                got = 0
            _copy(answer, out, got, on_bytes)
    if part.stat().st_size < size:
        raise ConfigError(f"{repository}: the download of {file} was interrupted; run the command again to resume it")
    if not _matches(part, about):
        part.unlink()
        raise ConfigError(f"{repository}: {file} arrived damaged and was removed; run the command again")
    part.replace(target)


def _copy(answer: Any, out: Any, got: int, on_bytes: Callable[[int], None]) -> None:
    """Copy the answer, as far as it arrives."""
    with suppress(HTTPException, TimeoutError, ConnectionError):
        while piece := answer.read(_PIECE):
            out.write(piece)
            got += len(piece)
            on_bytes(got)


def _matches(path: Path, about: Mapping[str, Any]) -> bool:
    """Compare the SHA-256 of a large file, or git's own digest of a small one."""
    large = about.get("lfs")
    digest = hashlib.sha256() if large else hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    expected: str = large["sha256"] if large else about["blobId"]
    return digest.hexdigest() == expected


def _listing(repository: str) -> dict[str, Any]:
    with _open(f"/api/models/{repository}/revision/main?blobs=true", {}) as answer:
        try:
            listed = json.loads(answer.read())
            return {each["rfilename"]: each for each in listed["siblings"]}
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{repository}: the Hub's listing cannot be read ({error})") from error


def _open(path: str, headers: Mapping[str, str]) -> Any:
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    request = Request(endpoint + path, headers={"User-Agent": "spar-server", **headers})
    if token := os.environ.get("HF_TOKEN"):
        # The Hub redirects to other hosts, which must not get the token.
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    try:
        return urlopen(request, timeout=_TIMEOUT_S)
    except HTTPError as error:
        raise ConfigError(f"{endpoint}{path.partition('?')[0]}: the Hub answers {error.code}") from error
    except (URLError, TimeoutError, ConnectionError, HTTPException) as error:
        reason = error.reason if isinstance(error, URLError) else error
        raise ConfigError(f"{endpoint} cannot be reached ({reason})") from error
