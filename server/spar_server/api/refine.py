"""POST /v1/refine, which improves an answer: its request schema and endpoint."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter
from pydantic import ConfigDict, Field
from starlette.responses import Response

from spar_core.types import Completion, Usage
from spar_server.api.chat import ChatStreamFormat, Envelope
from spar_server.api.openapi import BUDGET_PARAMETER, CHAT
from spar_server.http.json_route import JsonRequest, JsonRoute
from spar_server.schemas import WHOLE, ChatRequest, split_answer
from spar_server.serving.plan import InitialAnswer
from spar_server.serving.runner import plan_request, respond, stream_response

EXAMPLE_MESSAGES: Final[list[Any]] = [
    {"role": "user", "content": "Tell me about the river. Do not use commas. Include the word lamp."}
]


class RefineRequest(ChatRequest):
    """`POST /v1/refine`: a chat and an answer to improve. Without a `critique`, the answer is judged first."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "model": "spar-small",
                "messages": EXAMPLE_MESSAGES,
                "response": "The river, by a lamp, runs east.",
                "critique": "It has two commas.",
                "refine_budget": 4,
            }
        }
    )

    response: str | None = None
    critique: str | None = Field(default=None, min_length=1)
    n: Annotated[int, Field(ge=1, le=1), WHOLE] | None = None


router = APIRouter(route_class=JsonRoute)


@router.post("/v1/refine", summary="Improve an answer", responses=CHAT, openapi_extra=BUDGET_PARAMETER)
async def refine(body: RefineRequest, request: JsonRequest) -> Response:
    """Run a search that starts from an existing answer. The response is a chat completion, optionally streamed."""
    conversation, answer = split_answer(body.messages, body.response)
    chat = body.model_copy(update={"messages": conversation})
    initial = InitialAnswer(Completion(answer, "stop", Usage()), body.critique)
    # By default at least 1, because this endpoint is for refining.
    plan = await plan_request(chat, request, initial=initial, least_budget=1)
    envelope = Envelope(body.model, plan.trace_id)
    if body.stream:
        return await stream_response(plan, request, ChatStreamFormat(envelope, body.include_usage, body.refine.prompts))
    return await respond(plan, request, envelope.completion)
