"""The endpoints besides chat, by the official client, against a real server with the real pair."""

from __future__ import annotations

from typing import Any

import httpx
import openai
import pytest

QUESTION = "Tell me about the river. Do not use commas. Include the word lamp."
CHAT: Any = [{"role": "user", "content": QUESTION}]
EXTRA = {"refine_budget": 4, "refine": {"votes": 3}}
# The embedded actor's own chat template, written out.
RAW = f"<|bos|><|user|>{QUESTION}<|end|><|assistant|>"


def test_a_response_is_the_answer_that_chat_gives(client: openai.OpenAI) -> None:
    for extra in ({}, EXTRA):
        chat = client.chat.completions.create(model="spar-small", messages=CHAT, seed=1, extra_body=extra)
        response = client.responses.create(model="spar-small", input=QUESTION, extra_body={**extra, "seed": 1})
        assert response.output_text == chat.choices[0].message.content
        assert response.usage is not None
        assert chat.usage is not None
        assert response.usage.output_tokens == chat.usage.completion_tokens


def test_a_response_streams_to_the_same_text(client: openai.OpenAI) -> None:
    for extra in ({}, EXTRA):
        body = {**extra, "seed": 2}
        whole = client.responses.create(model="spar-small", input=QUESTION, extra_body=body)
        with client.responses.stream(model="spar-small", input=QUESTION, extra_body=body) as stream:
            said = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
            final = stream.get_final_response()
        assert said == final.output_text == whole.output_text


def test_a_raw_prompt_is_continued_as_it_stands(client: openai.OpenAI) -> None:
    chat = client.chat.completions.create(model="spar-small", messages=CHAT, seed=3, temperature=0, top_p=1)
    raw = client.completions.create(model="spar-small", prompt=RAW, seed=3, max_tokens=256, temperature=0)
    assert raw.choices[0].text == chat.choices[0].message.content
    assert raw.model == "spar-small"
    assert raw.usage is not None
    assert chat.usage is not None
    assert raw.usage.prompt_tokens == chat.usage.prompt_tokens
    usual = client.completions.create(model="spar-small", prompt=RAW, temperature=0)
    assert usual.usage is not None
    # OpenAI's own default.
    assert usual.usage.completion_tokens == min(16, raw.usage.completion_tokens)


def test_a_raw_prompt_streams_to_the_same_text(client: openai.OpenAI) -> None:
    asked: Any = {"model": "spar-small", "prompt": [RAW], "seed": 4, "max_tokens": 64, "stop": "."}
    whole = client.completions.create(**asked)
    chunks = list(client.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    assert "".join(chunk.choices[0].text for chunk in chunks if chunk.choices) == whole.choices[0].text
    assert chunks[-1].usage == whole.usage


def test_what_the_embedded_engine_cannot_do_is_refused_by_name(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="embedded engine has no /embeddings"):
        client.embeddings.create(model="spar-small", input="x")
    wrong: tuple[tuple[str, Any], ...] = (
        ("prompt", ["one", "two"]), ("temperature", 9), ("max_tokens", -1), ("stop", 5), ("echo", True),
        ("suffix", "x"), ("seed", "x"), ("logprobs", 0), ("logprobs", 1), ("logprobs", 2),
        ("stream_options", {"include_usage": True}),
    )  # fmt: skip
    for name, value in wrong:
        with pytest.raises(openai.BadRequestError, match=name):
            client.completions.create(**{"model": "spar-small", "prompt": "x", name: value})
    with pytest.raises(openai.BadRequestError) as over:
        client.completions.create(model="spar-small", prompt="river " * 600)
    assert over.value.code == "context_length_exceeded"


def test_an_answer_is_judged_and_refined(embedded_url: str) -> None:
    with httpx.Client(timeout=60) as client:
        asked = {"messages": CHAT, "response": "The river runs, by a lamp.", "seed": 1}
        checks = [{"id": "punctuation:no_comma"}]
        judged = client.post(f"{embedded_url}/judge", json={**asked, "votes": 3}).json()
        assert len(judged["votes"]) >= 2
        assert judged["usage"]["completion_tokens"] > 0
        assert client.post(f"{embedded_url}/judge", json={**asked, "checks": checks}).json()["value"] == 0.0
        refined = client.post(
            f"{embedded_url}/refine", json={**asked, "model": "spar-small", "refine_budget": 4}
        ).json()
    spent = refined["usage"]["refinement"]
    assert spent["calls"]["actor"] == 0
    assert spent["calls"]["judge"] >= 2
    assert refined["choices"][0]["message"]["content"]


def test_judging_too_long_a_response_is_a_bad_request(embedded_url: str) -> None:
    response = httpx.post(f"{embedded_url}/judge", json={"messages": CHAT, "response": "river " * 600})
    assert (response.status_code, response.json()["error"]["code"]) == (400, "context_length_exceeded")
