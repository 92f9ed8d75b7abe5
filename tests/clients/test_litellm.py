"""LiteLLM's SDK, with the server as an OpenAI-compatible provider."""

from __future__ import annotations

import time
from typing import Any

import litellm
import pytest

from tests.clients.obedient import RETRY_AFTER_S, WEATHER

# Its own types make pydantic warn.
pytestmark = pytest.mark.filterwarnings("ignore")


def ask(url: str, text: str = "Hi there", model: str = "pair", **settings: Any) -> Any:
    messages = [{"role": "user", "content": text}]
    usual = {"messages": messages, "api_base": url, "api_key": "none", "max_retries": 0}
    return litellm.completion(model=f"openai/{model}", **{**usual, **settings})


def test_a_plain_chat(url: str) -> None:
    response = ask(url)
    assert response.choices[0].message.content == "a plain draft"
    assert (response.usage.prompt_tokens, response.usage.completion_tokens) == (2, 3)
    assert response.usage.refinement["stop_reason"] == "pass_through"


@pytest.mark.parametrize(
    ("model", "settings"),
    [("pair", {"extra_body": {"refine_budget": 8}}), ("pair@8", {}), ("pair", {"refine_budget": 8})],
)
def test_a_budget_buys_refinement(url: str, model: str, settings: dict[str, Any]) -> None:
    response = ask(url, model=model, **settings)
    assert response.choices[0].message.content == "better answer"
    assert response.usage.refinement["budget"] == 8


@pytest.mark.parametrize(("model", "text"), [("pair", "a plain draft"), ("pair@2", "better answer")])
def test_a_stream_joins_to_the_answer_with_its_usage(url: str, model: str, text: str) -> None:
    chunks = list(ask(url, model=model, stream=True, stream_options={"include_usage": True}))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == text
    thoughts = "".join(
        getattr(chunk.choices[0].delta, "reasoning_content", None) or "" for chunk in chunks if chunk.choices
    )
    assert bool(thoughts) is (model != "pair")
    assert chunks[-1].usage.prompt_tokens == 2
    whole = litellm.stream_chunk_builder(chunks)
    assert whole is not None
    assert whole.choices[0].message.content == text  # type: ignore[union-attr]


async def test_the_asynchronous_call_streams(url: str) -> None:
    messages = [{"role": "user", "content": "Hi"}]
    stream: Any = await litellm.acompletion(
        model="openai/pair@2", messages=messages, api_base=url, api_key="none", stream=True
    )
    assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == "better answer"


@pytest.mark.parametrize("model", ["pair", "pair@2"])
def test_a_tool_is_called_and_its_result_answered(url: str, model: str) -> None:
    response = ask(url, "weather in Paris?", model, tools=[WEATHER])
    assert response.choices[0].finish_reason == "tool_calls"
    message = response.choices[0].message
    [call] = message.tool_calls
    assert (call.id, call.function.name, call.function.arguments) == ("call_1", "weather", '{"city": "Paris"}')
    history = [
        {"role": "user", "content": "weather in Paris?"},
        message.model_dump(),
        {"role": "tool", "tool_call_id": call.id, "content": "sunny"},
    ]
    assert ask(url, messages=history, tools=[WEATHER]).choices[0].message.content == "The weather: sunny"


@pytest.mark.parametrize("model", ["pair", "pair@2"])
def test_a_streamed_tool_call_is_put_together(url: str, model: str) -> None:
    whole: Any = litellm.stream_chunk_builder(list(ask(url, "weather", model, tools=[WEATHER], stream=True)))
    [call] = whole.choices[0].message.tool_calls
    assert (call.id, call.function.name, call.function.arguments) == ("call_1", "weather", '{"city": "Paris"}')
    assert whole.choices[0].finish_reason == "tool_calls"


def test_errors_are_its_own_kinds(url: str) -> None:
    with pytest.raises(litellm.NotFoundError, match="other"):
        ask(url, model="other")
    with pytest.raises(litellm.BadRequestError, match=r"refine\.brunch"):
        ask(url, extra_body={"refine": {"brunch": 1}})
    with pytest.raises(litellm.ContextWindowExceededError):
        ask(url, "too long")
    with pytest.raises(litellm.RateLimitError):
        ask(url, "busy")
    with pytest.raises(litellm.BadGatewayError):
        ask(url, "broken")


def test_it_retries_after_the_requested_wait(url: str) -> None:
    began = time.monotonic()
    assert ask(url, "busy once, LiteLLM", max_retries=1).choices[0].message.content == "at last"
    assert time.monotonic() - began >= RETRY_AFTER_S


def test_a_wrong_key_is_reported_as_such(keyed_url: str) -> None:
    assert ask(keyed_url, api_key="secret").choices
    with pytest.raises(litellm.AuthenticationError):
        ask(keyed_url)
