"""Requests that are passed through: what is read of them here. `request_fields` says which other fields go upstream."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from spar_server.json_types import Flag


class RawRequest(BaseModel):
    """What reaches the actor's upstream does so as it is, but for the model's name."""

    model_config = ConfigDict(extra="allow")

    model: str


class CompletionsRequest(RawRequest):
    """`POST /v1/completions`."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"model": "spar-small", "prompt": "The river runs", "max_tokens": 32}}
    )

    prompt: str | list[Any] = Field(min_length=1, description="a text, texts, tokens, or lists of tokens")
    stream: Flag | None = None


class EmbeddingsRequest(RawRequest):
    """`POST /v1/embeddings`."""

    model_config = ConfigDict(json_schema_extra={"example": {"model": "my-model", "input": ["one text", "another"]}})

    input: str | list[Any] = Field(min_length=1, description="a text, texts, tokens, or lists of tokens")
