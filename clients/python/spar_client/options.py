"""The parameters of requests, as typed keyword arguments. What is left out has the server's default."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NotRequired, TypedDict

Messages = str | Sequence[Mapping[str, Any]]
"""A conversation: OpenAI's messages, or one user message as a string."""


class Check(TypedDict):
    """A constraint that code verifies, e.g. `{"id": "keywords:existence", "kwargs": {"keywords": ["lamp"]}}`."""

    id: str
    kwargs: NotRequired[Mapping[str, Any]]


class RefineOptions(TypedDict, total=False):
    """How the budget is spent; docs/api.md explains each."""

    algorithm: str
    branch: int
    beam: int
    max_depth: int | None
    votes: int
    threshold: float
    stop: Literal["first", "level"]
    select: Literal["greedy", "sample"]
    early_vote_stop: bool
    max_search_tokens: int | None
    max_cost: float
    deadline_s: float
    checks: Sequence[Check]
    judge: Literal["holistic", "checklist"]
    requirements: Sequence[str]
    prompts: bool
    trace: Literal["none", "summary", "full"]


class _RequestOptions(TypedDict, total=False):
    model: str
    """The server's first model if left out."""
    extra_body: Mapping[str, Any]
    """Further fields of the request's body."""
    timeout: float
    """Seconds without a byte from the server, instead of the client's."""


class ChatOptions(_RequestOptions, total=False):
    """Parameters of `chat`, `stream` and `refine`."""

    refine_budget: int
    refine: RefineOptions
    temperature: float
    top_p: float
    max_completion_tokens: int
    stop: str | Sequence[str]
    seed: int
    n: int
    tools: Sequence[Mapping[str, Any]]
    tool_choice: str | Mapping[str, Any]
    response_format: Mapping[str, Any]
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"]
    logprobs: bool
    top_logprobs: int


class JudgeOptions(_RequestOptions, total=False):
    """Parameters of `judge`."""

    votes: int
    threshold: float
    early_vote_stop: bool
    checks: Sequence[Check]
    judge: Literal["holistic", "checklist"]
    requirements: Sequence[str]
    seed: int
