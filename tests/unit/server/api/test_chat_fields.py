"""What becomes of OpenAI's fields when an answer is searched: n, formats, stops, lengths, tools, images."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import httpx
import pytest

from spar_core.backends.scripted import ScriptedBackend
from spar_core.types import Message, Sampling
from spar_server.models.pair import ServedPair
from tests.support.pairs import refiner_script, scripted_pair

Serving = Callable[..., AbstractContextManager[str]]
HELLO = [{"role": "user", "content": "Hi there"}]
WEATHER = {"name": "weather", "arguments": '{"at":"x"}'}


def ask(serving: Serving, pair: ServedPair, **body: Any) -> httpx.Response:
    with serving(pair) as url:
        return httpx.post(f"{url}/v1/chat/completions", json={"model": "pair", "messages": HELLO} | body)


def contents(response: httpx.Response) -> list[str]:
    return [choice["message"]["content"] for choice in response.json()["choices"]]


def chunks(response: httpx.Response) -> list[dict[str, Any]]:
    lines = [line[6:] for line in response.text.splitlines() if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def numbered() -> Callable[[Sequence[Message], Sampling], str]:
    numbers = itertools.count(1)
    return lambda messages, sampling: f"draft {next(numbers)}"


@pytest.mark.parametrize("budget", [0, 3])
def test_n_answers_are_n_choices(serving: Serving, budget: int) -> None:
    response = ask(serving, scripted_pair(numbered()), n=3, refine_budget=budget)
    body = response.json()
    assert [choice["index"] for choice in body["choices"]] == [0, 1, 2]
    assert len(set(contents(response))) == 3
    assert body["usage"]["prompt_tokens"] == 2
    assert body["usage"]["refinement"]["nodes"] <= budget
    assert body["usage"]["refinement"]["calls"]["actor"] == 3


def test_the_best_of_n_answers_comes_first(serving: Serving) -> None:
    response = ask(serving, scripted_pair(numbered()), n=2, refine_budget=4, refine={"trace": "summary"})
    assert contents(response)[0] == "better answer"
    assert len(response.json()["spar"]["trees"]) == 2


@pytest.mark.parametrize("budget", [0, 3])
def test_a_stream_of_n_answers_keeps_its_choices_apart(serving: Serving, budget: int) -> None:
    response = ask(serving, scripted_pair(numbered()), n=2, refine_budget=budget, stream=True)
    texts: dict[int, str] = {}
    roles, ends = [], []
    for choice in (choice for chunk in chunks(response) for choice in chunk["choices"]):
        texts[choice["index"]] = texts.get(choice["index"], "") + (choice["delta"].get("content") or "")
        roles += [choice["index"]] * ("role" in choice["delta"])
        ends += [choice["index"]] * (choice["finish_reason"] == "stop")
    assert sorted(texts) == sorted(roles) == sorted(ends) == [0, 1]
    assert len(set(texts.values())) == 2


SCHEMA = {
    "type": "json_schema",
    "json_schema": {
        "name": "x",
        "schema": {"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}},
    },
}


def json_refiner(replies: Sequence[str]) -> Callable[[Sequence[Message], Sampling], str]:
    """Judges by whether `good` is in the response; refines to the replies one by one, without markers."""
    left = iter(replies)

    def script(messages: Sequence[Message], sampling: Sampling) -> str:
        if len(messages) > 1:
            assert sampling.extra["response_format"]
            return next(left)
        return f"Final Judgement: {'Yes' if '1' in messages[0].text.rpartition('Response: ')[2] else 'No'}"

    return script


def test_every_candidate_is_made_under_the_response_format(serving: Serving) -> None:
    pair = scripted_pair(lambda m, s: '{"a": 0}', json_refiner(['{"a": 1}']))
    response = ask(serving, pair, refine_budget=1, response_format=SCHEMA)
    assert contents(response) == ['{"a": 1}']


def test_a_candidate_that_breaks_the_format_is_never_chosen(serving: Serving) -> None:
    pair = scripted_pair(lambda m, s: '{"a": 0}', json_refiner(['{"a": "1"}', "1", '{"b": 1}']))
    response = ask(serving, pair, refine_budget=3, response_format=SCHEMA, refine={"stop": "level"})
    assert contents(response) == ['{"a": 0}']


@pytest.mark.parametrize("verdict", ["No", "unclear"])
def test_a_draft_that_breaks_the_format_gives_way_even_to_an_answer_that_was_not_accepted(
    serving: Serving, verdict: str
) -> None:
    def script(messages: Sequence[Message], sampling: Sampling) -> str:
        return '{"a": 1}' if len(messages) > 1 else f"Final Judgement: {verdict}"

    response = ask(serving, scripted_pair(lambda m, s: "no JSON", script), refine_budget=1, response_format=SCHEMA)
    assert contents(response) == ['{"a": 1}']
    assert response.json()["usage"]["refinement"]["accepted"] is False


def test_a_draft_that_breaks_the_format_is_refined_by_the_error(serving: Serving) -> None:
    pair = scripted_pair(lambda m, s: '{"a": "one"}', json_refiner(['{"a": 1}']))
    response = ask(serving, pair, refine_budget=1, response_format=SCHEMA)
    assert contents(response) == ['{"a": 1}']
    assert isinstance(pair.refiner, ScriptedBackend)
    refine_turn = next(messages for messages, _ in pair.refiner.calls if len(messages) > 1)
    assert "$.a: 'one' is not of type 'integer'" in refine_turn[1].text


def test_a_schema_never_makes_the_server_fetch_an_address(serving: Serving) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"$ref": "http://127.0.0.1:9/secret"}}}
    response = ask(serving, scripted_pair(lambda m, s: "{}"), refine_budget=1, response_format=form)
    assert response.status_code == 200
    assert response.json()["usage"]["refinement"]["accepted"] is False


def test_a_refined_answer_ends_at_the_stop_string_too(serving: Serving) -> None:
    response = ask(serving, scripted_pair(), refine_budget=1, stop=[" answer"], refine={"trace": "full"})
    refined = [node["text"] for node in response.json()["spar"]["tree"]["nodes"] if node["path"]]
    assert refined == ["better"]


def test_a_refined_answer_is_no_longer_than_max_tokens_allows(serving: Serving) -> None:
    pair = scripted_pair()
    ask(serving, pair, refine_budget=1, max_tokens=3)
    assert isinstance(pair.refiner, ScriptedBackend)
    assert {s.max_tokens for messages, s in pair.refiner.calls if len(messages) > 1} == {35}
    pair = scripted_pair(lambda m, s: '{"a": 0}', json_refiner(['{"a": 1}']))
    ask(serving, pair, refine_budget=1, max_tokens=3, response_format=SCHEMA)
    assert isinstance(pair.refiner, ScriptedBackend)
    assert {s.max_tokens for messages, s in pair.refiner.calls if len(messages) > 1} == {3}


def judged_text(serving: Serving, messages: list[dict[str, Any]], **body: Any) -> str:
    pair = scripted_pair(refiner=refiner_script)
    assert ask(serving, pair, messages=messages, refine_budget=1, **body).status_code == 200
    assert isinstance(pair.refiner, ScriptedBackend)
    return pair.refiner.calls[0][0][0].text


def test_the_judge_sees_every_turn_and_judges_the_last_answer(serving: Serving) -> None:
    prompt = judged_text(
        serving,
        [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "What is the weather?"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"id": "1", "type": "function", "function": {"name": "weather", "arguments": '{"at":"x"}'}}
                ],
            },
            {"role": "tool", "tool_call_id": "1", "content": "rain"},
        ],
        tools=[{"type": "function", "function": {"name": "weather"}}],
    )
    for part in ("system: Be brief.", "user: What is", 'assistant: [calls weather({"at":"x"})]', "tool: rain"):
        assert part in prompt
    assert prompt.endswith("Response: a plain draft")


def test_the_judge_sees_placeholders_for_images_and_the_actor_the_originals(serving: Serving) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}}
    audio = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
    content = [{"type": "text", "text": "What is this? "}, image, audio]
    pair = scripted_pair()
    ask(serving, pair, messages=[{"role": "user", "content": content}], refine_budget=1)
    assert isinstance(pair.actor, ScriptedBackend)
    assert isinstance(pair.refiner, ScriptedBackend)
    assert pair.actor.calls[0][0][0].to_openai()["content"] == content
    assert "What is this? [image: not shown here][audio: not shown here]" in pair.refiner.calls[0][0][0].text
