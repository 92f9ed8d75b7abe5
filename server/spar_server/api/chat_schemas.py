"""Schemas of a chat completion and of its stream, for the OpenAPI document."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from spar_server.api.search_schemas import Body, Checklist, ChunkSpar, SearchTree, Tokens


class CallsByRole(Body):
    actor: int
    refiner: int
    judge: int


class TokensByRole(Body):
    actor: Tokens
    refiner: Tokens
    judge: Tokens


class CostByRole(Body):
    """In the unit of the prices; null where a price or a count of tokens is unknown. Cancelled calls are not in it."""

    actor: float | None
    refiner: float | None
    judge: float | None
    total: float | None


class ChecklistCounts(Body):
    by_code: int = Field(description="items that code decided")
    by_votes: int = Field(description="items that votes decided, the instruction as a whole among them")
    dropped: int = Field(description="extracted items that were left off the list")


class Refinement(Body):
    """What the search did and what it cost."""

    budget: int = Field(description="maximum number of nodes")
    nodes: int = Field(description="expanded nodes, including failed ones")
    depth: int = Field(description="refinements between the draft and the answer; a fresh draft counts as one")
    algorithm: str
    judge: str
    checklist: ChecklistCounts | None = Field(description="of the answer; null if no checklist judged it")
    accepted: bool = Field(description="whether the majority of votes accepted the answer")
    improved: bool = Field(description="whether the answer differs from the draft")
    value: float | None = Field(
        description="the answer's share of Yes among its votes with a verdict; null without one"
    )
    draft_value: float | None
    stop_reason: str = Field(
        description="why the first answer's search stopped; with `n`, a reason that cut another one short"
    )
    stop_reasons: list[str] = Field(description="the stop reason of each of the `n` searches")
    degraded: bool = Field(description="whether a model call failed or the budget was lowered under load")
    calls: CallsByRole
    tokens: TokensByRole
    cost: CostByRole | None = Field(description="by the prices of the settings; null without any")
    cancelled_calls: int = Field(description="calls that were cancelled; counted in `calls` but not in `tokens`")
    cancelled_tokens_at_most: int | None = Field(
        description="upper bound on the tokens that they generated; null if unbounded"
    )
    duration_ms: float


class TokenDetails(Body):
    reasoning_tokens: int | None = Field(description="all generated tokens that are not part of the answer's text")


class ChatUsage(Body):
    """Counts are null if the upstream does not report them."""

    prompt_tokens: int | None
    completion_tokens: int | None = Field(description="all tokens that the request's model calls generated")
    total_tokens: int | None
    completion_tokens_details: TokenDetails
    refinement: Refinement


class Spar(Body):
    trace_id: str
    degraded: bool = Field(description="as in `usage.refinement`; also present in streams without usage")
    checklist: Checklist | None = Field(default=None, description="of the first answer, with the checklist judge")
    tree: SearchTree | None = Field(
        default=None, description="the search tree if `refine.trace` is set; `trees` if n > 1"
    )
    trees: list[SearchTree] | None = None


class FunctionCall(Body):
    name: str
    arguments: str = Field(description="JSON")


class ToolCall(Body):
    id: str
    type: str
    function: FunctionCall | None = None


class AnswerMessage(Body):
    role: Literal["assistant"]
    content: str | None = Field(description="null beside tool calls")
    refusal: str | None = None
    reasoning: str | None = Field(default=None, description="the actor's own, of models that reason")
    tool_calls: list[ToolCall] | None = None


class Choice(Body):
    index: int
    message: AnswerMessage
    finish_reason: str
    logprobs: dict[str, Any] | None = None


class ChatCompletion(Body):
    """OpenAI's chat completion, with `usage.refinement` and `spar`."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[Choice]
    usage: ChatUsage
    spar: Spar


class ToolCallDelta(Body):
    index: int
    id: str | None = None
    type: str | None = None
    function: dict[str, str | None] | None = None


class ChoiceDelta(Body):
    role: str | None = None
    content: str | None = None
    refusal: str | None = None
    reasoning: str | None = Field(default=None, description="the search's progress, or the actor's own reasoning")
    tool_calls: list[ToolCallDelta] | None = None


class ChunkChoice(Body):
    index: int
    delta: ChoiceDelta
    finish_reason: str | None
    logprobs: dict[str, Any] | None = None


class ChatCompletionChunk(Body):
    """The data of one event of a stream; the last event is `[DONE]`."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: ChatUsage | None = None
    spar: ChunkSpar | None = None
