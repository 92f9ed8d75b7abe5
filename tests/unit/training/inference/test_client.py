"""Models that jobs open: in this process they stay within the machine's memory, however many calls are in flight."""

from __future__ import annotations

import pytest

from spar_core.errors import ConfigError
from spar_core.model_folder import shipped_pair
from spar_core.types import Message, Sampling
from spar_training.inference.client import open_backend


async def test_the_cache_of_a_jobs_model_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spar_training.inference.client.physical_memory_mib", lambda: 80)
    async with open_backend(str(shipped_pair() / "actor"), in_flight=4096) as backend:
        engine = backend.engine.engine  # type: ignore[attr-defined]
        assert engine._blocks.most * engine._model.block_bytes <= 10 * 2**20
        completion = await backend.complete([Message("user", "hi")], Sampling(max_tokens=4, seed=1))
    assert completion.usage.completion_tokens


async def test_an_adapter_is_refused_with_the_command_that_merges_it() -> None:
    adapter = shipped_pair() / "spar-135m" / "actor"
    with pytest.raises(ConfigError, match=f"an adapter, .*: spar train merge {adapter} --out FOLDER"):
        async with open_backend(str(adapter)):
            pass
