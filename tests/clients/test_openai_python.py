"""The openai client for Python, synchronous and asynchronous."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.clients.obedient import RETRY_AFTER_S, WEATHER, obedient
from tests.support.batch_server import answer_of, batch_app, jsonl, line
from tests.support.pairs import scripted_pair

TOOLS: Any = [WEATHER]
USAGE: Any = {"include_usage": True}


def said(text: str) -> Any:
    return [{"role": "user", "content": text}]


@pytest.fixture
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=url, api_key="none", max_retries=0) as client:
        yield client


def account(usage: Any) -> dict[str, Any]:
    """`usage.refinement`, which the client keeps though its types do not know it."""
    return dict(usage.model_extra["refinement"])


def test_a_plain_chat(client: openai.OpenAI) -> None:
    completion = client.chat.completions.create(model="pair", messages=said("Hi there"))
    assert completion.choices[0].message.content == "a plain draft"
    assert completion.usage is not None
    assert (completion.usage.prompt_tokens, completion.usage.completion_tokens) == (2, 3)
    assert account(completion.usage)["stop_reason"] == "pass_through"


@pytest.mark.parametrize(("model", "extra"), [("pair", {"refine_budget": 8}), ("pair@8", {})])
def test_a_budget_by_body_or_name_buys_refinement(client: openai.OpenAI, model: str, extra: dict[str, Any]) -> None:
    completion = client.chat.completions.create(model=model, messages=said("Hi"), extra_body=extra)
    assert completion.choices[0].message.content == "better answer"
    assert completion.usage is not None
    assert account(completion.usage)["budget"] == 8
    assert account(completion.usage)["improved"] is True


@pytest.mark.parametrize("model", ["pair", "pair@2"])
def test_a_stream_joins_to_the_answer_and_ends_with_its_usage(client: openai.OpenAI, model: str) -> None:
    chunks = list(client.chat.completions.create(model=model, messages=said("Hi"), stream=True, stream_options=USAGE))
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert text == ("a plain draft" if model == "pair" else "better answer")
    assert [chunk.usage is not None for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert account(chunks[-1].usage)["budget"] == (0 if model == "pair" else 2)


def test_the_stream_helper_gives_the_whole_completion(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(
        model="pair", messages=said("Hi"), stream_options=USAGE, extra_body={"refine_budget": 2}
    ) as stream:
        deltas = [event.delta for event in stream if event.type == "content.delta"]
        final = stream.get_final_completion()
    assert final.choices[0].message.content == "".join(deltas) == "better answer"
    assert account(final.usage)["budget"] == 2


@pytest.mark.parametrize("model", ["pair", "pair@2"])
def test_a_tool_is_called_and_its_result_answered(client: openai.OpenAI, model: str) -> None:
    messages = said("weather in Paris?")
    completion = client.chat.completions.create(model=model, messages=messages, tools=TOOLS)
    choice = completion.choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.tool_calls is not None
    call: Any = choice.message.tool_calls[0]
    assert (call.id, call.function.name, call.function.arguments) == ("call_1", "weather", '{"city": "Paris"}')
    assert account(completion.usage)["stop_reason"] == "pass_through"
    history = [*messages, choice.message, {"role": "tool", "tool_call_id": call.id, "content": "sunny"}]
    answer = client.chat.completions.create(model="pair", messages=history, tools=TOOLS)
    assert answer.choices[0].message.content == "The weather: sunny"


@pytest.mark.parametrize("model", ["pair", "pair@2"])
def test_a_streamed_tool_call_is_put_together(client: openai.OpenAI, model: str) -> None:
    with client.chat.completions.stream(model=model, messages=said("weather"), tools=TOOLS) as stream:
        choice = stream.get_final_completion().choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.tool_calls is not None
    [call] = choice.message.tool_calls
    assert (call.id, call.function.name, call.function.arguments) == ("call_1", "weather", '{"city": "Paris"}')


def test_errors_are_the_clients_own_kinds(client: openai.OpenAI) -> None:
    def fails(kind: type[openai.APIStatusError], text: str = "Hi", model: str = "pair", **extra: Any) -> Any:
        with pytest.raises(kind) as caught:
            client.chat.completions.create(model=model, messages=said(text), extra_body=extra)
        assert caught.value.request_id
        return caught.value

    assert fails(openai.NotFoundError, model="other").code == "model_not_found"
    assert fails(openai.BadRequestError, refine={"brunch": 1}).param == "refine.brunch"
    assert fails(openai.BadRequestError, "refuse").param == "frogs"
    assert fails(openai.InternalServerError, "broken").status_code == 502
    busy = fails(openai.RateLimitError, "busy")
    assert (busy.code, busy.response.headers["retry-after"]) == ("upstream_overloaded", str(RETRY_AFTER_S))


def test_a_stream_that_cannot_begin_raises_like_a_whole_answer(client: openai.OpenAI) -> None:
    with pytest.raises(openai.RateLimitError):
        client.chat.completions.create(model="pair", messages=said("busy"), stream=True)


def test_the_client_retries_after_the_requested_wait(client: openai.OpenAI) -> None:
    began = time.monotonic()
    completion = client.with_options(max_retries=1).chat.completions.create(
        model="pair", messages=said("busy once, openai")
    )
    assert completion.choices[0].message.content == "at last"
    assert time.monotonic() - began >= RETRY_AFTER_S


async def test_the_asynchronous_client_does_all_of_it(url: str) -> None:
    async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=1) as client:
        chat = client.chat.completions
        whole = await chat.create(model="pair@8", messages=said("Hi"))
        assert whole.choices[0].message.content == "better answer"
        stream = await chat.create(model="pair", messages=said("Hi"), stream=True, stream_options=USAGE)
        chunks = [chunk async for chunk in stream]
        assert "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices) == "a plain draft"
        assert account(chunks[-1].usage)["budget"] == 0
        async with chat.stream(model="pair", messages=said("weather"), tools=TOOLS) as helper:
            final = await helper.get_final_completion()
        assert final.choices[0].message.tool_calls
        retried = await chat.create(model="pair", messages=said("busy once, asynchronous"))
        assert retried.choices[0].message.content == "at last"
        with pytest.raises(openai.NotFoundError):
            await chat.create(model="other", messages=said("Hi"))


def test_the_model_and_its_aliases_are_found(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["pair"]
    assert client.models.retrieve("pair@4").id == "pair@4"


def test_a_wrong_key_is_reported_as_such(keyed_url: str) -> None:
    with openai.OpenAI(base_url=keyed_url, api_key="secret") as client:
        assert client.chat.completions.create(model="pair", messages=said("Hi")).choices
        with pytest.raises(openai.AuthenticationError) as caught:
            client.with_options(api_key="wrong").chat.completions.create(model="pair", messages=said("Hi"))
    assert caught.value.code == "invalid_api_key"


async def test_a_batch_is_uploaded_run_listed_and_read(
    running: Callable[[Any], AbstractContextManager[str]], tmp_path: Path
) -> None:
    lines = [line("plain"), line("refined", refine_budget=2), line("wrong", temperature=7)]
    with running(batch_app(tmp_path, scripted_pair(obedient()))) as url:
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none") as client:
            file = await client.files.create(file=("in.jsonl", jsonl(lines)), purpose="batch")
            assert (await client.files.wait_for_processing(file.id)).status == "processed"
            batch = await client.batches.create(
                input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h", metadata={"run": "7"}
            )
            while batch.status in ("validating", "in_progress", "finalizing"):
                batch = await client.batches.retrieve(batch.id)
            assert [each.id async for each in client.batches.list(limit=1)] == [batch.id]
            assert {each.id async for each in client.files.list(limit=1)} == {
                file.id,
                batch.output_file_id,
                batch.error_file_id,
            }
            output = await client.files.content(batch.output_file_id or "")
            results = {each["custom_id"]: each for each in map(json.loads, output.text.splitlines())}
            assert {id: answer_of(each) for id, each in results.items()} == {
                "plain": "a plain draft",
                "refined": "better answer",
            }
            errors = await client.files.content(batch.error_file_id or "")
            assert json.loads(errors.text)["response"]["status_code"] == 400
            assert (await client.files.delete(file.id)).deleted
