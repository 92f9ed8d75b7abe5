"""The request as it comes in. OpenAI's fields are typed where we act on them; what is not ours goes upstream."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from spar_core.search.config import Algorithm, Selection, StopPolicy
from spar_core.types import Message, Sampling


class CheckRequest(BaseModel):
    """One verifiable constraint, by IFEval's id and kwargs."""

    model_config = ConfigDict(extra="forbid")

    id: str
    kwargs: dict[str, Any] = Field(default_factory=dict)


class RefineOptions(BaseModel):
    """`refine`: how the budget is spent. What is left out is the server's default."""

    model_config = ConfigDict(extra="forbid")

    algorithm: Algorithm | None = None
    branch: int | None = Field(default=None, ge=1, le=16)
    beam: int | None = Field(default=None, ge=1, le=16)
    max_depth: int | None = Field(default=None, ge=1, le=16)
    votes: int | None = Field(default=None, ge=1, le=25)
    threshold: float | None = Field(default=None, ge=0, lt=1)
    stop: StopPolicy | None = None
    select: Selection | None = None
    early_vote_stop: bool | None = None
    max_search_tokens: int | None = Field(default=None, ge=1)
    deadline_s: float | None = Field(default=None, gt=0, le=280)
    checks: list[CheckRequest] = Field(default_factory=list, max_length=32)
    progress: bool = True
    trace: Literal["none", "summary", "full"] = "none"


class StreamOptions(BaseModel):
    model_config = ConfigDict(extra="allow")

    include_usage: bool = False


class ChatMessage(BaseModel):
    """A message of any role; keys besides role and content reach the upstream unchanged."""

    model_config = ConfigDict(extra="allow")

    role: Literal["developer", "system", "user", "assistant", "tool", "function"]
    content: str | list[dict[str, Any]] | None = None

    def to_core(self) -> Message:
        return Message(self.role, self.content, self.model_extra or {})


class ChatRequest(BaseModel):
    """`POST /v1/chat/completions`. `refine_budget` and `refine` are this server's extensions."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "example": {
                "model": "spar-small",
                "messages": [
                    {"role": "user", "content": "Tell me about the river. Do not use commas. Include the word lamp."}
                ],
                "refine_budget": 8,
            }
        },
    )

    model: str
    messages: list[ChatMessage] = Field(min_length=1)
    stream: bool = False
    stream_options: StreamOptions | None = None
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    stop: str | list[str] | None = None
    seed: int | None = None
    n: int | None = Field(default=None, ge=1)
    logprobs: bool | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None = None
    refine_budget: int | None = Field(default=None, ge=0)
    refine: RefineOptions = Field(default_factory=RefineOptions)

    @field_validator("refine", mode="before")
    @classmethod
    def _absent(cls, value: Any) -> Any:
        return {} if value is None else value

    def conversation(self) -> tuple[Message, ...]:
        return tuple(message.to_core() for message in self.messages)

    def sampling(self, *, seed: int) -> Sampling:
        """How the actor samples: what the client asked for, and every field that is the upstream's to read."""
        extra = {name: value for name, value in (self.model_extra or {}).items() if value is not None}
        if self.logprobs:
            extra["logprobs"] = True
        stops = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())
        return Sampling(
            temperature=1.0 if self.temperature is None else self.temperature,
            top_p=1.0 if self.top_p is None else self.top_p,
            max_tokens=self.max_completion_tokens or self.max_tokens,
            stop=stops,
            seed=seed,
            extra=extra,
        )
