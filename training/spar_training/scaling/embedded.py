"""A pair's folder, run by the embedded engine."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from spar_core.cores import usable_cores
from spar_core.errors import ConfigError
from spar_core.shipped_pair import shipped_pair
from spar_training.reports.result import of_folder
from spar_training.scaling.stage import Pair

_SLOTS: Final = 384


@dataclass(frozen=True)
class Embedded:
    """`folder` has `actor/` and `refiner/`; None is the shipped pair."""

    pair: Path | None

    @property
    def folder(self) -> Path:
        return self.pair or shipped_pair()

    @property
    def name(self) -> str:
        return str(self.pair or "the shipped pair")

    @cached_property
    def identities(self) -> list[str]:
        return [weights_digest(self.folder / role) for role in ("actor", "refiner")]

    @property
    def config(self) -> Mapping[str, Any]:
        return {}

    @property
    def lineage(self) -> Mapping[str, Mapping[str, Any]]:
        return {
            role: {**of_folder(self.folder / role), "weights": weights}
            for role, weights in zip(("actor", "refiner"), self.identities, strict=True)
        }

    @asynccontextmanager
    async def opened(self, *, searches: int | None) -> AsyncIterator[Pair]:
        from transformers import AutoTokenizer
        from transformers.utils.logging import disable_progress_bar

        from spar_core.backends.local import LocalBackend, LocalEngine

        disable_progress_bar()
        wide: dict[str, Any] = (
            {"max_slots": min(_SLOTS, 4 * searches), "threads": usable_cores()} if searches is not None else {}
        )
        tokenizer = AutoTokenizer.from_pretrained(self.folder / "refiner")
        actor = LocalBackend(LocalEngine(self.folder / "actor", **wide), "actor")
        refiner = LocalBackend(LocalEngine(self.folder / "refiner", **wide), "refiner")
        try:
            yield Pair(
                actor=actor,
                refiner=refiner,
                actor_identity=self.identities[0],
                refiner_identity=self.identities[1],
                # And the token that ends it.
                count=lambda text: len(tokenizer.encode(text)) + 1,
            )
        finally:
            await actor.aclose()
            await refiner.aclose()


def weights_digest(folder: Path) -> str:
    """A digest of a model's weights and tokenizer: what its completions are a function of.

    Raises:
        ConfigError: there is no model in the folder.
    """
    shards = sorted([*folder.glob("*.safetensors"), *folder.glob("tokenizer.json"), *folder.glob("*.jinja")])
    if not any(shard.suffix == ".safetensors" for shard in shards):
        raise ConfigError(f"{folder}: no model here; --pair takes a folder with actor/ and refiner/")
    digest = hashlib.sha256()
    for shard in shards:
        with shard.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]
