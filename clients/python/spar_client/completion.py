"""A chat completion with what its search did and cost."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from spar_client.tree import Body, SearchTree


class RoleTokens(Body):
    """Tokens of one role's calls; None if its upstream does not count them."""

    prompt: int | None
    completion: int | None


class ChecklistCounts(Body):
    """How many items code and votes decided, and how many extracted ones were dropped."""

    by_code: int
    by_votes: int
    dropped: int


class Refinement(Body):
    """`usage.refinement`: what the search did and what it cost.

    `value` and `draft_value` are shares of Yes votes, None without a verdict. `cancelled_tokens_at_most` bounds the
    tokens of `cancelled_calls`, which are not in `tokens`; None if there is no bound. `cost` is by role and
    `total`; None where a price or a count is unknown. `checklist` is None if no checklist judged the answer.
    """

    budget: int
    nodes: int
    depth: int
    algorithm: str
    checklist: ChecklistCounts | None = None
    accepted: bool
    improved: bool
    value: float | None
    draft_value: float | None
    stop_reason: str
    stop_reasons: tuple[str, ...] = ()
    degraded: bool
    calls: dict[str, int]
    tokens: dict[str, RoleTokens]
    cost: dict[str, float | None] | None = None
    cancelled_calls: int = 0
    cancelled_tokens_at_most: int | None = 0
    duration_ms: float


class TokenDetails(Body):
    """`reasoning_tokens` are all generated tokens that are not part of the answer."""

    reasoning_tokens: int | None = None


class Usage(Body):
    """Counts are None if the upstream does not report them."""

    prompt_tokens: int | None
    completion_tokens: int | None
    total_tokens: int | None
    completion_tokens_details: TokenDetails | None = None
    refinement: Refinement | None = None


class Message(Body):
    """An assistant's message; `content` is None beside tool calls."""

    role: str = "assistant"
    content: str | None = None
    refusal: str | None = None
    reasoning: str | None = None
    tool_calls: list[dict[str, Any]] | None = None


class Choice(Body):
    """One of the `n` answers."""

    index: int
    message: Message
    finish_reason: str | None
    logprobs: Any = None


class SparFields(Body):
    """The server's own extension of a completion."""

    trace_id: str | None = None
    degraded: bool = False
    tree: SearchTree | None = None
    trees: tuple[SearchTree, ...] = ()


class Completion(Body):
    """An answer, or `n` of them, best first."""

    id: str
    created: int
    model: str
    choices: tuple[Choice, ...]
    usage: Usage | None = None
    spar: SparFields = Field(default_factory=SparFields)

    @property
    def text(self) -> str:
        """The text of the best answer, "" if it only calls tools."""
        return self.choices[0].message.content or ""

    @property
    def refinement(self) -> Refinement:
        """What the search did and what it cost.

        Raises:
            AttributeError: the server is not a SPaR Server, or reported no usage.
        """
        found = self.usage.refinement if self.usage else None
        if found is None:
            raise AttributeError("the completion has no usage.refinement: is this a SPaR Server?")
        return found

    @property
    def tree(self) -> SearchTree | None:
        """The search of the best answer, if `refine["trace"]` requested it."""
        return self.spar.tree or next(iter(self.spar.trees), None)

    @property
    def trace_id(self) -> str | None:
        return self.spar.trace_id
