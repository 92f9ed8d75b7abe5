"""What the tests with vLLM share: servers of the shipped pair, which take long to start, and LoRA adapters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.vllm.processes import MODELS, Server, spar_serve, vllm_server

# The small pair's longest judgement and refinement; its context is 512 tokens.
SMALL = "[refine]\njudge_max_tokens = 160\nrefine_max_tokens = 160\n"


@dataclass(frozen=True)
class Adapters:
    """LoRA adapters of the shipped actor."""

    actor: Path
    refiner: Path


@dataclass(frozen=True)
class Fleet:
    """vLLM's own servers: two of the actor, the first with the adapters besides, and one of the refiner."""

    actor: Server
    replica: Server
    refiner: Server


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For logs and settings."""
    folder = tmp_path_factory.mktemp("servers")
    (folder / "small.toml").write_text(SMALL)
    return folder


@pytest.fixture(scope="session")
def adapters(folder: Path) -> Adapters:
    from tests.vllm.adapters import write_adapter

    actor = write_adapter(folder / "actor-lora", MODELS / "actor", seed=1)
    return Adapters(actor, write_adapter(folder / "refiner-lora", MODELS / "actor", seed=2))


@pytest.fixture(scope="session")
def fleet(folder: Path, adapters: Adapters) -> Iterator[Fleet]:
    lora = (
        "--enable-lora", "--max-loras", "2", "--max-lora-rank", "8",
        "--lora-modules", f"actor-lora={adapters.actor}", f"refiner-lora={adapters.refiner}",
    )  # fmt: skip
    servers = (
        vllm_server(folder, "actor", MODELS / "actor", *lora),
        vllm_server(folder, "actor", MODELS / "actor"),
        vllm_server(folder, "refiner", MODELS / "refiner"),
    )
    try:
        for server in servers:
            server.start()
        for server in servers:
            server.wait()
        yield Fleet(*servers)
    finally:
        for server in servers:
            server.kill()


@pytest.fixture(scope="session")
def gateway(folder: Path, fleet: Fleet) -> Iterator[Server]:
    """`spar serve` in front of the pair."""
    flags = (
        "--actor-url", f"{fleet.actor.url}/v1", "--actor-model", "actor",
        "--refiner-url", f"{fleet.refiner.url}/v1", "--refiner-model", "refiner",
        "--templates", "compact", "--model", "pair", "--config", str(folder / "small.toml"),
    )  # fmt: skip
    with spar_serve(folder, *flags) as server:
        yield server
