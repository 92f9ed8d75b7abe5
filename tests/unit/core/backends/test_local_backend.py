"""The embedded engine on a tiny random model: batching, seeds, streams, limits, cancellation, failure."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedTokenizerFast,
)

from spar_core.backends.in_process.text import TextStream
from spar_core.backends.local import LocalBackend, LocalEngine
from spar_core.backends.local.sampler import sample_tokens
from spar_core.errors import BackendRejected, BackendUnavailable, ConfigError
from spar_core.types import Completion, Message, Sampling

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def byte_tokenizer() -> PreTrainedTokenizerFast:
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


TOKENIZER = byte_tokenizer()
# The byte-level alphabet keeps printable bytes and shifts the others, in order, beyond 255.
SHIFTED = [byte for byte in range(256) if not (33 <= byte <= 126 or 161 <= byte <= 172 or byte >= 174)]
BYTE_TOKENS = [
    TOKENIZER.convert_tokens_to_ids(chr(256 + SHIFTED.index(byte) if byte in SHIFTED else byte)) for byte in range(256)
]


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    tokenizer = byte_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=128, eos_token_id=2, bos_token_id=1, pad_token_id=0,
        initializer_range=0.3,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
async def engine(model_dir: Path) -> AsyncIterator[LocalEngine]:
    engine = LocalEngine(model_dir, max_slots=8)
    yield engine
    engine.close()


async def ask(engine: LocalEngine, text: str, **sampling: Any) -> Completion:
    settings = Sampling(**{"max_tokens": 20, "temperature": 0.8, **sampling})
    # A call that hangs is a failed test, not a hanging one.
    return await asyncio.wait_for(LocalBackend(engine, "m").complete([Message("user", text)], settings), 60)


async def test_a_text_does_not_depend_on_the_rest_of_the_batch(engine: LocalEngine) -> None:
    questions = [f"question {'x' * number}" for number in range(20)]
    alone = [(await ask(engine, question, seed=seed)).text for seed, question in enumerate(questions)]
    together = await asyncio.gather(*[ask(engine, question, seed=seed) for seed, question in enumerate(questions)])
    assert [completion.text for completion in together] == alone


async def test_equal_prompts_share_their_computation_and_not_their_seeds(engine: LocalEngine) -> None:
    texts = [c.text for c in await asyncio.gather(*[ask(engine, "same", seed=seed) for seed in range(6)])]
    assert len(set(texts)) > 1
    assert texts[3] == (await ask(engine, "same", seed=3)).text


async def test_temperature_zero_is_what_transformers_generates(engine: LocalEngine, model_dir: Path) -> None:
    completion = await ask(engine, "hello", temperature=0)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(model_dir)
    ids = tokenizer.apply_chat_template(
        [{"role": "user", "content": "hello"}], add_generation_prompt=True, return_tensors="pt", return_dict=False
    )
    model = AutoModelForCausalLM.from_pretrained(model_dir)
    out = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=20)
    assert completion.text == tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True)
    assert completion.usage.prompt_tokens == ids.shape[1]


async def test_an_unseeded_request_differs_from_time_to_time(engine: LocalEngine) -> None:
    assert len({(await ask(engine, "hi", temperature=1.5)).text for _ in range(5)}) > 1


async def test_a_stream_joins_to_the_whole_and_ends_with_its_usage(engine: LocalEngine) -> None:
    backend, question = LocalBackend(engine, "m"), [Message("user", "hi")]
    deltas = [delta async for delta in backend.stream(question, Sampling(max_tokens=20, seed=4))]
    whole = await backend.complete(question, Sampling(max_tokens=20, seed=4))
    assert "".join(delta.text for delta in deltas) == whole.text
    assert [delta.finish_reason for delta in deltas[:-1]] == [None] * (len(deltas) - 1)
    assert deltas[-1].usage == whole.usage


async def test_max_tokens_and_the_context_end_an_answer_by_length(engine: LocalEngine) -> None:
    short = await ask(engine, "hi", max_tokens=3, seed=1)
    assert (short.finish_reason, short.usage.completion_tokens) == ("length", 3)
    long = await ask(engine, "x" * 100, max_tokens=None, seed=1)
    assert long.usage.total_tokens <= 128


async def test_a_prompt_over_the_context_is_rejected_with_both_figures(engine: LocalEngine) -> None:
    with pytest.raises(BackendRejected, match=r"length is 128 tokens.* 20\d"):
        await ask(engine, "x" * 200)


@pytest.mark.parametrize(
    "extra",
    [
        {"frequency_penalty": 5},
        {"tools": [{}]},
        {"response_format": {"type": "json_object"}},
        {"web_search_options": {}},
    ],
)
async def test_what_it_cannot_do_is_rejected_by_name(engine: LocalEngine, extra: dict[str, Any]) -> None:
    with pytest.raises(BackendRejected, match=next(iter(extra))):
        await ask(engine, "hi", extra=extra)


async def test_penalties_change_what_is_said(engine: LocalEngine) -> None:
    asked = [{}, {"frequency_penalty": 2}, {"presence_penalty": 2}]
    plain, *penalized = [(await ask(engine, "hi", temperature=0, extra=extra)).text for extra in asked]
    assert plain not in penalized


async def test_a_part_that_is_no_text_is_rejected_by_its_type(engine: LocalEngine) -> None:
    parts = [{"type": "text", "text": "hi"}, {"type": "image_url", "image_url": {"url": "x"}}]
    with pytest.raises(BackendRejected, match=r"messages\.1\.content: image_url") as refused:
        await LocalBackend(engine, "m").complete([Message("system", "s"), Message("user", parts)], Sampling())
    assert refused.value.param == "messages.1.content"


async def test_less_than_one_token_is_rejected(engine: LocalEngine) -> None:
    with pytest.raises(BackendRejected, match="max_tokens"):
        await ask(engine, "hi", max_tokens=0)


async def test_a_control_token_in_a_message_is_text(engine: LocalEngine) -> None:
    # One token a character, unless it were read as the one token that ends a message.
    plain, spelled = await asyncio.gather(ask(engine, "1234567"), ask(engine, "<|end|>"))
    assert spelled.usage.prompt_tokens == plain.usage.prompt_tokens


async def test_a_developer_is_the_system(engine: LocalEngine) -> None:
    backend, texts = LocalBackend(engine, "m"), []
    for role in ("system", "developer"):
        messages = [Message(role, "Be short."), Message("user", "hi")]
        texts.append(await backend.complete(messages, Sampling(max_tokens=9, seed=1)))
    assert texts[0] == texts[1]


async def test_messages_that_the_template_refuses_fail_alone(model_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(model_dir, tmp_path, dirs_exist_ok=True)
    refusal = "{% if messages[0].role != 'user' %}{{ raise_exception('the user speaks first') }}{% endif %}"
    (tmp_path / "chat_template.jinja").write_text(refusal + TEMPLATE)
    engine = LocalEngine(tmp_path)
    try:
        with pytest.raises(BackendRejected, match="the user speaks first"):
            await asyncio.wait_for(LocalBackend(engine, "m").complete([Message("system", "hi")], Sampling()), 10)
        assert (await ask(engine, "hi")).usage.completion_tokens
    finally:
        engine.close()


async def test_what_asks_for_nothing_is_accepted(engine: LocalEngine) -> None:
    await ask(
        engine,
        "hi",
        extra={
            **{"presence_penalty": 0, "tools": [], "user": "ann", "response_format": {"type": "text"}},
            **{"n": 1, "parallel_tool_calls": True, "tool_choice": "auto", "logprobs": None},
            **{"function_call": "none", "verbosity": "medium", "web_search_options": None},
        },
    )


async def test_a_stop_string_ends_the_text_before_it(engine: LocalEngine) -> None:
    full = (await ask(engine, "hi", seed=2)).text
    stop = full[5:7]
    cut = await ask(engine, "hi", seed=2, stop=(stop,))
    assert cut.text == full[: full.index(stop)]
    assert cut.finish_reason == "stop"


@pytest.mark.parametrize("stop", ["ab", "aab", "c", "日", "bca", "xyz"])
def test_no_part_of_a_stop_string_is_sent(stop: str) -> None:
    text = "aabaab c 日本 bcab"
    stream = TextStream(TOKENIZER, [stop])
    told = [stream.push(token) for token in TOKENIZER.encode(text, add_special_tokens=False)]
    assert "".join(told) + stream.flush() == text.split(stop)[0]
    assert all("\ufffd" not in piece for piece in told)


def test_the_beginning_of_a_stop_string_that_is_not_completed_is_sent_at_the_end() -> None:
    stream = TextStream(TOKENIZER, ["abc"])
    told = "".join(stream.push(token) for token in TOKENIZER.encode("xab", add_special_tokens=False))
    assert (told, stream.flush()) == ("x", "ab")


@given(st.lists(st.one_of(st.text(max_size=12).map(str.encode), st.binary(max_size=6)), max_size=12).map(b"".join))
@settings(deadline=None)
def test_any_bytes_decode_to_the_same_text_in_pieces(data: bytes) -> None:
    tokens = [BYTE_TOKENS[byte] for byte in data]
    stream = TextStream(TOKENIZER, [])
    told = "".join([*map(stream.push, tokens), stream.flush()])
    assert told == data.decode(errors="replace")


async def test_cancelling_frees_the_slot(engine: LocalEngine) -> None:
    tasks = [asyncio.create_task(ask(engine, "hi", max_tokens=100, seed=n)) for n in range(20)]
    await asyncio.sleep(0.05)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    completion: Completion = await asyncio.wait_for(ask(engine, "still here?", seed=1), 60)
    assert completion.usage.completion_tokens
    for _ in range(6000):
        if engine.running == 0:
            return
        await asyncio.sleep(0.01)
    pytest.fail(f"{engine.running} requests still hold a slot")


async def test_closing_fails_the_waiting_and_refuses_the_new(model_dir: Path) -> None:
    engine = LocalEngine(model_dir, max_slots=1)
    tasks = [asyncio.create_task(ask(engine, "hi", max_tokens=None, seed=n)) for n in range(8)]
    await asyncio.sleep(0.02)
    engine.close()
    outcomes = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 60)
    assert any(isinstance(outcome, BackendUnavailable) for outcome in outcomes)
    with pytest.raises(BackendUnavailable, match="closed"):
        await ask(engine, "hi")


async def test_a_broken_step_fails_its_callers_and_hangs_none(
    engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(engine, "_forward", broken)
    tasks = [ask(engine, f"hi {n}") for n in range(20)]
    outcomes = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 60)
    assert all(isinstance(outcome, BackendUnavailable) for outcome in outcomes)
    # And whoever asks later is told why.
    with pytest.raises(BackendUnavailable, match="out of memory"):
        await ask(engine, "hi")


async def test_a_call_that_meets_the_closing_fails_and_does_not_hang(engine: LocalEngine) -> None:
    class ReadWhileClosing(list[Message]):
        def __iter__(self) -> Iterator[Message]:
            engine.close()
            return super().__iter__()

    call = LocalBackend(engine, "m").complete(ReadWhileClosing([Message("user", "hi")]), Sampling(max_tokens=2))
    with pytest.raises(BackendUnavailable, match="closed"):
        await asyncio.wait_for(call, 60)


async def test_the_event_loop_keeps_beating_while_the_engine_closes(
    engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward, computing, released = engine._forward, threading.Event(), threading.Event()

    def slow(*arguments: Any) -> Any:
        computing.set()
        assert released.wait(60), "the event loop was blocked"
        return forward(*arguments)

    monkeypatch.setattr(engine, "_forward", slow)
    # With this seed its text is longer than the step under way and the next.
    task = asyncio.create_task(ask(engine, "hi", seed=4))
    assert await asyncio.to_thread(computing.wait, 60)
    closing = asyncio.create_task(LocalBackend(engine, "m").aclose())
    # A loop that waited for the engine would not come here before the step fails.
    async with asyncio.timeout(60):
        while engine.alive:  # noqa: ASYNC110 (the engine has no event for it)
            await asyncio.sleep(0.01)
    assert not closing.done()
    released.set()
    await closing
    with pytest.raises(BackendUnavailable):
        await task


async def test_the_event_loop_runs_while_the_engine_generates(
    engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward, loop = engine._forward, asyncio.get_running_loop()
    answered: list[bool] = []

    def forward_while_the_loop_runs(*arguments: Any) -> Any:
        if len(answered) < 5:
            ran = threading.Event()
            loop.call_soon_threadsafe(ran.set)
            answered.append(ran.wait(60))
        return forward(*arguments)

    monkeypatch.setattr(engine, "_forward", forward_while_the_loop_runs)
    await asyncio.gather(*[ask(engine, "hi", max_tokens=60, seed=n) for n in range(32)])
    assert answered == [True] * 5


def test_a_sliding_window_bounds_the_context(tmp_path: Path) -> None:
    config = MistralConfig(
        vocab_size=len(TOKENIZER), hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=128, sliding_window=48,
    )  # fmt: skip
    MistralForCausalLM(config).save_pretrained(tmp_path)
    TOKENIZER.save_pretrained(tmp_path)
    engine = LocalEngine(tmp_path)
    engine.close()
    assert engine.context == 48


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"config\.json"):
        LocalEngine(tmp_path)


def test_sampling_follows_the_distribution_and_top_p_cuts_its_tail() -> None:
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.15, 0.05]])).repeat(1000, 1)
    draws = [(number + 0.5) / 1000 for number in range(1000)]
    for top_p, expected in ((1.0, [500, 300, 150, 50]), (0.75, [625, 375, 0, 0]), (0.1, [1000, 0, 0, 0])):
        tokens = sample_tokens(logits, [Sampling(top_p=top_p)] * 1000, draws)
        counts = [tokens.count(token) for token in range(4)]
        assert all(abs(count - wanted) <= 2 for count, wanted in zip(counts, expected, strict=True))


def test_each_row_is_sampled_by_its_own_settings() -> None:
    logits = torch.tensor([[0.0, 5.0, 0.0], [0.0, 5.0, 0.0]])
    assert sample_tokens(logits, [Sampling(temperature=0), Sampling(temperature=2.0)], [0.999, 0.999]) == [1, 2]


async def test_memory_for_keys_and_values_grows_with_what_runs_up_to_its_bound(model_dir: Path, tmp_path: Path) -> None:
    # The shape of a real model of 135M parameters, whose cache was 97 GB when it was slots x context.
    config = LlamaConfig(
        vocab_size=len(TOKENIZER), hidden_size=576, intermediate_size=64, num_hidden_layers=30, num_attention_heads=9,
        num_key_value_heads=3, max_position_embeddings=8192, eos_token_id=2, bos_token_id=1, pad_token_id=0,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(tmp_path)
    TOKENIZER.save_pretrained(tmp_path)
    engine = LocalEngine(tmp_path, max_slots=256, cache_mib=64, threads=1)
    try:
        await asyncio.gather(*[ask(engine, f"hello {n}", max_tokens=4, seed=n) for n in range(24)])
        held = sum(layer.keys.nbytes + layer.values.nbytes for layer in engine._cache.layers)
        assert held <= 64 * 2**20
        # Bytes of a token by the rows' and the tokens' next power of two: it has grown to what ran, and no further.
        assert held <= 2 * 30 * 3 * 64 * 4 * 32 * 64
    finally:
        engine.close()


async def test_answers_that_outgrow_the_cache_are_recomputed_with_the_same_text(model_dir: Path) -> None:
    cramped, roomy = LocalEngine(model_dir, cache_mib=1), LocalEngine(model_dir)
    cramped._cache.tokens = 3 * 100
    try:
        calls = [{"seed": seed, "max_tokens": 80} for seed in range(8)]
        expected = await asyncio.gather(*[ask(roomy, f"hi {n}", **how) for n, how in enumerate(calls)])
        got = await asyncio.gather(*[ask(cramped, f"hi {n}", **how) for n, how in enumerate(calls)])
        assert [one.text for one in got] == [one.text for one in expected]
        assert [one.usage for one in got] == [one.usage for one in expected]
        rows, window = cramped._cache.room
        assert rows * window <= 300
    finally:
        cramped.close()
        roomy.close()
