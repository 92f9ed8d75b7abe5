"""vLLM in this process: chats, streams, seeds, fields, adapters, aborts, a search, and its end."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import replace

import pytest

from spar_core.backends.vllm import VllmBackend, VllmEngine
from spar_core.errors import BackendRejected, BackendUnavailable, ConfigError
from spar_core.judge import Judge
from spar_core.prompts import load_templates
from spar_core.refiner import Refiner
from spar_core.search import Models, SearchConfig, Searcher
from spar_core.types import Delta, Message, Sampling
from tests.vllm.asking import PROMPT
from tests.vllm.conftest import Adapters
from tests.vllm.processes import FRUGAL, KV_BYTES, MODELS, until

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.slow,
    # vLLM's own imports warn.
    pytest.mark.filterwarnings("ignore"),
    # An engine belongs to one loop.
    pytest.mark.asyncio(loop_scope="module"),
]

ASKED = (Message("user", PROMPT),)
SAMPLED = Sampling(temperature=0.9, top_p=0.9, max_tokens=60, seed=7)
GREEDY = Sampling(temperature=0, max_tokens=40)
LONG = Sampling(temperature=0.9, max_tokens=440, seed=1, extra={"ignore_eos": True})
ARGUMENTS = {"max_model_len": 512, "enforce_eager": True, "kv_cache_memory_bytes": KV_BYTES}


@pytest.fixture(scope="module")
def engine(adapters: Adapters) -> Iterator[VllmEngine]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in FRUGAL.items():
            patch.setenv(name, value)
        engine = VllmEngine(
            str(MODELS / "actor"),
            adapters=[str(adapters.actor), str(adapters.refiner)],
            # The tests read vLLM's own count of what runs.
            arguments={**ARGUMENTS, "disable_log_stats": False},
        )
        yield engine
        engine.close()
        del engine
        # vLLM leaves a socket to the collector, which must warn of it here and not in another module's test.
        gc.collect()


@pytest.fixture
def base(engine: VllmEngine) -> VllmBackend:
    return VllmBackend(engine, "actor")


def running() -> float:
    """Requests that vLLM's core is at work on."""
    from prometheus_client import REGISTRY

    return sum(
        sample.value
        for metric in REGISTRY.collect()
        for sample in metric.samples
        if sample.name == "vllm:num_requests_running"
    )


async def streamed(backend: VllmBackend, sampling: Sampling) -> list[Delta]:
    async with aclosing(backend.stream(ASKED, sampling)) as deltas:
        return [delta async for delta in deltas]


async def test_a_completion_is_counted_to_the_token(base: VllmBackend) -> None:
    completion = await base.complete(ASKED, replace(SAMPLED, max_tokens=17, extra={"ignore_eos": True}))
    assert completion.finish_reason == "length"
    assert completion.usage.completion_tokens == 17
    assert completion.usage.prompt_tokens > 10


async def test_a_stream_has_the_text_of_a_completion_with_the_same_seed(base: VllmBackend) -> None:
    completion = await base.complete(ASKED, SAMPLED)
    deltas = await streamed(base, SAMPLED)
    assert "".join(delta.text for delta in deltas) == completion.text
    assert len(deltas) > 5
    assert (deltas[-1].finish_reason, deltas[-1].usage) == (completion.finish_reason, completion.usage)
    assert all(delta.finish_reason is None and delta.usage is None for delta in deltas[:-1])


async def test_a_seed_repeats_and_another_differs(base: VllmBackend) -> None:
    seeds = (7, 7, 8)
    texts = [(await base.complete(ASKED, replace(SAMPLED, seed=seed))).text for seed in seeds]
    assert texts[0] == texts[1] != texts[2]


async def test_a_stop_string_ends_the_answer_and_is_no_part_of_it(base: VllmBackend) -> None:
    text = (await base.complete(ASKED, SAMPLED)).text
    stop = text[10:16]
    completion = await base.complete(ASKED, replace(SAMPLED, stop=(stop,)))
    assert (completion.text, completion.finish_reason) == (text[: text.index(stop)], "stop")
    assert "".join(delta.text for delta in await streamed(base, replace(SAMPLED, stop=(stop,)))) == completion.text


async def test_an_answer_ends_where_the_context_does(base: VllmBackend) -> None:
    completion = await base.complete(ASKED, replace(LONG, max_tokens=100_000))
    assert completion.finish_reason == "length"
    assert completion.usage.total_tokens == 512


async def test_a_format_binds_the_answer(base: VllmBackend) -> None:
    schema = {"type": "object", "properties": {"lamp": {"enum": [1, 2]}}, "required": ["lamp"]}
    form = {"type": "json_schema", "json_schema": {"name": "lamp", "schema": schema}}
    completion = await base.complete(ASKED, replace(SAMPLED, extra={"response_format": form}))
    assert json.loads(completion.text)["lamp"] in (1, 2)
    chosen = await base.complete(ASKED, replace(SAMPLED, extra={"structured_outputs": {"choice": ["lamp", "bell"]}}))
    assert chosen.text in ("lamp", "bell")


async def test_log_probabilities_come_in_openais_shape(base: VllmBackend) -> None:
    sampling = replace(SAMPLED, max_tokens=6, extra={"logprobs": True, "top_logprobs": 2, "ignore_eos": True})
    content = (await base.complete(ASKED, sampling)).extra["logprobs"]["content"]
    assert len(content) == 6
    for place in content:
        assert place["logprob"] <= 0
        assert bytes(place["bytes"]).decode() == place["token"]
        first, second = place["top_logprobs"]
        assert first["logprob"] >= second["logprob"]
    pieces = [piece for delta in await streamed(base, sampling) for piece in delta.extra["logprobs"]["content"]]
    assert [piece["token"] for piece in pieces] == [place["token"] for place in content]


@pytest.mark.parametrize(
    ("sampling", "says"),
    [
        (replace(SAMPLED, temperature=-1.0), "temperature"),
        (replace(SAMPLED, top_p=0.0), "top_p"),
        (replace(SAMPLED, extra={"min_tokens": 100}), "min_tokens"),
        (replace(SAMPLED, extra={"presence_penalty": 9}), "presence_penalty"),
        (replace(SAMPLED, extra={"allowed_token_ids": [10**9]}), "allowed_token_ids"),
        (replace(SAMPLED, extra={"stop_token_ids": [-1]}), "stop_token_ids"),
        (replace(SAMPLED, extra={"logit_bias": {"99999999": 1}}), "logit_bias"),
        (replace(SAMPLED, extra={"top_k": -7}), "top_k"),
        (replace(SAMPLED, extra={"structured_outputs": {"regex": "("}}), "regex"),
        (replace(SAMPLED, extra={"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": 7}}}}),
         "type must be"),
    ],
)  # fmt: skip
async def test_what_vllm_refuses_is_a_rejection_and_leaves_it_alive(
    base: VllmBackend, sampling: Sampling, says: str
) -> None:
    with pytest.raises(BackendRejected, match=says):
        await base.complete(ASKED, sampling)
    assert await base.ready()
    assert (await base.complete(ASKED, GREEDY)).text


async def test_a_prompt_that_does_not_fit_is_refused(base: VllmBackend) -> None:
    with pytest.raises(BackendRejected, match="maximum context length is 512 tokens"):
        await base.complete((Message("user", "river " * 600),), SAMPLED)


async def test_an_adapters_text_differs_from_its_bases_and_from_the_other_adapters(
    engine: VllmEngine, adapters: Adapters
) -> None:
    # At once: one batch serves both. Not the base with them: without a GPU, vLLM 0.32 gives what has no adapter the
    # last one's of its batch.
    paths = (str(adapters.actor), str(adapters.refiner))
    asked = (VllmBackend(engine, "one", adapter=path).complete(ASKED, GREEDY) for path in paths)
    texts = [completion.text for completion in await asyncio.gather(*asked)]
    texts.append((await VllmBackend(engine, "one").complete(ASKED, GREEDY)).text)
    assert len(set(texts)) == 3


async def test_a_pair_of_adapters_searches(engine: VllmEngine, adapters: Adapters) -> None:
    actor = VllmBackend(engine, "actor", adapter=str(adapters.actor))
    refiner = VllmBackend(engine, "refiner", adapter=str(adapters.refiner))
    templates = load_templates("compact")
    sampling = replace(SAMPLED, seed=None, max_tokens=60)
    models = Models(
        actor=actor,
        judge=Judge(backend=refiner, templates=templates, votes=3, sampling=sampling),
        refiner=Refiner(backend=refiner, templates=templates, sampling=sampling),
    )
    result = await Searcher(models, SearchConfig(budget=2, seed=3), SAMPLED).run(ASKED)
    assert result.calls["actor"] == 1
    assert result.calls["judge"] >= 2
    assert not result.degraded


async def _until_running(count: int) -> None:
    await asyncio.to_thread(until, lambda: running() == count, 20)


async def test_leaving_a_stream_aborts_it_in_the_core(base: VllmBackend) -> None:
    stream = base.stream(ASKED, LONG)
    await anext(stream)
    await _until_running(1)
    await stream.aclose()
    await _until_running(0)


async def test_cancelling_calls_aborts_them_in_the_core(base: VllmBackend) -> None:
    calls = [asyncio.create_task(base.complete(ASKED, replace(LONG, seed=seed))) for seed in range(6)]
    await _until_running(6)
    for call in calls:
        call.cancel()
    assert all(isinstance(end, asyncio.CancelledError) for end in await asyncio.gather(*calls, return_exceptions=True))
    await _until_running(0)


async def test_many_calls_at_once_share_batches(base: VllmBackend) -> None:
    async with asyncio.TaskGroup() as group:
        calls = [group.create_task(base.complete(ASKED, replace(SAMPLED, seed=seed))) for seed in range(24)]
    texts = {call.result().text for call in calls}
    assert len(texts) > 12


async def test_closing_ends_running_calls(base: VllmBackend) -> None:
    running_call = asyncio.create_task(base.complete(ASKED, LONG))
    await _until_running(1)
    await base.aclose()
    with pytest.raises(BackendUnavailable):
        await running_call
    with pytest.raises(BackendUnavailable, match="closed"):
        await base.complete(ASKED, GREEDY)
    assert not await base.ready()
    await base.aclose()


def test_what_cannot_be_started_is_said_at_once(adapters: Adapters) -> None:
    actor = str(MODELS / "actor")
    with pytest.raises(ConfigError, match=r"vllm\.max_len: there is no such engine argument"):
        VllmEngine(actor, arguments={"max_len": 3})
    with pytest.raises(ConfigError, match="no LoRA adapter here"):
        VllmEngine(actor, adapters=[actor])
    with pytest.raises(ConfigError, match="cannot start /nowhere"):
        VllmEngine("/nowhere")
    with pytest.raises(ConfigError, match=r"cannot start .*max_model_len"):
        VllmEngine(actor, arguments={"max_model_len": 100_000})
