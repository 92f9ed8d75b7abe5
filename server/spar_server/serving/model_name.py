"""The names that clients give models: the pair's own, an alias of the settings, and either with `@N` for a budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from spar_core.errors import ConfigError, RequestError
from spar_server.errors import ApiError
from spar_server.schemas import RefineOptions
from spar_server.settings import ApiKey, Limits, ModelAlias

Aliases = Mapping[str, ModelAlias]
_NO_ALIASES: Final[Aliases] = {}


@dataclass(frozen=True, slots=True)
class ModelName:
    """A requested model: its `name` without a budget, N of `NAME@N` as `suffix`, and the `alias` if it is one."""

    name: str
    suffix: str | None = None
    alias: ModelAlias | None = None

    @property
    def default_budget(self) -> int | None:
        """The alias's budget, for requests that name none."""
        return None if self.alias is None else self.alias.refine_budget

    @property
    def locks_budget(self) -> bool:
        return self.alias is not None and self.alias.locked and self.alias.refine_budget is not None

    def locked_error(self, field: str) -> RequestError:
        return RequestError(f"{field}: the model {self.name!r} sets it; remove it", param=field)

    def options(self, requested: RefineOptions, key: ApiKey, limits: Limits) -> RefineOptions:
        """The request's options, with the alias's where it has none. The alias's votes respect the key's limit.

        Raises:
            RequestError: the request sets an option that a locked alias sets; names it.
        """
        if self.alias is None:
            return requested
        own = {name for name in requested.model_fields_set if getattr(requested, name) is not None}
        added: dict[str, Any] = {}
        for name, value in self.alias.options().items():
            if name not in own:
                added[name] = value
            elif self.alias.locked:
                raise self.locked_error(f"refine.{name}")
        if "votes" in added:
            added["votes"] = min(added["votes"], limits.max_votes, key.max_votes or limits.max_votes)
        return requested.model_copy(update=added) if added else requested


def find_model(requested: str, pair: str, aliases: Aliases = _NO_ALIASES) -> ModelName:
    """Find the model that `requested` names; `pair` is the pair's own name. A name can contain an @ itself.

    Raises:
        ApiError: 404; there is no such model.
    """
    if requested == pair:
        return ModelName(pair)
    if requested in aliases:
        return ModelName(requested, None, aliases[requested])
    name, at, suffix = requested.rpartition("@")
    if at and (name == pair or name in aliases):
        return ModelName(name, suffix, aliases.get(name))
    known = ", ".join(map(repr, (pair, *aliases)))
    raise ApiError(
        404,
        f"the model {requested[:80]!r} does not exist; this server has {known} (and {pair}@N for a budget of N)",
        param="model",
        code="model_not_found",
    )


def check_aliases(aliases: Aliases, pair: str) -> None:
    """Raise ConfigError if an alias hides the pair, or another name with a budget."""
    if pair in aliases:
        raise ConfigError(f"models.{pair}: the pair's own name; choose another, or set its defaults in [refine]")
    for name in aliases:
        if "@" in name or name != name.strip() or not name:
            raise ConfigError(f"models.{name}: not a name for a model; leave out @ and spaces around it")
