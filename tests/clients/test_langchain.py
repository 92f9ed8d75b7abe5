"""LangChain's ChatOpenAI."""

from __future__ import annotations

import time
from typing import Any

import openai
import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessageChunk, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from tests.clients.obedient import RETRY_AFTER_S


@tool
def weather(city: str) -> str:
    """The weather in a city."""
    return f"sunny in {city}"


def chat(url: str, model: str = "pair", **settings: Any) -> ChatOpenAI:
    usual = {"api_key": SecretStr("none"), "max_retries": 0}
    return ChatOpenAI(base_url=url, model=model, **{**usual, **settings})


def joined(chunks: list[AIMessageChunk]) -> BaseMessageChunk:
    whole: BaseMessageChunk = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    return whole


def test_a_plain_chat(url: str) -> None:
    answer = chat(url).invoke("Hi there")
    assert answer.content == "a plain draft"
    assert answer.usage_metadata is not None
    assert (answer.usage_metadata["input_tokens"], answer.usage_metadata["output_tokens"]) == (2, 3)
    assert answer.response_metadata["token_usage"]["refinement"]["stop_reason"] == "pass_through"
    assert answer.response_metadata["finish_reason"] == "stop"


@pytest.mark.parametrize(
    ("model", "settings", "budget"),
    [("pair", {"extra_body": {"refine_budget": 8}}, 8), ("pair@8", {}, 8), ("pair", {"reasoning_effort": "medium"}, 6)],
)
def test_a_budget_buys_refinement(url: str, model: str, settings: dict[str, Any], budget: int) -> None:
    answer = chat(url, model, **settings).invoke("Hi")
    assert answer.content == "better answer"
    assert answer.response_metadata["token_usage"]["refinement"]["budget"] == (
        6 if "reasoning_effort" in settings else 8
    )
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["output_token_details"]["reasoning"] > 0


@pytest.mark.parametrize(("model", "text"), [("pair", "a plain draft"), ("pair@2", "better answer")])
async def test_a_stream_joins_to_the_answer_with_its_usage(url: str, model: str, text: str) -> None:
    model_chat = chat(url, model, stream_usage=True)
    for chunks in (list(model_chat.stream("Hi there")), [chunk async for chunk in model_chat.astream("Hi there")]):
        whole = joined(chunks)  # type: ignore[arg-type]
        assert isinstance(whole, AIMessageChunk)
        assert whole.content == text
        assert whole.usage_metadata is not None
        assert whole.usage_metadata["input_tokens"] == 2
        assert whole.response_metadata["finish_reason"] == "stop"


@pytest.mark.parametrize("model", ["pair", "pair@2"])
def test_a_tool_is_called_and_its_result_answered(url: str, model: str) -> None:
    bound = chat(url, model).bind_tools([weather])
    question = HumanMessage("weather in Paris?")
    called = bound.invoke([question])
    [call] = called.tool_calls
    assert (call["name"], call["args"], call["id"]) == ("weather", {"city": "Paris"}, "call_1")
    result = weather.invoke(call)
    assert isinstance(result, ToolMessage)
    assert chat(url).bind_tools([weather]).invoke([question, called, result]).content == "The weather: sunny in Paris"


@pytest.mark.parametrize("model", ["pair", "pair@2"])
def test_a_streamed_tool_call_is_put_together(url: str, model: str) -> None:
    whole = joined(list(chat(url, model).bind_tools([weather]).stream("weather")))  # type: ignore[arg-type]
    assert isinstance(whole, AIMessage)
    [call] = whole.tool_calls
    assert (call["name"], call["args"]) == ("weather", {"city": "Paris"})


def test_errors_are_the_openai_clients(url: str) -> None:
    with pytest.raises(openai.NotFoundError, match="other"):
        chat(url, "other").invoke("Hi")
    with pytest.raises(openai.BadRequestError, match=r"refine\.brunch"):
        chat(url, extra_body={"refine": {"brunch": 1}}).invoke("Hi")
    with pytest.raises(openai.RateLimitError):
        chat(url).invoke("busy")
    with pytest.raises(openai.InternalServerError):
        list(chat(url).stream("broken"))


def test_it_retries_after_the_requested_wait(url: str) -> None:
    began = time.monotonic()
    assert chat(url, max_retries=1).invoke("busy once, LangChain").content == "at last"
    assert time.monotonic() - began >= RETRY_AFTER_S


def test_a_wrong_key_is_reported_as_such(keyed_url: str) -> None:
    assert chat(keyed_url, api_key=SecretStr("secret")).invoke("Hi").content
    with pytest.raises(openai.AuthenticationError):
        chat(keyed_url).invoke("Hi")
