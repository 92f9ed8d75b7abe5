"""The engines of a pair whose models run in this process."""

from __future__ import annotations

from dataclasses import dataclass

from spar_core.backends.in_process.backend import Engine
from spar_core.backends.in_process.opening import EngineLimits, open_model
from spar_core.model_folder import PairFolder


@dataclass(frozen=True, slots=True)
class RoleEngines:
    """The same engine twice where one model, with the same adapter, is both."""

    actor: Engine
    refiner: Engine


def open_roles(pair: PairFolder, *, device: str, cache_mib: int) -> RoleEngines:
    """Load a pair's models; what both roles run on is loaded once. `cache_mib` is the bound of both together.

    Raises:
        ConfigError: one cannot be run here.
    """
    if pair.actor.model == pair.refiner.model:
        adapters = [adapter for adapter in (pair.actor.adapter, pair.refiner.adapter) if adapter is not None]
        opened = open_model(
            pair.actor.model, device=device, adapters=adapters, limits=EngineLimits(cache_mib=cache_mib)
        )
        return RoleEngines(opened.adapted(pair.actor.adapter), opened.adapted(pair.refiner.adapter))
    engines = []
    for role in (pair.actor, pair.refiner):
        adapters = [role.adapter] if role.adapter else []
        opened = open_model(
            role.model, device=device, adapters=adapters, limits=EngineLimits(cache_mib=max(1, cache_mib // 2))
        )
        engines.append(opened.adapted(role.adapter))
    return RoleEngines(*engines)
