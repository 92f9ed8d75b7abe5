"""Throughput of the transformers engine: one request at a time, 32 concurrently, and transformers' own `generate`.

All use the tiny pair's actor, the same prompts of its world, and 48 new tokens without an end token.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils.logging import disable_progress_bar

from spar_core.backends.local import LocalBackend, LocalEngine
from spar_core.types import Message, Sampling
from spar_training.world.example import draw_example

BATCH, TOKENS, ROUNDS = 32, 48, 5
MODEL = Path(str(files("spar_core"))) / "models" / "actor"
PROMPTS = [draw_example("held_out", index).prompt.text for index in range(BATCH)]


async def ours(backend: LocalBackend, at_once: int, count: int) -> float:
    """Tokens per second of `count` requests."""
    began = time.perf_counter()
    generated = 0
    for start in range(0, count, at_once):
        answers = await asyncio.gather(
            *[
                backend.complete([Message("user", text)], Sampling(max_tokens=TOKENS, seed=1))
                for text in PROMPTS[start : start + at_once]
            ]
        )
        generated += sum(answer.usage.completion_tokens for answer in answers)
    return generated / (time.perf_counter() - began)


def theirs(model: Any, tokenizer: Any) -> float:
    """Tokens per second of one `generate` call on the whole batch."""
    began = time.perf_counter()
    turns = [[{"role": "user", "content": text}] for text in PROMPTS]
    batch = tokenizer.apply_chat_template(
        turns, add_generation_prompt=True, padding=True, return_tensors="pt", return_dict=True
    )
    with torch.inference_mode():
        out = model.generate(**batch, do_sample=True, min_new_tokens=TOKENS, max_new_tokens=TOKENS)
    tokenizer.batch_decode(out[:, batch["input_ids"].shape[1] :])
    return BATCH * TOKENS / (time.perf_counter() - began)


async def main() -> None:
    disable_progress_bar()
    engine = LocalEngine(MODEL)
    # Every request runs to its full length, as in `generate`.
    engine._ends = frozenset()
    backend = LocalBackend(engine, "actor")
    tokenizer = AutoTokenizer.from_pretrained(MODEL, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(MODEL).eval()
    await ours(backend, BATCH, BATCH)
    theirs(model, tokenizer)
    rows = [
        (await ours(backend, 1, 4), await ours(backend, BATCH, BATCH), theirs(model, tokenizer)) for _ in range(ROUNDS)
    ]
    engine.close()
    one, many, generate = (statistics.median(column) for column in zip(*rows, strict=True))
    gain = statistics.median(row[1] / row[0] for row in rows)
    ratio = statistics.median(row[1] / row[2] for row in rows)
    print(f"one at a time {one:,.0f} tokens/s, {BATCH} concurrently {many:,.0f}, transformers generate {generate:,.0f}")
    print(f"{BATCH} concurrently / one at a time: {gain:.1f} (bar: at least 5: {'met' if gain >= 5 else 'MISSED'})")
    print(f"{BATCH} concurrently / generate: {ratio:.2f} (bar: at least 0.8: {'met' if ratio >= 0.8 else 'MISSED'})")


if __name__ == "__main__":
    asyncio.run(main())
