"""The verdict alone, asked of a real model that was not trained to judge, by the engine for CPUs."""

from __future__ import annotations

import shutil
from importlib.resources import files
from pathlib import Path

import pytest

from spar_core.backends.base import constrains
from spar_core.backends.in_process.backend import InProcessBackend
from spar_core.backends.openvino import OpenVinoEngine
from spar_core.judge import Judge
from spar_core.model_catalog import find_base
from spar_core.prompts import load_templates
from spar_core.types import Message, Sampling


@pytest.mark.real
async def test_a_model_that_gives_no_verdict_gives_one_when_asked_for_it(tmp_path: Path) -> None:
    found = find_base("smollm2-135m-instruct")
    if found is None:
        pytest.skip("the base model is not on this machine")
    # To this prompt the model says a sentence and ends.
    shutil.copytree(str(files("spar_core.prompts") / "default"), tmp_path / "set")
    (tmp_path / "set" / "judge.txt").write_text("Say hello to {{instruction}}, not to {{response}}.")
    backend = InProcessBackend(OpenVinoEngine(found.path), "judge")
    try:
        assert constrains(backend)
        judge = Judge(
            backend=backend, templates=load_templates(tmp_path / "set"), early_stop=False,
            sampling=Sampling(temperature=0.0, max_tokens=200), ask_verdict=True,
        )  # fmt: skip
        judgement = await judge.judge([Message("user", "Ann")], "Bob")
    finally:
        await backend.aclose()
    verdicts = [(vote.verdict, vote.text.rsplit("\n", 1)[-1]) for vote in judgement.votes]
    assert len(verdicts) == 5
    assert set(verdicts) <= {(True, "Final Judgement: Yes"), (False, "Final Judgement: No")}
