"""Requests about an answer that is there already: judge it, or improve it."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from spar_core.errors import RequestError
from spar_core.types import Message
from spar_server.chat_message import ChatMessage
from spar_server.json_types import WHOLE, Flag, Number, Whole
from spar_server.schemas import ChatRequest, CheckRequest, Votes

_EXAMPLE: Final[list[Any]] = [
    {"role": "user", "content": "Tell me about the river. Do not use commas. Include the word lamp."}
]


class JudgeRequest(BaseModel):
    """`POST /v1/judge`. Without `response` the last message, an assistant's, is judged."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "model": "spar-small",
                "messages": _EXAMPLE,
                "response": "The river, by a lamp, runs east.",
                "votes": 5,
                "checks": [{"id": "keywords:existence", "kwargs": {"keywords": ["lamp"]}}],
            }
        },
    )

    model: str | None = None
    messages: list[ChatMessage] = Field(min_length=1)
    response: str | None = None
    votes: Votes | None = None
    threshold: Number | None = Field(default=None, ge=0, lt=1)
    early_vote_stop: Flag | None = None
    checks: list[CheckRequest] = Field(default_factory=list, max_length=32)
    seed: Whole | None = None

    def to_chat(self, model: str) -> ChatRequest:
        """The chat whose answer is judged; nothing of it is to be answered. `model` is the server's own."""
        conversation, _ = split_answer(self.messages, self.response)
        options: dict[str, Any] = self.model_dump(
            include={"votes", "threshold", "early_vote_stop", "checks"}, exclude_none=True
        )
        try:
            return ChatRequest(
                model=self.model or model,
                messages=conversation,
                seed=self.seed,
                refine_budget=0,
                refine=options,  # type: ignore[arg-type]
            )
        except ValidationError as error:
            raise RequestValidationError(error.errors()) from error


class RefineRequest(ChatRequest):
    """`POST /v1/refine`: a chat and an answer to it, from which the search starts; judged first without `critique`."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "model": "spar-small",
                "messages": _EXAMPLE,
                "response": "The river, by a lamp, runs east.",
                "critique": "It has two commas.",
                "refine_budget": 4,
            }
        }
    )

    response: str | None = None
    critique: str | None = Field(default=None, min_length=1)
    n: Annotated[int, Field(ge=1, le=1), WHOLE] | None = None


def split_answer(messages: list[ChatMessage], response: str | None) -> tuple[list[ChatMessage], str]:
    """The conversation and the answer to it, which may be its last message.

    Raises:
        RequestError: there is no answer, or nothing that it answers.
    """
    if response is not None:
        return messages, response
    *conversation, last = messages
    text = Message(last.role, last.content).text if last.role == "assistant" else ""
    if not text:
        raise RequestError("response: is needed, unless the last message is an assistant's text", param="response")
    if not conversation:
        raise RequestError("messages: hold an answer and nothing that it answers", param="messages")
    return conversation, text
