"""JSON's types are kept apart, and a message says something: what is no such thing is refused by its name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import httpx
import pytest

from spar_core.backends.scripted import always
from tests.support.malformed import SOUND
from tests.support.pairs import RawScripted, scripted_pair

Serving = Callable[..., AbstractContextManager[str]]
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}


@pytest.fixture(scope="module")
def client(serving: Serving) -> Iterator[httpx.Client]:
    with serving(replace(scripted_pair(), actor=RawScripted(always("x")))) as url, httpx.Client(base_url=url) as client:
        yield client


def refused(client: httpx.Client, path: str, body: dict[str, Any]) -> str | None:
    """The field that it is refused for; None where it is not."""
    response = client.post(path, json=SOUND[path] | body)
    assert response.status_code in (200, 400), response.text
    return None if response.status_code == 200 else str(response.json()["error"]["param"])


INTEGERS = ("max_tokens", "max_completion_tokens", "seed", "n", "top_logprobs", "refine_budget")
OPTIONS = ("branch", "beam", "max_depth", "votes", "max_search_tokens")


@pytest.mark.parametrize("value", [True, False, "3", "x", 1.5])
def test_a_whole_number_is_neither_a_text_nor_a_yes_or_no(client: httpx.Client, value: Any) -> None:
    for name in INTEGERS:
        assert refused(client, "/v1/chat/completions", {name: value}) == name
    for name in OPTIONS:
        assert refused(client, "/v1/chat/completions", {"refine": {name: value}}) == f"refine.{name}"
    for path, name in (
        ("/v1/responses", "max_output_tokens"),
        ("/v1/responses", "refine_budget"),
        ("/v1/judge", "votes"),
        ("/v1/judge", "seed"),
        ("/v1/refine", "n"),
        ("/v1/refine", "refine_budget"),
    ):
        assert refused(client, path, {name: value}) == name


@pytest.mark.parametrize("value", [True, False, "0.5"])
def test_a_number_is_neither_a_text_nor_a_yes_or_no(client: httpx.Client, value: Any) -> None:
    for path in ("/v1/chat/completions", "/v1/responses", "/v1/refine"):
        for name in ("temperature", "top_p"):
            assert refused(client, path, {name: value}) == name
        for name in ("threshold", "deadline_s"):
            assert refused(client, path, {"refine": {name: value}}) == f"refine.{name}"
    assert refused(client, "/v1/judge", {"threshold": value}) == "threshold"
    assert refused(client, "/v1/chat/completions", {"logit_bias": {"5": value}}) == "logit_bias.5"


@pytest.mark.parametrize("value", ["yes", "true", "false", 1, 0, 1.0])
def test_a_yes_or_no_is_neither_a_text_nor_a_number(client: httpx.Client, value: Any) -> None:
    for path in ("/v1/chat/completions", "/v1/responses", "/v1/refine", "/v1/completions"):
        assert refused(client, path, {"stream": value}) == "stream"
    assert refused(client, "/v1/chat/completions", {"logprobs": value}) == "logprobs"
    options = {"stream": True, "stream_options": {"include_usage": value}}
    assert refused(client, "/v1/chat/completions", options) == "stream_options.include_usage"
    for name in ("early_vote_stop", "progress"):
        assert refused(client, "/v1/chat/completions", {"refine": {name: value}}) == f"refine.{name}"
    assert refused(client, "/v1/judge", {"early_vote_stop": value}) == "early_vote_stop"


def test_a_whole_number_is_a_number_and_is_whole_however_it_is_written(client: httpx.Client) -> None:
    for body in ({"temperature": 1, "top_p": 1}, {"max_tokens": 3.0}, {"refine_budget": 1.0, "refine": {"votes": 3.0}}):
        assert refused(client, "/v1/chat/completions", body) is None


def said(client: httpx.Client, message: dict[str, Any]) -> str | None:
    messages = [{"role": "user", "content": "Hi"}, message, {"role": "user", "content": "Go on"}]
    return refused(client, "/v1/chat/completions", {"messages": messages})


@pytest.mark.parametrize("role", ["user", "system", "developer", "tool", "assistant"])
def test_a_message_has_content(client: httpx.Client, role: str) -> None:
    for content in ({}, {"content": None}, {"content": []}):
        assert said(client, {"role": role} | content) == "messages.1.content"
    assert said(client, {"role": role, "content": ""}) is None


def test_content_is_optional_next_to_its_substitutes(client: httpx.Client) -> None:
    for other in (
        {"tool_calls": [CALL]},
        {"function_call": CALL["function"]},
        {"refusal": "No."},
        {"audio": {"id": "a"}},
        {"reasoning_content": "Hm."},
    ):
        for content in ({}, {"content": None}):
            assert said(client, {"role": "assistant", **other, **content}) is None
            assert said(client, {"role": "user", **other, **content}) == "messages.1.content"
    assert said(client, {"role": "assistant", "content": None, "tool_calls": []}) == "messages.1.content"
    assert said(client, {"role": "function", "name": "f", "content": None}) is None


@pytest.mark.parametrize(
    ("part", "field"),
    [
        ({"type": "text"}, "text"),
        ({"type": "text", "text": 5}, "text"),
        ({"type": "text", "text": None}, "text"),
        ({"type": "refusal", "text": "x"}, "refusal"),
        ({"text": "x"}, "type"),
        ({"type": 5}, "type"),
        ({}, "type"),
    ],
)
def test_a_part_that_is_none_is_refused_by_its_place(client: httpx.Client, part: dict[str, Any], field: str) -> None:
    parts = [{"type": "text", "text": "Look:"}, part]
    assert said(client, {"role": "user", "content": parts}) == f"messages.1.content.1.{field}"
    judged = {"messages": [{"role": "user", "content": parts}]}
    assert refused(client, "/v1/judge", judged) == f"messages.0.content.1.{field}"


def test_other_parts_are_the_upstreams_to_understand(client: httpx.Client) -> None:
    for part in (
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
        {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}},
        {"type": "video_url", "video_url": {"url": "x"}},
        {"type": "refusal", "refusal": "No."},
    ):
        assert said(client, {"role": "assistant", "content": [part]}) is None
