"""Which engine opens a model in this process: by the device, what is installed, and what the model is."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from spar_core.backends.in_process import opening
from spar_core.backends.in_process.opening import open_model
from spar_core.errors import ConfigError
from spar_core.model_folder import shipped_pair

LLAMA = shipped_pair() / "actor"
ADAPTER = shipped_pair() / "spar-135m" / "actor"
BOTH = ("openvino", "tokenizers", "torch", "transformers")


@pytest.fixture
def gguf(tmp_path: Path) -> Path:
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF")
    return file


@pytest.fixture(autouse=True)
def opened(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """The engines that were opened, each with its device."""
    engines: list[tuple[str, str]] = []
    monkeypatch.setattr("spar_core.backends.local.LocalEngine", lambda _, device: engines.append(("torch", device)))
    monkeypatch.setattr("spar_core.backends.openvino.OpenVinoEngine", lambda *_, **__: engines.append(("openvino", "")))
    return engines


def machine(
    monkeypatch: pytest.MonkeyPatch, *, installed: tuple[str, ...] = BOTH, cuda: bool = False, mps: bool = False
) -> None:
    monkeypatch.setattr(opening, "_is_installed", lambda *modules: set(modules) <= set(installed))
    monkeypatch.setattr(opening, "_may_have_cuda", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


def test_auto_is_the_gpu_by_cuda_or_else_the_cpu(
    monkeypatch: pytest.MonkeyPatch, opened: list[tuple[str, str]]
) -> None:
    machine(monkeypatch, cuda=True)
    open_model(LLAMA)
    open_model(LLAMA, device="cpu")
    machine(monkeypatch, cuda=True, installed=("openvino", "tokenizers"))
    open_model(LLAMA)
    machine(monkeypatch, mps=True)
    open_model(LLAMA)
    machine(monkeypatch, installed=("torch", "transformers"))
    open_model(LLAMA)
    assert opened == [("torch", "auto"), ("openvino", ""), ("openvino", ""), ("openvino", ""), ("torch", "cpu")]


def test_auto_runs_adapters_and_gguf_files_on_the_cpu_beside_a_gpu(
    monkeypatch: pytest.MonkeyPatch, opened: list[tuple[str, str]], gguf: Path
) -> None:
    machine(monkeypatch, cuda=True)
    open_model(LLAMA, adapters=[ADAPTER])
    open_model(gguf)
    assert opened == [("openvino", "")] * 2


@pytest.mark.parametrize(("device", "installed"), [("cuda", BOTH), ("auto", ("torch", "transformers"))])
def test_what_only_openvino_runs_is_refused_elsewhere(
    monkeypatch: pytest.MonkeyPatch, gguf: Path, device: str, installed: tuple[str, ...]
) -> None:
    machine(monkeypatch, cuda=True, installed=installed)
    with pytest.raises(ConfigError, match=r"adapters in this process need a CPU and OpenVINO .*or merge them"):
        open_model(LLAMA, device=device, adapters=[ADAPTER])
    with pytest.raises(ConfigError, match=r"a GGUF file in this process needs a CPU and OpenVINO .*model's folder"):
        open_model(gguf, device=device)


@pytest.mark.parametrize(("device", "name"), [("cuda", "CUDA"), ("cuda:1", "CUDA"), ("mps", "MPS")])
def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch, device: str, name: str) -> None:
    machine(monkeypatch)
    with pytest.raises(ConfigError, match=f"device: {device} is asked for and torch finds no {name} device"):
        open_model(LLAMA, device=device)
    machine(monkeypatch, installed=("openvino", "tokenizers"))
    with pytest.raises(ConfigError, match=f"device: {device} needs torch and transformers"):
        open_model(LLAMA, device=device)


def test_a_device_that_is_there_is_used(monkeypatch: pytest.MonkeyPatch, opened: list[tuple[str, str]]) -> None:
    machine(monkeypatch, cuda=True, mps=True)
    for device in ("cuda", "cuda:1", "mps"):
        open_model(LLAMA, device=device)
    assert opened == [("torch", "cuda"), ("torch", "cuda:1"), ("torch", "mps")]
