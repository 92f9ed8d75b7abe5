"""Requests to a gateway, and what its answers have in common."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx

PROMPT = "Tell me about the river. Do not use commas. Include the words lamp and bell. Write at least 4 sentences."
MESSAGES = [{"role": "user", "content": PROMPT}]


def ask(url: str, *, model: str = "pair", **fields: Any) -> dict[str, Any]:
    """A chat completion that is not streamed."""
    body = {"model": model, "messages": MESSAGES, **fields}
    response = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=120)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def chunks(url: str, *, model: str = "pair", **fields: Any) -> Iterator[dict[str, Any]]:
    """A streamed one's chunks, up to [DONE], which must come."""
    body = {
        "model": model, "messages": MESSAGES, "stream": True, "stream_options": {"include_usage": True}, **fields,
    }  # fmt: skip
    with httpx.stream("POST", f"{url}/v1/chat/completions", json=body, timeout=120) as response:
        assert response.status_code == 200, response.read()
        lines = (line.removeprefix("data: ") for line in response.iter_lines() if line.startswith("data: "))
        for line in lines:
            if line == "[DONE]":
                return
            yield json.loads(line)
    raise AssertionError("the stream ended without [DONE]")


def text_of(answer: dict[str, Any]) -> str:
    return str(answer["choices"][0]["message"]["content"])


def told(pieces: list[dict[str, Any]], name: str = "content") -> str:
    """What a stream's deltas say together."""
    return "".join(choice["delta"].get(name) or "" for piece in pieces for choice in piece["choices"])


def check_search(answer: dict[str, Any], budget: int) -> None:
    """A search's account adds up, whatever it found."""
    usage, refinement = answer["usage"], answer["usage"]["refinement"]
    assert refinement["budget"] == budget
    assert refinement["degraded"] is False
    assert refinement["stop_reason"] in ("draft_accepted", "refined_accepted", "budget", "depth", "no_candidates")
    assert 0 <= refinement["nodes"] <= budget
    assert refinement["calls"]["judge"] >= 1
    by_role = refinement["tokens"]
    assert usage["completion_tokens"] == sum(tokens["completion"] for tokens in by_role.values())
    assert text_of(answer)
