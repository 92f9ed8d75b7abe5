"""Throughput of the engine for CPUs at 1, 8 and 32 requests, compared with others on the same model and prompts.

The others are transformers' own `generate`, and OpenVINO GenAI's pipeline and llama.cpp if `openvino-genai` and
`llama-cpp-python` are installed. After that, a search of budget 8 on a prompt like IFEval's: its duration, and the
fraction of the throughput at 8 requests that it reaches. Every request runs to its full length. The base model must be
on this machine (`spar models pull`).
"""

from __future__ import annotations

import asyncio
import importlib.util
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from spar_core.backends.openvino import OpenVinoBackend, OpenVinoEngine
from spar_core.backends.openvino.source import ModelSource, open_source
from spar_core.backends.openvino.tokenizer import ChatTokenizer
from spar_core.judge import Judge
from spar_core.model_catalog import DEFAULT_BASE, find_base
from spar_core.prompts import load_templates
from spar_core.refiner import Refiner
from spar_core.search import Models, SearchConfig, Searcher, SearchResult
from spar_core.types import Message, Sampling

TOKENS, ROUNDS = 32, 3
AT_ONCE = (1, 8, 32)
PROMPTS = [f"Write a story about a lighthouse and the number {number}." for number in range(max(AT_ONCE))]
SEARCH = (
    "Write a short blog post about a trip to Japan. Your answer must contain at least 3 sentences and the word kimono. "
    "Do not use any commas."
)

Rate = Callable[[int], float]


def ours(engine: OpenVinoEngine) -> Rate:
    backend = OpenVinoBackend(engine, "m")

    async def all_of(count: int) -> None:
        sampling = Sampling(max_tokens=TOKENS, seed=1, extra={"logit_bias": {str(end): -100 for end in engine._ends}})
        await asyncio.gather(*[backend.complete([Message("user", text)], sampling) for text in PROMPTS[:count]])

    return lambda count: _rate(count, lambda: asyncio.run(all_of(count)))


def transformers_generate(source: ModelSource, prompts: Sequence[Sequence[int]]) -> Rate:
    shape = source.shape
    config = LlamaConfig(
        vocab_size=shape.vocabulary, hidden_size=shape.hidden, intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers, num_attention_heads=shape.heads, num_key_value_heads=shape.kv_heads,
        max_position_embeddings=shape.context, rms_norm_eps=shape.norm_epsilon, rope_theta=shape.rope_theta,
        tie_word_embeddings=True, pad_token_id=0, eos_token_id=None,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    weights = {name: torch.from_numpy(source.tensor(name).copy()) for name in model.state_dict() if name in source}
    model.load_state_dict(weights, strict=False)
    model = model.to(torch.bfloat16).eval()

    def generate(count: int) -> None:
        longest = max(map(len, prompts[:count]))
        ids = torch.tensor([[0] * (longest - len(prompt)) + list(prompt) for prompt in prompts[:count]])
        with torch.inference_mode():
            model.generate(ids, attention_mask=(ids != 0).long(), do_sample=True, max_new_tokens=TOKENS)

    return lambda count: _rate(count, lambda: generate(count))


def genai(path: Path) -> Rate:
    import openvino_genai as ov_genai

    pipeline = ov_genai.ContinuousBatchingPipeline(str(path), ov_genai.SchedulerConfig(), "CPU")
    how = ov_genai.GenerationConfig(max_new_tokens=TOKENS, do_sample=True, ignore_eos=True)
    return lambda count: _rate(count, lambda: pipeline.generate(PROMPTS[:count], [how] * count))


def llama_cpp(path: Path, prompts: Sequence[Sequence[int]]) -> Rate:
    from llama_cpp import Llama

    # It generates one at a time.
    model = Llama(str(path), n_ctx=1024, verbose=False)

    def all_of(count: int) -> None:
        for prompt in prompts[:count]:
            model.create_completion(list(prompt), max_tokens=TOKENS, logit_bias={2: -100.0})

    return lambda count: _rate(count, lambda: all_of(count))


async def search(engine: OpenVinoEngine) -> SearchResult:
    """A search of budget 8 with five votes, which ends early only if all five are Yes."""
    backend, templates = OpenVinoBackend(engine, "m"), load_templates("brief")
    config = SearchConfig(budget=8, threshold=0.99, seed=1)
    sampling = Sampling(temperature=0.7, max_tokens=256)
    judge = Judge(
        backend=backend, templates=templates, votes=config.votes, threshold=config.threshold, sampling=sampling
    )
    models = Models(
        actor=backend, judge=judge, refiner=Refiner(backend=backend, templates=templates, sampling=sampling)
    )
    searcher = Searcher(models, config, Sampling(temperature=0.9, top_p=0.9, max_tokens=256), ())
    return await searcher.run([Message("user", SEARCH)])


def _rate(count: int, run: Callable[[], Any]) -> float:
    began = time.perf_counter()
    run()
    return count * TOKENS / (time.perf_counter() - began)


def main() -> None:
    base = find_base(DEFAULT_BASE)
    assert base is not None, "run: spar models pull"
    source = open_source(base.path)
    tokenizer = ChatTokenizer(source.tokenizer_json(), template=source.chat_template(), tokens=source.template_tokens())
    prompts = [
        tokenizer.apply_chat_template([{"role": "user", "content": text}], add_generation_prompt=True)
        for text in PROMPTS
    ]
    began = time.perf_counter()
    engine = OpenVinoEngine(base.path)
    print(f"the engine is ready after {time.perf_counter() - began:.1f} s", flush=True)
    engines: dict[str, Rate] = {
        "this engine": ours(engine),
        "transformers generate, bfloat16": transformers_generate(source, prompts),
    }
    if base.path.suffix == ".gguf" and importlib.util.find_spec("openvino_genai"):
        engines["OpenVINO GenAI"] = genai(base.path)
    if base.path.suffix == ".gguf" and importlib.util.find_spec("llama_cpp"):
        engines["llama.cpp"] = llama_cpp(base.path, prompts)
    for rate in engines.values():
        rate(1)
    # In alternating rounds, so that other load on the machine affects all of them.
    rows = {name: {count: list[float]() for count in AT_ONCE} for name in engines}
    for _ in range(ROUNDS):
        for count in AT_ONCE:
            for name, rate in engines.items():
                rows[name][count].append(rate(count))
                print(f"{name}, {count} concurrently: {rows[name][count][-1]:,.1f} tokens/s", flush=True)
    for name, of_engine in rows.items():
        shown = ", ".join(f"{statistics.median(found):,.0f} at {count}" for count, found in of_engine.items())
        print(f"{name}: tokens/s {shown}")
    result = asyncio.run(search(engine))
    generated = sum(usage.completion_tokens for usage in result.usage.values())
    reached = generated / result.duration_s
    raw = statistics.median(rows["this engine"][8])
    print(
        f"search of budget 8: {result.duration_s:.1f} s, {result.nodes} nodes, {generated} tokens, {reached:,.0f} "
        f"tokens/s, {100 * reached / raw:.0f}% of the rate at 8"
    )
    engine.close()


if __name__ == "__main__":
    main()
