"""Anthropic's client for Python, synchronous and asynchronous, against /v1/messages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic
import pytest

HELLO: Any = [{"role": "user", "content": "Hi there"}]
TOOLS: Any = [
    {
        "name": "weather",
        "description": "The weather in a city",
        "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    }
]


@pytest.fixture
def client(url: str) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=url.removesuffix("/v1"), api_key="none", max_retries=0) as client:
        yield client


def account(usage: Any) -> dict[str, Any]:
    """`usage.refinement`, which the client keeps though its types do not know it."""
    return dict(usage.model_extra["refinement"])


def test_a_plain_message(client: anthropic.Anthropic) -> None:
    message = client.messages.create(model="pair", max_tokens=64, system="Be brief.", messages=HELLO)
    assert [(block.type, getattr(block, "text", None)) for block in message.content] == [("text", "a plain draft")]
    assert (message.stop_reason, message.usage.output_tokens) == ("end_turn", 3)
    assert account(message.usage)["stop_reason"] == "pass_through"


@pytest.mark.parametrize(("model", "extra"), [("pair", {"refine_budget": 8}), ("pair@8", {})])
def test_a_budget_by_body_or_name_buys_refinement(
    client: anthropic.Anthropic, model: str, extra: dict[str, Any]
) -> None:
    message = client.messages.create(model=model, max_tokens=64, messages=HELLO, extra_body=extra)
    assert message.content[0].type == "text"
    assert message.content[0].text == "better answer"
    assert (account(message.usage)["budget"], account(message.usage)["improved"]) == (8, True)


@pytest.mark.parametrize(("model", "answer"), [("pair", "a plain draft"), ("pair@2", "better answer")])
def test_a_stream_joins_to_the_message(client: anthropic.Anthropic, model: str, answer: str) -> None:
    with client.messages.stream(model=model, max_tokens=64, messages=HELLO) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text == answer
    assert [block.type for block in final.content] == ["text"]
    assert final.stop_reason == "end_turn"
    assert final.usage.output_tokens >= 3


def test_thinking_shows_the_search(client: anthropic.Anthropic) -> None:
    thinking: Any = {"type": "enabled", "budget_tokens": 1024}
    with client.messages.stream(model="pair@2", max_tokens=2048, messages=HELLO, thinking=thinking) as stream:
        final = stream.get_final_message()
    thoughts, answer = final.content
    assert thoughts.type == "thinking"
    assert "Draft:" in thoughts.thinking
    assert answer.type == "text"
    # What a client sends back of it is ignored.
    history: Any = [*HELLO, {"role": "assistant", "content": final.content}, {"role": "user", "content": "And?"}]
    assert client.messages.create(model="pair", max_tokens=64, messages=history).stop_reason == "end_turn"


@pytest.mark.parametrize("model", ["pair", "pair@2"])
def test_a_tool_is_called_and_its_result_answered(client: anthropic.Anthropic, model: str) -> None:
    asked: Any = [{"role": "user", "content": "weather in Paris?"}]
    message = client.messages.create(model=model, max_tokens=64, messages=asked, tools=TOOLS)
    (call,) = message.content
    assert call.type == "tool_use"
    assert (call.id, call.name, call.input, message.stop_reason) == ("call_1", "weather", {"city": "Paris"}, "tool_use")
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}
    history: Any = [*asked, {"role": "assistant", "content": message.content}, {"role": "user", "content": [result]}]
    answer = client.messages.create(model="pair", max_tokens=64, messages=history, tools=TOOLS)
    assert answer.content[0].type == "text"
    assert answer.content[0].text == "The weather: sunny"
    with client.messages.stream(model=model, max_tokens=64, messages=asked, tools=TOOLS) as stream:
        (streamed,) = stream.get_final_message().content
    assert streamed.type == "tool_use"
    assert (streamed.id, streamed.name, streamed.input) == ("call_1", "weather", {"city": "Paris"})


def test_errors_are_the_clients_own(client: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.NotFoundError):
        client.messages.create(model="claude", max_tokens=64, messages=HELLO)
    with pytest.raises(anthropic.BadRequestError, match=r"refine\.brunch: unknown key"):
        client.messages.create(model="pair", max_tokens=64, messages=HELLO, extra_body={"refine": {"brunch": 1}})
    for words, error in (("busy", anthropic.RateLimitError), ("broken", anthropic.InternalServerError)):
        said: Any = [{"role": "user", "content": words}]
        with pytest.raises(error):
            client.messages.create(model="pair", max_tokens=64, messages=said)


def test_a_key_is_needed_and_taken(keyed_url: str) -> None:
    base = keyed_url.removesuffix("/v1")
    with anthropic.Anthropic(base_url=base, api_key="secret", max_retries=0) as client:
        assert client.messages.create(model="pair", max_tokens=64, messages=HELLO).stop_reason == "end_turn"
    wrong = anthropic.Anthropic(base_url=base, api_key="wrong", max_retries=0)
    with wrong as client, pytest.raises(anthropic.AuthenticationError):
        client.messages.create(model="pair", max_tokens=64, messages=HELLO)


def test_a_busy_upstream_is_tried_again(url: str) -> None:
    said: Any = [{"role": "user", "content": "busy once, anthropic"}]
    with anthropic.Anthropic(base_url=url.removesuffix("/v1"), api_key="none") as client:
        message = client.messages.create(model="pair", max_tokens=64, messages=said)
    assert message.content[0].type == "text"
    assert message.content[0].text == "at last"


async def test_the_asynchronous_client_streams_too(url: str) -> None:
    client = anthropic.AsyncAnthropic(base_url=url.removesuffix("/v1"), api_key="none", max_retries=0)
    async with client, client.messages.stream(model="pair@2", max_tokens=64, messages=HELLO) as stream:
        assert "".join([text async for text in stream.text_stream]) == "better answer"
