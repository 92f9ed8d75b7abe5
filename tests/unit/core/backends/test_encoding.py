"""A request's JSON means the same whether its texts are short or long."""

from __future__ import annotations

import json
from typing import Any

import pytest

from spar_core.backends.openai.encoding import encoded

LONG = 300_000
REQUEST = 10**7


def chat(content: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": content}], "temperature": None, "seed": 3}


@pytest.mark.parametrize(
    "text", ["a", "水", '"', "\\", "\n", "\x00", "\U0001f600", "\u2028", "x\ud800", "\ud83d\ude00"], ids=ascii
)
def test_a_long_text_reads_as_it_was(text: str) -> None:
    body = chat(text * LONG)
    # Two halves of a character are one for whoever reads JSON.
    assert json.loads(encoded(body, length=REQUEST)) == json.loads(json.dumps(body))


def test_texts_are_found_wherever_requests_have_them() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:" + "A" * LONG}}
    long = "x" * LONG
    for body in (
        chat([{"type": "text", "text": long}, image, {"type": "text", "text": "short"}]),
        {"model": "m", "prompt": [long, "short", long]},
        {"model": "m", "prompt": long},
        {**chat("short"), "tools": [{"function": {"description": long}}]},
    ):
        assert json.loads(encoded(body, length=REQUEST)) == body
