"""A pair from a small base of random weights: its own instructions, and real trainings of adapters."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from spar_core.backends.base import Backend, PassThrough
from spar_core.errors import ConfigError
from spar_core.types import Message, Sampling
from spar_training.bootstrap.verifiers.prompts.instructions import read_instructions, sample_instructions
from spar_training.bootstrap.verifiers.recipe import VerifierRecipe
from spar_training.bootstrap.verifiers.run import VerifierBootstrap
from spar_training.bootstrap.verifiers.ship import ship_adapters
from spar_training.inference.client import open_backend
from spar_training.prompt_evolution.load import SeedPrompt
from spar_training.storage.files import read_rows
from tests.support.families import build_model
from tests.support.pairs import RawScripted

TEXT = "It was cold, and nobody was about. A man came along the road.\n\nAt the end there was a house. He knocked."
JOB = {
    "learning_rate": 1e-3,
    "max_steps": 2,
    "batch_size": 2,
    "max_length": 6000,
    "lora": {"r": 4, "alpha": 8},
    "threads": 1,
}
RECIPE = VerifierRecipe.model_validate(
    {
        "name": "small",
        "publication": {"name": "theirs", "base": "somebody/Base", "license": "apache-2.0"},
        "templates": "brief",
        "in_flight": 4,
        "tasks": {"instructions": 33, "own": 40},
        "prompts_each": 2,
        "crossed": 1,
        "answers": {"tasks": 12, "temperature": 0.7, "max_tokens": 100},
        "own_answers": {"tasks": 2, "temperature": 0.7, "max_tokens": 100},
        "rows": {"answers": 8, "refinements": 6},
        "actor": JOB,
        "refiner": {**JOB, "departure_weight": 3.0},
        "validation": {"prompts": 3, "budget": 0, "max_tokens": 100},
    }
)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_model("llama3-8b", tmp_path_factory.mktemp("base") / "model")


async def test_a_bases_own_instructions_depend_only_on_the_seed(base: Path, tmp_path: Path) -> None:
    async def sampled(file: Path, seed: int) -> list[SeedPrompt]:
        async with open_backend(str(base), threads=1) as backend:
            assert isinstance(backend, PassThrough)
            await sample_instructions(base, backend, file, number=9, seed=seed, in_flight=4)
        return read_instructions(file)

    first = await sampled(tmp_path / "a.jsonl", 1)
    assert [one.id for one in first] == [f"base:{place}" for place in range(9)]
    assert len({one.text for one in first}) > 1
    # As a run that was stopped after some items leaves it.
    rows = list(read_rows(tmp_path / "a.jsonl"))[:5]
    (tmp_path / "b.jsonl.journal").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert await sampled(tmp_path / "b.jsonl", 1) == first
    assert await sampled(tmp_path / "c.jsonl", 2) != first


async def test_a_pair_of_adapters_is_trained_from_a_base(base: Path, tmp_path: Path) -> None:
    def says(messages: list[Message], sampling: Sampling) -> str:
        return f"{TEXT} {sampling.seed}."

    class Sampled(RawScripted):
        async def forward(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
            return {"choices": [{"text": f" Describe the river number {body['seed']}.\nThen stop."}]}

    @asynccontextmanager
    async def open_model(model: Path) -> AsyncIterator[Backend]:
        assert (model / "model.safetensors").exists()
        yield Sampled(says)

    said: list[str] = []
    folder = tmp_path / "run"
    run = VerifierBootstrap(
        recipe=RECIPE,
        base=base,
        folder=folder,
        seeds=(),
        benchmarks=None,
        open_model=open_model,
        print_line=said.append,
    )
    figures = await run.run()
    assert figures["pair"]["answers"].n == 3
    for role in ("actor", "refiner"):
        adapter = load_file(folder / role / "adapter" / "adapter_model.safetensors")
        assert {str(tensor.dtype) for tensor in adapter.values()} == {"torch.bfloat16"}
        assert any(line.startswith(f"{role}: step 2 of 2, loss") for line in said)
    shipped = tmp_path / "shipped"
    ship_adapters(folder, RECIPE, shipped)
    for role in ("actor", "refiner"):
        assert sorted(path.name for path in (shipped / role).iterdir()) == [
            "README.md",
            "adapter_config.json",
            "adapter_model.safetensors",
            "lineage.json",
            "training_log.json",
        ]
        texts = [path.read_text() for path in (shipped / role).iterdir() if path.suffix != ".safetensors"]
        assert not any(str(tmp_path) in text or str(base) in text for text in texts)
        assert "base_model: somebody/Base\nlicense: apache-2.0" in (shipped / role / "README.md").read_text()
    pair = json.loads((shipped / "pair.json").read_text())
    assert pair == {"name": "theirs", "base": "somebody/Base", "templates": "brief", "max_tokens": 100}
    with pytest.raises(ConfigError, match="actor is there already"):
        ship_adapters(folder, RECIPE, shipped)
