"""A prompt that is far too long is refused before all of it is tokenized."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from spar_core.backends.chat_template import PromptEncoder
from spar_core.backends.unsupported import refuse_unsupported
from spar_core.errors import BackendRejected
from spar_core.types import Message, Sampling

CONTEXT = 100


class Words:
    """A tokenizer of words, which counts the characters that it is given."""

    added_tokens_decoder: dict[int, Any] = {}  # noqa: RUF012

    def __init__(self) -> None:
        self.read = 0

    def __call__(self, text: str, **options: Any) -> dict[str, list[int]]:
        self.read += len(text)
        return {"input_ids": [len(word) for word in text.split()]}

    def apply_chat_template(self, turns: Sequence[dict[str, Any]], **options: Any) -> list[int]:
        return [token for turn in turns for token in self(turn["content"])["input_ids"]]


def encode(tokenizer: Words, text: str, *, raw: bool) -> tuple[int, ...]:
    encoder = PromptEncoder(tokenizer, engine="test")
    return (
        encoder.encode_text(text, context=CONTEXT) if raw else encoder.encode([Message("user", text)], context=CONTEXT)
    )


@pytest.mark.parametrize("raw", [False, True])
def test_a_long_prompt_is_tokenized_only_until_it_is_too_long(raw: bool) -> None:
    tokenizer = Words()
    with pytest.raises(BackendRejected, match="maximum context length is 100 tokens; the prompt has more than") as over:
        encode(tokenizer, "word " * 1_000_000, raw=raw)
    assert over.value.code == "context_length_exceeded"
    assert tokenizer.read < 10_000


@pytest.mark.parametrize("raw", [False, True])
def test_a_prompt_is_as_long_as_its_tokens_not_its_characters(raw: bool) -> None:
    assert encode(Words(), "x" * 50_000, raw=raw) == (50_000,)
    assert len(encode(Words(), "word " * 99, raw=raw)) == 99
    with pytest.raises(BackendRejected, match="the prompt has 100"):
        encode(Words(), "word " * 100, raw=raw)


def test_stops_are_few_and_short() -> None:
    refuse_unsupported(Sampling(stop=("x",) * 64), engine="test")
    for stop in (("x",) * 65, ("x" * 20_000,)):
        with pytest.raises(BackendRejected, match="stop: at most"):
            refuse_unsupported(Sampling(stop=stop), engine="test")
