"""Registries of named variants: the built-in ones, and those that installed packages add by entry points.

    STRATEGIES = Registry("spar.strategies", {"bfs": bfs, "dfs": dfs}, kind="strategy")

A package adds a variant in its own pyproject.toml; it is imported when it is first used:

    [project.entry-points."spar.strategies"]
    mcts = "acme_search:mcts"
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterator, Mapping
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from spar_core.errors import ConfigError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

T = TypeVar("T")


class Registry(Mapping[str, T], Generic[T]):
    """A read-only mapping from names to variants; `group` is the entry points' group, `kind` the noun for errors.

    A built-in variant may be written as "module:name", which is imported on first use. Iterating lists all names
    without importing any plugin: built-in names first, then those of entry points, sorted. A lookup imports the plugin
    and raises ConfigError if that fails. Every use raises ConfigError if two packages, or a package and the built-in
    variants, claim the same name.
    """

    def __init__(self, group: str, builtin: Mapping[str, T | str], *, kind: str) -> None:
        self.group = group
        self.kind = kind
        self._builtin = dict(builtin)
        self._path: tuple[str, ...] | None = None
        self._plugins: dict[str, EntryPoint] = {}
        self._loaded: dict[str, T] = {}

    def __getitem__(self, name: str) -> T:
        plugins = self._entry_points()
        if name not in self._loaded:
            self._loaded[name] = self._load(plugins[name]) if name in plugins else self._resolve(self._builtin[name])
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter([*self._builtin, *sorted(self._entry_points())])

    def __len__(self) -> int:
        return len(self._builtin) + len(self._entry_points())

    def __contains__(self, name: object) -> bool:
        return name in self._entry_points() or name in self._builtin

    def find(self, name: str) -> T:
        """The variant of this name.

        Raises:
            ConfigError: there is none, or it cannot be imported; the message lists the known names.
        """
        if name not in self:
            raise ConfigError(self.unknown(name))
        return self[name]

    def unknown(self, name: str) -> str:
        """The message for a name that is not registered."""
        near = difflib.get_close_matches(name, list(self), n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        known = ", ".join(map(repr, self)) or f"none; a package registers one by the entry point {self.group!r}"
        return f"there is no {self.kind} {name[:80]!r}; {hint}known: {known}"

    def _entry_points(self) -> dict[str, EntryPoint]:
        """The plugins by name; read again only if the import path has changed."""
        path = tuple(sys.path)
        if path != self._path:
            self._plugins = self._read_entry_points()
            self._path = path
            self._loaded.clear()
        return self._plugins

    def _read_entry_points(self) -> dict[str, EntryPoint]:
        # Imported here because most programs that import the registry never look a plugin up.
        from importlib.metadata import entry_points

        found: dict[str, EntryPoint] = {}
        for entry in entry_points(group=self.group):
            if entry.name in self._builtin:
                raise ConfigError(
                    f"{_package(entry)}: its {self.kind} {entry.name!r} has the name of a built-in one; rename it"
                )
            other = found.setdefault(entry.name, entry)
            if other.value != entry.value:
                raise ConfigError(
                    f"{_package(other)} and {_package(entry)} both register the {self.kind} {entry.name!r}; "
                    "rename one, or uninstall one"
                )
        return found

    @staticmethod
    def _resolve(variant: T | str) -> Any:
        return resolve_name(variant) if isinstance(variant, str) else variant

    def _load(self, entry: EntryPoint) -> Any:
        try:
            return entry.load()
        except (ImportError, AttributeError) as error:
            raise ConfigError(f"{_package(entry)}: its {self.kind} {entry.name!r} {_reason(entry, error)}") from error


def _reason(entry: EntryPoint, error: ImportError | AttributeError) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name != entry.module:
        return f"needs {error.name}, which is not installed; install the extra that contains it"
    return f"cannot be loaded from {entry.value}: {error}"


def _package(entry: EntryPoint) -> str:
    return f"the package {entry.dist.name!r}" if entry.dist else f"the module {entry.module!r}"
