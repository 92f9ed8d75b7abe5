"""Adapters: what several trainings changed as one, and merged into its base again."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from spar_core.errors import ConfigError
from spar_training.trainers.extraction import extract_adapter
from spar_training.trainers.merging import merge_adapter
from tests.support.families import build_model

NAME = "model.safetensors"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_model("llama3-8b", tmp_path_factory.mktemp("models") / "base")


def changed(base: Path, folder: Path, *, rank: int, only: str = "_proj.weight") -> Path:
    """The base with something of a rank added to its matrices."""
    folder.mkdir()
    for path in base.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    generator = torch.Generator().manual_seed(1)
    weights = load_file(base / NAME)
    for name, tensor in weights.items():
        if name.endswith(only):
            left = torch.randn(tensor.shape[0], rank, generator=generator)
            change = 0.05 * left @ torch.randn(rank, tensor.shape[-1], generator=generator)
            weights[name] = tensor + (change if tensor.ndim == 2 else change[:, 0]).to(tensor.dtype)
    save_file(weights, folder / NAME, metadata={"format": "pt"})
    return folder


# peft uses names that transformers has renamed.
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_an_adapter_of_enough_rank_makes_the_model_of_its_base(base: Path, tmp_path: Path) -> None:
    model = changed(base, tmp_path / "model", rank=3)
    assert extract_adapter(base, model, tmp_path / "adapter", rank=4) == pytest.approx(1.0, abs=1e-6)
    whole = AutoModelForCausalLM.from_pretrained(base)
    merged = PeftModel.from_pretrained(whole, str(tmp_path / "adapter")).merge_and_unload()
    wanted = AutoModelForCausalLM.from_pretrained(model)
    for name, tensor in wanted.state_dict().items():
        torch.testing.assert_close(merged.state_dict()[name], tensor, atol=5e-3, rtol=0)
    # A server that runs as another user reads it too.
    modes = {path.stat().st_mode for path in (tmp_path / "adapter").iterdir()}
    assert len(modes) == 1


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_merged_adapter_is_a_whole_model_with_the_tokenizer_of_its_base(base: Path, tmp_path: Path) -> None:
    model = changed(base, tmp_path / "model", rank=3)
    extract_adapter(base, model, tmp_path / "adapter", rank=4)
    made = merge_adapter(tmp_path / "adapter", tmp_path / "whole")
    wanted = AutoModelForCausalLM.from_pretrained(model).state_dict()
    for name, tensor in AutoModelForCausalLM.from_pretrained(made).state_dict().items():
        torch.testing.assert_close(tensor.float(), wanted[name].float(), atol=2e-2, rtol=0)
    text = "A river in the fog."
    assert AutoTokenizer.from_pretrained(made)(text).input_ids == AutoTokenizer.from_pretrained(base)(text).input_ids
    with pytest.raises(ConfigError, match=r"--out .*whole: exists already"):
        merge_adapter(tmp_path / "adapter", tmp_path / "whole")
    with pytest.raises(ConfigError, match="not the folder of an adapter"):
        merge_adapter(model, tmp_path / "again")


def test_an_adapter_of_too_low_a_rank_holds_the_larger_part(base: Path, tmp_path: Path) -> None:
    model = changed(base, tmp_path / "model", rank=6)
    held = [extract_adapter(base, model, tmp_path / f"adapter-{rank}", rank=rank) for rank in (1, 3, 6)]
    assert held == sorted(held)
    assert held[0] > 1 / 6
    assert held[-1] == pytest.approx(1.0, abs=1e-6)


def test_differences_that_an_adapter_cannot_hold_are_named(base: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has the same weights"):
        extract_adapter(base, base, tmp_path / "out", rank=4)
    norms = changed(base, tmp_path / "norms", rank=1, only="norm.weight")
    with pytest.raises(ConfigError, match=r"differs from .* in model\..*norm\.weight, which an adapter cannot hold"):
        extract_adapter(base, norms, tmp_path / "out", rank=4)
    with pytest.raises(ConfigError, match="no weights in it"):
        extract_adapter(base, tmp_path, tmp_path / "out", rank=4)
    assert not (tmp_path / "out").exists()
