"""Which fields of a client's request reach an upstream, and what becomes of the others."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import httpx
import pytest
from openai.types import completion_create_params, embedding_create_params
from openai.types.chat import completion_create_params as chat_create_params

from spar_core.backends.scripted import ScriptedBackend, always
from spar_server.models.pair import ServedPair
from spar_server.schemas import ChatRequest
from spar_server.serving.request_fields import CHAT_FIELDS, RAW_FIELDS
from spar_server.settings import Settings
from tests.support.pairs import RawScripted, scripted_pair

Serving = Callable[..., AbstractContextManager[str]]
MESSAGES = [{"role": "user", "content": "Hi"}]
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"model": "pair", "messages": MESSAGES},
    "/v1/refine": {"model": "pair", "messages": MESSAGES, "response": "x"},
    "/v1/responses": {"model": "pair", "input": "Hi"},
    "/v1/completions": {"model": "pair", "prompt": "Hi"},
    "/v1/embeddings": {"model": "pair", "input": "Hi"},
}


def raw_pair() -> ServedPair:
    plain = scripted_pair()
    raw = RawScripted(always("a plain draft"))
    return ServedPair(
        plain.name, raw, plain.refiner, plain.templates, plain.actor_sampling, plain.judge_sampling,
        plain.refine_sampling,
    )  # fmt: skip


def ask(
    serving: Serving, pair: ServedPair, path: str, settings: Settings | None = None, **fields: Any
) -> httpx.Response:
    with serving(pair, settings) as url:
        return httpx.post(f"{url}{path}", json=BODIES[path] | fields)


def sent(pair: ServedPair) -> dict[str, Any]:
    assert isinstance(pair.actor, ScriptedBackend)
    return dict(pair.actor.calls[0][1].extra)


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("kv_transfer_params", {"remote_host": "x"}),
        ("priority", -100),
        ("chat_template", "{{ 1 }}"),
        ("request_id", "x"),
        ("vllm_xargs", {}),
        ("lora_path", "/x"),
        ("bootstrap_host", "x"),
        ("mm_processor_kwargs", {}),
        ("return_hidden_states", True),
        ("chat_template_kwargs", {"chat_template": "{{ 1 }}"}),
        ("anything", 0),
    ],
)
def test_a_field_for_operators_is_refused_by_name(serving: Serving, path: str, field: str, value: Any) -> None:
    response = ask(serving, raw_pair(), path, **{field: value})
    error = response.json()["error"]
    assert response.status_code == 400
    assert error["param"].partition(".")[0] == field


@pytest.mark.parametrize(
    ("path", "typed", "meant"),
    [
        ("/v1/chat/completions", "refine_buget", "refine_budget"),
        ("/v1/chat/completions", "refinebudget", "refine_budget"),
        ("/v1/chat/completions", "Refine", "refine"),
        ("/v1/chat/completions", "temprature", "temperature"),
        ("/v1/chat/completions", "max_completions_tokens", "max_completion_tokens"),
        ("/v1/responses", "refine_buget", "refine_budget"),
        ("/v1/refine", "refine_budgets", "refine_budget"),
        ("/v1/refine", "critque", "critique"),
        ("/v1/completions", "sufix", "suffix"),
        ("/v1/embeddings", "dimension", "dimensions"),
    ],
)
def test_a_mistyped_field_is_refused_with_a_suggestion(serving: Serving, path: str, typed: str, meant: str) -> None:
    response = ask(serving, raw_pair(), path, **{typed: 4})
    error = response.json()["error"]
    assert (response.status_code, error["param"]) == (400, typed)
    assert f"did you mean {meant}?" in error["message"]


def test_a_name_of_any_length_is_refused_in_short(serving: Serving) -> None:
    error = ask(serving, scripted_pair(), "/v1/chat/completions", **{"x" * 100_000: 1}).json()["error"]
    assert len(error["message"]) < 300


@pytest.mark.parametrize("path", BODIES)
def test_a_field_that_is_null_asks_for_nothing(serving: Serving, path: str) -> None:
    pair = raw_pair()
    assert ask(serving, pair, path, kv_transfer_params=None, odd=None).status_code == 200


def test_the_usual_sampling_fields_reach_the_actor(serving: Serving) -> None:
    fields = {
        "top_k": 40, "min_p": 0.1, "repetition_penalty": 1.1, "stop_token_ids": [1], "guided_json": {"type": "object"},
        "structured_outputs": {"regex": "a"}, "chat_template_kwargs": {"enable_thinking": False}, "user": "ann",
        "metadata": {"a": "b"}, "tools": [], "parallel_tool_calls": True, "frequency_penalty": 0.5,
    }  # fmt: skip
    pair = scripted_pair()
    assert ask(serving, pair, "/v1/chat/completions", **fields).status_code == 200
    assert sent(pair) == fields


def test_a_setting_lets_further_fields_through(serving: Serving) -> None:
    settings = Settings(client_fields=("priority", "lora"))
    pair = scripted_pair()
    assert ask(serving, pair, "/v1/chat/completions", settings, priority=1).status_code == 200
    assert sent(pair) == {"priority": 1}
    assert ask(serving, raw_pair(), "/v1/completions", settings, lora="x").status_code == 200
    assert ask(serving, raw_pair(), "/v1/completions", settings, loras="x").status_code == 400


def test_every_field_of_openais_client_is_known() -> None:
    def fields(params: Any) -> set[str]:
        return set(params.__annotations__) | {"stream"}

    known = CHAT_FIELDS | ChatRequest.model_fields.keys()
    assert fields(chat_create_params.CompletionCreateParamsBase) <= known
    raw = RAW_FIELDS | {"model", "prompt", "input", "stream"}
    assert fields(completion_create_params.CompletionCreateParamsBase) <= raw
    assert fields(embedding_create_params.EmbeddingCreateParams) <= raw


def upstream(**more: Any) -> Any:
    return {"url": "http://127.0.0.1:9/v1", "model": "m", **more}


@pytest.mark.parametrize(
    ("settings", "budget", "forwarded"),
    [
        (Settings(), 2, False),
        (Settings(actor=upstream()), 2, False),
        (Settings(actor=upstream(reasons=True)), 2, True),
        (Settings(refine={"effort_budgets": False}), 0, True),  # type: ignore[arg-type]
        (Settings(refine={"effort_budgets": False, "refine_budget": 1}), 1, True),  # type: ignore[arg-type]
    ],
)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses"])
def test_an_effort_is_a_budget_or_the_actors_own(
    serving: Serving, path: str, settings: Settings, budget: int, forwarded: bool
) -> None:
    pair = scripted_pair()
    asked = {"reasoning": {"effort": "low"}} if path == "/v1/responses" else {"reasoning_effort": "low"}
    response = ask(serving, pair, path, settings, **asked)
    assert response.json()["usage"]["refinement"]["budget"] == budget
    assert sent(pair).get("reasoning_effort") == ("low" if forwarded else None)
