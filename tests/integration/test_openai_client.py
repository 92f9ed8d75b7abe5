"""The official openai client against a real server with the real pair."""

from __future__ import annotations

from typing import Any

import openai
import pytest

QUESTION: Any = [{"role": "user", "content": "Tell me about the river. Do not use commas. Include the word lamp."}]
EXTRA = {"refine_budget": 4, "refine": {"votes": 3}}


def account(usage: Any) -> dict[str, Any]:
    """`usage.refinement`, which the client keeps though its types do not know it."""
    return dict(usage.model_extra["refinement"])


def test_the_model_is_listed(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["spar-small"]


def test_a_plain_request_is_passed_through(client: openai.OpenAI) -> None:
    completion = client.chat.completions.create(model="spar-small", messages=QUESTION, seed=1)
    assert completion.choices[0].message.content
    assert completion.choices[0].finish_reason == "stop"
    assert completion.usage is not None
    assert account(completion.usage)["stop_reason"] == "pass_through"


def test_a_budget_is_spent_and_accounted_for(client: openai.OpenAI) -> None:
    completion = client.chat.completions.create(model="spar-small", messages=QUESTION, seed=1, extra_body=EXTRA)
    assert completion.usage is not None
    spent = account(completion.usage)
    assert spent["budget"] == 4
    assert spent["calls"]["judge"] >= 2
    assert spent["tokens"]["judge"]["completion"] > 0
    generated = sum(tokens["completion"] for tokens in spent["tokens"].values())
    assert completion.usage.completion_tokens == generated


def test_the_same_seed_gives_the_same_answer(client: openai.OpenAI) -> None:
    answers = {
        client.chat.completions.create(model="spar-small", messages=QUESTION, seed=5, extra_body=EXTRA)
        .choices[0]
        .message.content
        for _ in range(2)
    }
    assert len(answers) == 1


def test_a_stream_joins_to_the_same_answer(client: openai.OpenAI) -> None:
    for extra in ({}, EXTRA):
        whole = client.chat.completions.create(model="spar-small", messages=QUESTION, seed=2, extra_body=extra)
        stream = client.chat.completions.create(
            model="spar-small",
            messages=QUESTION,
            seed=2,
            stream=True,
            stream_options={"include_usage": True},
            extra_body=extra,
        )
        chunks = list(stream)
        text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
        assert text == whole.choices[0].message.content
        assert chunks[-1].usage is not None
        assert account(chunks[-1].usage)["budget"] == extra.get("refine_budget", 0)


def test_the_stream_helper_keeps_the_account(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(
        model="spar-small", messages=QUESTION, stream_options={"include_usage": True}, extra_body=EXTRA
    ) as stream:
        final = stream.get_final_completion()
    assert final.choices[0].message.content
    assert account(final.usage)["budget"] == 4


async def test_the_asynchronous_client_streams(embedded_url: str) -> None:
    async with openai.AsyncOpenAI(base_url=embedded_url, api_key="none") as client:
        stream = await client.chat.completions.create(
            model="spar-small@2", messages=QUESTION, stream=True, max_tokens=40
        )
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])
    assert text


def test_errors_are_the_clients_own_kinds(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="other", messages=QUESTION)
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as wrong:
        client.chat.completions.create(model="spar-small", messages=QUESTION, extra_body={"refine": {"brunch": 1}})
    assert wrong.value.param == "refine.brunch"
    long: Any = [{"role": "user", "content": "river " * 600}]
    with pytest.raises(openai.BadRequestError) as over:
        client.chat.completions.create(model="spar-small", messages=long)
    assert over.value.code == "context_length_exceeded"
    # LiteLLM and others know it by OpenAI's words alone.
    assert "this model's maximum context length is" in over.value.message
    with pytest.raises(openai.BadRequestError, match="audio"):
        client.chat.completions.create(model="spar-small", messages=QUESTION, extra_body={"audio": {"voice": "alloy"}})


def test_one_hundred_requests_at_once_are_all_answered(embedded_url: str) -> None:
    import asyncio

    async def run() -> list[str | None]:
        async with openai.AsyncOpenAI(base_url=embedded_url, api_key="none", max_retries=0) as client:
            tasks = [
                client.chat.completions.create(model="spar-small", messages=QUESTION, max_tokens=12, seed=seed)
                for seed in range(100)
            ]
            return [answer.choices[0].message.content for answer in await asyncio.gather(*tasks)]

    assert all(asyncio.run(run()))
