"""The path of every backbone that a recipe names, with small random weights: serve, sample, train, serve again."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from families import FAMILIES, build_model
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from spar_server.pair import build_pair
from spar_server.settings import RefineDefaults, Settings
from spar_training.trainers.job import parse_job
from spar_training.trainers.run import run

Serving = Callable[[Any], AbstractContextManager[str]]
ASKED = ("Tell me about the river.", "Say Yes or No.")
SHORT = RefineDefaults(judge_max_tokens=12, refine_max_tokens=12)


def turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def ask(url: str, question: str, **more: Any) -> dict[str, Any]:
    body = {"model": "pair", "messages": [turn("user", question)], "max_tokens": 12, **more}
    answer = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=60)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def text(url: str, question: str, **more: Any) -> str:
    return str(ask(url, question, **more)["choices"][0]["message"]["content"])


def two_answers(url: str, question: str) -> list[str]:
    return sorted({said for seed in range(6) if (said := text(url, question, seed=seed)).strip()})[:2]


def generated(folder: Path, question: str) -> str:
    """What transformers itself makes of a question."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    prompt = tokenizer.apply_chat_template(
        [turn("user", question)], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    made = model.generate(**prompt, do_sample=False, max_new_tokens=12, pad_token_id=0)
    return str(tokenizer.decode(made[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True))


def write(path: Path, rows: Sequence[object]) -> str:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return str(path)


def train(kind: str, parent: Path, data: str, out: Path, lora: object) -> None:
    """Two steps; the weights have moved after them."""
    values = {"kind": kind, "model": str(parent), "data": [data], "out": str(out), "lora": lora, "max_steps": 2}
    run(parse_job({**values, "learning_rate": 1e-2, "warmup": 0, "dtype": "fp32", "cutoff": 256}, source="test"))
    before, after = load_file(parent / "model.safetensors"), load_file(out / "model.safetensors")
    assert before.keys() == after.keys()
    assert any(not before[key].equal(after[key]) for key in before)


@pytest.mark.real
@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_a_backbone_is_served_trained_and_served_again(name: str, tmp_path: Path, serving: Serving) -> None:
    start = tmp_path / "start"
    for role in ("actor", "refiner"):
        build_model(name, start / role)
    with serving(build_pair(Settings(pair=start, model="pair", refine=SHORT))) as url:
        sampled = [(asked, *two_answers(url, asked)) for asked in ASKED]
        assert text(url, ASKED[0], temperature=0) == generated(start / "actor", ASKED[0])
    pairs = [
        {"id": q, "prompt": [turn("user", q)], "chosen": [turn("assistant", a)], "rejected": [turn("assistant", b)]}
        for q, a, b in sampled
    ]
    chats = [
        {"id": q, "messages": [turn("user", q), turn("assistant", a), turn("user", "No?"), turn("assistant", b)]}
        for q, a, b in sampled
    ]
    dpo, sft = write(tmp_path / "dpo.jsonl", pairs), write(tmp_path / "sft.jsonl", chats)
    for way, lora in (("full", None), ("lora", {"r": 4, "alpha": 8})):
        train("dpo", start / "actor", dpo, tmp_path / way / "actor", lora)
        train("sft", start / "refiner", sft, tmp_path / way / "refiner", lora)
        with serving(build_pair(Settings(pair=tmp_path / way, model="pair", refine=SHORT))) as url:
            told = ask(url, ASKED[0], seed=1, refine_budget=2, refine={"votes": 1})
            assert told["usage"]["refinement"]["calls"]["judge"] >= 1
            assert text(url, ASKED[0], temperature=0) == generated(tmp_path / way / "actor", ASKED[0])
