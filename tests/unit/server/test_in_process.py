"""The engines of a pair in this process."""

from __future__ import annotations

import pytest

from spar_core.backends.in_process import opening
from spar_core.backends.local import LocalEngine
from spar_core.backends.openvino.engine import AdaptedEngine
from spar_core.model_folder import load_folder, shipped_pair
from spar_server.models.in_process import open_roles


@pytest.mark.parametrize("engine", ["openvino", "transformers"])
def test_a_model_with_both_roles_is_loaded_once(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "_is_installed", lambda *modules: engine in modules)
    roles = open_roles(load_folder(shipped_pair() / "actor"), device="cpu", cache_mib=8)
    roles.actor.close()
    if engine == "transformers":
        assert isinstance(roles.actor, LocalEngine)
        assert roles.actor is roles.refiner
    else:
        assert isinstance(roles.actor, AdaptedEngine)
        assert isinstance(roles.refiner, AdaptedEngine)
        assert roles.actor.engine is roles.refiner.engine
