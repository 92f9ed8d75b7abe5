"""The engine for CPUs on a tiny random model: batching, seeds, streams, forms, adapters, limits, cancellation."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from spar_core.backends.openvino import OpenVinoBackend, OpenVinoEngine
from spar_core.errors import BackendRejected, BackendUnavailable, ConfigError
from spar_core.types import Completion, Message, Sampling

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
CONTEXT = 256
# peft asks transformers by an old name.
peft = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    tokenizer = _byte_tokenizer()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=CONTEXT, eos_token_id=2, bos_token_id=1, pad_token_id=0,
        initializer_range=0.3,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _byte_tokenizer() -> PreTrainedTokenizerFast:
    """One token a byte."""
    specials = ["<|pad|>", "<|bos|>", "<|end|>", "<|user|>", "<|assistant|>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({token: index for index, token in enumerate([*specials, *alphabet])}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(specials)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<|bos|>", eos_token="<|end|>", pad_token="<|pad|>"
    )
    fast.chat_template = TEMPLATE
    return fast


@pytest.fixture
async def engine(model_dir: Path) -> AsyncIterator[OpenVinoEngine]:
    engine = OpenVinoEngine(model_dir, max_slots=8, threads=1)
    yield engine
    engine.close()


async def ask(engine: Any, text: str, **sampling: Any) -> Completion:
    settings = Sampling(**{"max_tokens": 20, "temperature": 0.8, **sampling})
    # A call that hangs is a failed test, not a hanging one.
    return await asyncio.wait_for(OpenVinoBackend(engine, "m").complete([Message("user", text)], settings), 60)


async def test_a_text_does_not_depend_on_the_rest_of_the_batch(engine: OpenVinoEngine) -> None:
    questions = [f"question {'x' * 7 * number}" for number in range(20)]
    alone = [(await ask(engine, question, seed=seed)).text for seed, question in enumerate(questions)]
    together = await asyncio.gather(*[ask(engine, question, seed=seed) for seed, question in enumerate(questions)])
    assert [completion.text for completion in together] == alone


async def test_a_text_of_a_model_in_eight_bits_depends_on_nothing_else_either(tmp_path: Path) -> None:
    torch.manual_seed(0)
    tokenizer = _byte_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=512, intermediate_size=2048, num_hidden_layers=8, num_attention_heads=8,
        num_key_value_heads=4, max_position_embeddings=CONTEXT, eos_token_id=2, bos_token_id=1, pad_token_id=0,
        initializer_range=0.1,
    )  # fmt: skip
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    engine = OpenVinoEngine(tmp_path)
    try:
        questions = [f"{'y' * 9 * number}{number}" for number in range(12)]
        alone = [(await ask(engine, question, seed=seed)).text for seed, question in enumerate(questions)]
        # Now the beginnings of the prompts are in the cache, too.
        together = await asyncio.gather(*[ask(engine, question, seed=seed) for seed, question in enumerate(questions)])
        assert [completion.text for completion in together] == alone
        # Keys and values in eight bits, or with all bits on CPUs whose kernels for eight are not up to it.
        assert engine._model.block_bytes in (8 * 4 * (64 * (32 + 8) + 32 * (64 + 8)), 8 * 4 * 2 * 32 * 64 * 4)
    finally:
        engine.close()


async def test_a_text_does_not_depend_on_whether_its_prompt_was_seen_before(model_dir: Path) -> None:
    texts = []
    for before in ("something else " * 8, "the same beginning " * 8):
        engine = OpenVinoEngine(model_dir, threads=1)
        await ask(engine, before)
        completion = await ask(engine, "the same beginning " * 8 + "and an end", seed=5, max_tokens=60)
        texts.append(completion.text)
        engine.close()
    assert texts[0] == texts[1]
    assert completion.usage.cached_tokens > 100


async def test_equal_prompts_share_their_computation_and_not_their_seeds(engine: OpenVinoEngine) -> None:
    texts = [c.text for c in await asyncio.gather(*[ask(engine, "same", seed=seed) for seed in range(6)])]
    assert len(set(texts)) > 1
    assert texts[3] == (await ask(engine, "same", seed=3)).text


async def test_requests_that_outgrow_the_cache_wait_and_say_what_they_would_have_said(model_dir: Path) -> None:
    small = OpenVinoEngine(model_dir, max_slots=8, cache_mib=1, max_context=200, threads=1)
    # So few blocks that eight answers of six blocks each cannot be there at once.
    small._blocks.most = 16
    large = OpenVinoEngine(model_dir, max_slots=8, threads=1)
    try:
        for_each = [{"seed": seed, "max_tokens": 120, "extra": {"logit_bias": {"2": -100}}} for seed in range(8)]
        cramped = await asyncio.gather(*[ask(small, f"{'y' * 40}{n}", **how) for n, how in enumerate(for_each)])
        roomy = await asyncio.gather(*[ask(large, f"{'y' * 40}{n}", **how) for n, how in enumerate(for_each)])
        assert [one.text for one in cramped] == [one.text for one in roomy]
        assert [one.usage.completion_tokens for one in cramped] == [120] * 8
    finally:
        small.close()
        large.close()


async def test_the_likeliest_tokens_are_those_of_transformers(engine: OpenVinoEngine, model_dir: Path) -> None:
    completion = await ask(engine, "hello", temperature=0, max_tokens=1, extra={"logprobs": True, "top_logprobs": 5})
    tokenizer = PreTrainedTokenizerFast.from_pretrained(model_dir)
    ids = tokenizer.apply_chat_template(
        [{"role": "user", "content": "hello"}], add_generation_prompt=True, return_tensors="pt", return_dict=False
    )
    logprobs = AutoModelForCausalLM.from_pretrained(model_dir)(ids).logits[0, -1].log_softmax(-1)
    (entry,) = completion.extra["logprobs"]["content"]
    assert completion.usage.prompt_tokens == ids.shape[1]
    assert completion.text == tokenizer.decode(logprobs.argmax().item())
    # Weights of eight bits are close, not equal.
    assert entry["logprob"] == pytest.approx(logprobs.max().item(), abs=0.3)
    found = sorted((one["logprob"] for one in entry["top_logprobs"]), reverse=True)
    assert found == pytest.approx(logprobs.topk(5).values.tolist(), abs=0.5)


async def test_a_stream_joins_to_the_whole_and_ends_with_its_usage(engine: OpenVinoEngine) -> None:
    backend, question = OpenVinoBackend(engine, "m"), [Message("user", "hi")]
    deltas = [delta async for delta in backend.stream(question, Sampling(max_tokens=20, seed=4))]
    whole = await backend.complete(question, Sampling(max_tokens=20, seed=4))
    assert "".join(delta.text for delta in deltas) == whole.text
    assert [delta.finish_reason for delta in deltas[:-1]] == [None] * (len(deltas) - 1)
    assert deltas[-1].usage == whole.usage


async def test_every_token_of_an_answer_has_its_log_probability(engine: OpenVinoEngine) -> None:
    backend, how = OpenVinoBackend(engine, "m"), Sampling(max_tokens=9, seed=4, extra={"logprobs": True})
    deltas = [delta async for delta in backend.stream([Message("user", "hi")], how)]
    whole = await backend.complete([Message("user", "hi")], how)
    streamed = [entry for delta in deltas for entry in delta.extra.get("logprobs", {}).get("content", [])]
    assert streamed == whole.extra["logprobs"]["content"]
    assert len(streamed) == whole.usage.completion_tokens - (whole.finish_reason == "stop")


async def test_max_tokens_and_the_context_end_an_answer_by_length(engine: OpenVinoEngine) -> None:
    short = await ask(engine, "hi", max_tokens=3, seed=1)
    assert (short.finish_reason, short.usage.completion_tokens) == ("length", 3)
    endless = {"logit_bias": {"2": -100}}
    long = await ask(engine, "x" * 200, max_tokens=None, seed=1, extra=endless)
    assert (long.finish_reason, long.usage.total_tokens) == ("length", CONTEXT)


async def test_a_prompt_over_the_context_is_rejected_with_both_figures(engine: OpenVinoEngine) -> None:
    with pytest.raises(BackendRejected, match=r"length is 256 tokens.* 30\d"):
        await ask(engine, "x" * 300)


@pytest.mark.parametrize(
    "extra",
    [
        {"tools": [{}]},
        {"response_format": {"type": "xml"}},
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "no such type"}}}},
        {"top_logprobs": 3},
        {"logit_bias": {"x": 1}},
        {"logit_bias": {"99999": 1}},
        {"presence_penalty": 3},
        {"web_search_options": {}},
    ],
)
async def test_what_it_cannot_do_is_rejected_by_name(engine: OpenVinoEngine, extra: dict[str, Any]) -> None:
    with pytest.raises(BackendRejected, match=next(iter(extra))):
        await ask(engine, "hi", extra=extra)
    assert (await ask(engine, "hi")).usage.completion_tokens


async def test_an_answer_has_the_form_that_its_schema_describes(engine: OpenVinoEngine) -> None:
    schema = {
        "type": "object",
        "properties": {"good": {"type": "boolean"}, "kind": {"enum": ["a", "b"]}},
        "required": ["good", "kind"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "verdict", "schema": schema}}
    completions = await asyncio.gather(
        *[ask(engine, "hi", seed=n, max_tokens=200, extra={"response_format": form}) for n in range(3)],
        ask(engine, "x"),
    )
    for completion in completions[:3]:
        assert completion.finish_reason == "stop"
        said = json.loads(completion.text)
        assert said.keys() == {"good", "kind"}
        assert said["kind"] in ("a", "b")


async def test_penalties_and_biases_change_what_is_said(engine: OpenVinoEngine) -> None:
    plain = await ask(engine, "hi", temperature=0)
    first = f"{3 + 2 + 5}"
    for extra in ({"logit_bias": {first: 100}}, {"frequency_penalty": 2, "presence_penalty": 2}):
        assert (await ask(engine, "hi", temperature=0, extra=extra)).text != plain.text


async def test_a_stop_string_ends_the_text_before_it(engine: OpenVinoEngine) -> None:
    full = (await ask(engine, "hi", seed=2)).text
    stop = full[5:7]
    cut = await ask(engine, "hi", seed=2, stop=(stop,))
    assert cut.text == full[: full.index(stop)]
    assert cut.finish_reason == "stop"


async def test_a_control_token_in_a_message_is_text(engine: OpenVinoEngine) -> None:
    # One token a character, unless it were read as the one token that ends a message.
    plain, spelled = await asyncio.gather(ask(engine, "1234567"), ask(engine, "<|end|>"))
    assert spelled.usage.prompt_tokens == plain.usage.prompt_tokens


@peft
async def test_each_role_has_its_adapter_over_one_base(model_dir: Path, tmp_path: Path) -> None:
    merged = {}
    for role in ("actor", "refiner"):
        torch.manual_seed(len(role))
        model = get_peft_model(
            AutoModelForCausalLM.from_pretrained(model_dir),
            LoraConfig(r=4 + len(role), lora_alpha=8, target_modules=["q_proj", "o_proj", "gate_proj", "down_proj"]),
        )
        for name, weights in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weights, std=0.3)
        model.save_pretrained(tmp_path / role)
        model.merge_and_unload().save_pretrained(tmp_path / f"merged-{role}")
        _byte_tokenizer().save_pretrained(tmp_path / f"merged-{role}")
        merged[role] = OpenVinoEngine(tmp_path / f"merged-{role}", threads=1)
    engine = OpenVinoEngine(model_dir, adapters=[tmp_path / "actor", tmp_path / "refiner"], threads=1)
    plain = OpenVinoEngine(model_dir, threads=1)
    try:
        actor, refiner, base = (engine.adapted(each) for each in (tmp_path / "actor", tmp_path / "refiner", None))
        how = {"temperature": 0, "max_tokens": 1, "extra": {"logprobs": True, "top_logprobs": 5}}
        together = await asyncio.gather(*[ask(each, "hello", **how) for each in (actor, refiner, base)])
        apart = [await ask(each, "hello", **how) for each in (merged["actor"], merged["refiner"], plain)]
        for one, other in zip(together, apart, strict=True):
            assert one.text == other.text
            (entry,), (expected,) = one.extra["logprobs"]["content"], other.extra["logprobs"]["content"]
            assert entry["logprob"] == pytest.approx(expected["logprob"], abs=0.3)
        assert len({one.text for one in together}) > 1
    finally:
        for each in (engine, plain, *merged.values()):
            each.close()


@peft
def test_an_adapter_of_another_base_is_refused(model_dir: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=50, hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2
    )
    other = get_peft_model(LlamaForCausalLM(config), LoraConfig(r=2, target_modules=["q_proj"]))
    other.save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="another base"):
        OpenVinoEngine(model_dir, adapters=[tmp_path])
    with pytest.raises(ConfigError, match="no LoRA adapter here"):
        OpenVinoEngine(model_dir, adapters=[model_dir])


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no model here"):
        OpenVinoEngine(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ConfigError, match="cannot run the architecture bert"):
        OpenVinoEngine(tmp_path)


def _damage_graphs(cache: Path) -> None:
    (graph,) = cache.glob("openvino/*/graph.xml")
    graph.write_text("<half")


async def test_a_damaged_conversion_is_made_again(model_dir: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("SPAR_CACHE", str(tmp_path))
    OpenVinoEngine(model_dir, threads=1).close()
    _damage_graphs(tmp_path)
    engine = OpenVinoEngine(model_dir, threads=1)
    assert (await ask(engine, "hi")).usage.completion_tokens
    engine.close()


async def test_cancelling_frees_the_slot_and_the_cache(engine: OpenVinoEngine) -> None:
    tasks = [asyncio.create_task(ask(engine, "hi" * (n % 3), max_tokens=200, seed=n)) for n in range(20)]
    await asyncio.sleep(0.05)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    completion: Completion = await ask(engine, "still here?", seed=1)
    assert completion.usage.completion_tokens
    await _until(lambda: engine.running == 0 == engine.held_blocks)


async def test_votes_may_be_cancelled_while_their_common_prompt_is_computed(
    engine: OpenVinoEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A prompt takes several steps, and each step waits to be allowed.
    monkeypatch.setattr("spar_core.backends.openvino.engine._PROMPT_TOKENS", 32)
    allowed, step = threading.Semaphore(0), engine._step
    monkeypatch.setattr(engine, "_step", lambda: allowed.acquire() and step())
    earlier = asyncio.create_task(ask(engine, "first", max_tokens=1))
    await _until(lambda: engine.running == 1)
    votes = [asyncio.create_task(ask(engine, "judge" * 30, seed=n)) for n in range(3)]
    await asyncio.sleep(0)
    allowed.release()
    await earlier
    await _until(lambda: engine.running == len(votes))
    for vote in votes:
        vote.cancel()
    await asyncio.gather(*votes, return_exceptions=True)
    allowed.release(1000)
    assert (await ask(engine, "still here?", seed=1)).usage.completion_tokens
    await _until(lambda: engine.running == 0 == engine.held_blocks)


async def _until(holds: Callable[[], bool]) -> None:
    for _ in range(6000):
        if holds():
            return
        await asyncio.sleep(0.01)
    pytest.fail("not within a minute")


async def test_closing_fails_the_waiting_and_refuses_the_new(model_dir: Path) -> None:
    engine = OpenVinoEngine(model_dir, max_slots=1, threads=1)
    tasks = [asyncio.create_task(ask(engine, "hi", max_tokens=None, seed=n)) for n in range(8)]
    await asyncio.sleep(0.02)
    engine.close()
    outcomes = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 60)
    assert any(isinstance(outcome, BackendUnavailable) for outcome in outcomes)
    with pytest.raises(BackendUnavailable, match="closed"):
        await ask(engine, "hi")


async def test_a_broken_step_fails_its_callers_and_hangs_none(
    engine: OpenVinoEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(engine, "_step", broken)
    tasks = [ask(engine, f"hi {n}") for n in range(20)]
    outcomes = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 60)
    assert all(isinstance(outcome, BackendUnavailable) for outcome in outcomes)
    # And whoever asks later is told why.
    with pytest.raises(BackendUnavailable, match="out of memory"):
        await ask(engine, "hi")
