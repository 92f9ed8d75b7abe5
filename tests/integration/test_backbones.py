"""The path of every backbone that a recipe names, with small random weights: serve, sample, train, serve again."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from spar_core.prompts import load_templates
from spar_core.types import Message
from spar_server.models.pair import build_pair
from spar_server.settings import RefineDefaults, Settings
from spar_training.methods.training import job_for
from spar_training.pipeline.stage import Role
from spar_training.runs.folder import Iteration
from spar_training.runs.recipe import Recipe, Training, load_recipe
from spar_training.storage.files import write_rows
from spar_training.trainers.run import run
from tests.support.families import FAMILIES, build_model

Serving = Callable[[Any], AbstractContextManager[str]]
# The recipe of each family.
RECIPES = {"llama3-8b": "llama-3-8b", "llama3-70b": "llama-3-70b", "glm4-9b": "glm-4-9b", "mistral-7b": "mistral-7b"}
COMPACT = load_templates("compact")
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


def refinement(question: str, response: str, refined: str) -> list[Message]:
    """What a refiner is trained on: the judge's chat, its critique, the request to refine, and the refinement."""
    asked = COMPACT.refine([Message("user", question)], response, "Final Judgement: No")
    return [*asked, Message("assistant", f"[[start]]\n{refined}\n[[end]]")]


def small(name: str, lora: object) -> Recipe:
    """The shipped recipe with its own training keys, but for what makes it large."""
    recipe = load_recipe(name)
    keys = {
        "max_steps": 2,
        "learning_rate": 1e-2,
        "warmup": 0,
        "max_length": 512,
        "dtype": "fp32",
        "lora": lora,
        "threads": 1,
    }
    training = {role: {**getattr(recipe.training, role), **keys} for role in ("actor", "refiner")}
    return recipe.model_copy(update={"training": Training.model_validate(training)})


def train(role: Role, recipe: Recipe, parent: Path, folder: Path) -> None:
    """Two steps by the recipe's own keys, but small; the weights have moved after them."""
    job = job_for(recipe, Iteration(1, folder), role, start=parent)
    out = run(job)
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
    chats = [{"id": q, "messages": [message.to_openai() for message in refinement(q, a, b)]} for q, a, b in sampled]
    for way, lora in (("full", None), ("lora", {"r": 4, "alpha": 8})):
        write_rows(tmp_path / way / "dpo.jsonl", pairs)
        write_rows(tmp_path / way / "rft.jsonl", chats)
        recipe = small(RECIPES[name], lora)
        train("actor", recipe, start / "actor", tmp_path / way)
        train("refiner", recipe, start / "refiner", tmp_path / way)
        with serving(build_pair(Settings(pair=tmp_path / way, model="pair", refine=SHORT))) as url:
            told = ask(url, ASKED[0], seed=1, refine_budget=2, refine={"votes": 1})
            assert told["usage"]["refinement"]["calls"]["judge"] >= 1
            assert text(url, ASKED[0], temperature=0) == generated(tmp_path / way / "actor", ASKED[0])
