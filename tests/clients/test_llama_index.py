"""LlamaIndex's OpenAILike."""

from __future__ import annotations

import time
from typing import Any

import openai
import pytest
from llama_index.core.llms import ChatMessage, ChatResponse
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai_like import OpenAILike

from tests.clients.obedient import RETRY_AFTER_S


def weather(city: str) -> str:
    """The weather in a city."""
    return f"sunny in {city}"


TOOL = FunctionTool.from_defaults(weather)
HI = [ChatMessage(role="user", content="Hi there")]


def llm(url: str, model: str = "pair", **settings: Any) -> OpenAILike:
    usual = {"api_key": "none", "is_chat_model": True, "is_function_calling_model": True, "max_retries": 0}
    return OpenAILike(api_base=url, model=model, **{**usual, **settings})


def account(response: ChatResponse) -> dict[str, Any]:
    raw: Any = response.raw
    return dict(raw.usage.model_extra["refinement"])


def test_a_plain_chat(url: str) -> None:
    response = llm(url).chat(HI)
    assert response.message.content == "a plain draft"
    assert response.additional_kwargs["prompt_tokens"] == 2
    assert response.additional_kwargs["completion_tokens"] == 3
    assert account(response)["stop_reason"] == "pass_through"


def test_a_prompt_is_completed_as_a_chat(url: str) -> None:
    assert llm(url).complete("Hi there").text == "a plain draft"


@pytest.mark.parametrize(
    ("model", "settings"),
    [("pair", {"additional_kwargs": {"extra_body": {"refine_budget": 8}}}), ("pair@8", {})],
)
def test_a_budget_buys_refinement(url: str, model: str, settings: dict[str, Any]) -> None:
    response = llm(url, model, **settings).chat(HI)
    assert response.message.content == "better answer"
    assert account(response)["budget"] == 8


@pytest.mark.parametrize(("model", "text"), [("pair", "a plain draft"), ("pair@2", "better answer")])
async def test_a_stream_joins_to_the_answer_with_its_usage(url: str, model: str, text: str) -> None:
    chat = llm(url, model, additional_kwargs={"stream_options": {"include_usage": True}})
    for responses in (list(chat.stream_chat(HI)), [part async for part in await chat.astream_chat(HI)]):
        assert "".join(response.delta or "" for response in responses) == text
        assert responses[-1].message.content == text
        assert account(responses[-1])["budget"] == (0 if model == "pair" else 2)


@pytest.mark.parametrize("model", ["pair", "pair@2"])
def test_a_tool_is_called(url: str, model: str) -> None:
    response = llm(url, model).chat_with_tools([TOOL], user_msg="weather in Paris?")
    [call] = llm(url).get_tool_calls_from_response(response)
    assert (call.tool_id, call.tool_name, call.tool_kwargs) == ("call_1", "weather", {"city": "Paris"})
    result = ChatMessage(role="tool", content=weather(**call.tool_kwargs), additional_kwargs={"tool_call_id": "call_1"})
    question = ChatMessage(role="user", content="weather in Paris?")
    answer = llm(url).chat_with_tools([TOOL], chat_history=[question, response.message, result])
    assert answer.message.content == "The weather: sunny in Paris"


@pytest.mark.parametrize("model", ["pair", "pair@2"])
def test_a_streamed_tool_call_is_put_together(url: str, model: str) -> None:
    *_, last = llm(url, model).stream_chat_with_tools([TOOL], user_msg="weather")
    [call] = llm(url).get_tool_calls_from_response(last)
    assert (call.tool_name, call.tool_kwargs) == ("weather", {"city": "Paris"})


def test_errors_are_the_openai_clients(url: str) -> None:
    with pytest.raises(openai.NotFoundError, match="other"):
        llm(url, "other").chat(HI)
    with pytest.raises(openai.BadRequestError, match=r"refine\.brunch"):
        llm(url, additional_kwargs={"extra_body": {"refine": {"brunch": 1}}}).chat(HI)
    with pytest.raises(openai.RateLimitError):
        llm(url).complete("busy")
    with pytest.raises(openai.InternalServerError):
        list(llm(url).stream_complete("broken"))


def test_it_retries_after_the_requested_wait(url: str) -> None:
    began = time.monotonic()
    assert llm(url, max_retries=1).complete("busy once, LlamaIndex").text == "at last"
    assert time.monotonic() - began >= RETRY_AFTER_S


def test_a_wrong_key_is_reported_as_such(keyed_url: str) -> None:
    assert llm(keyed_url, api_key="secret").chat(HI).message.content
    with pytest.raises(openai.AuthenticationError):
        llm(keyed_url).chat(HI)
