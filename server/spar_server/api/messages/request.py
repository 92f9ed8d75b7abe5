"""A request of the Messages API, and its translation into a chat request. Its content is read by `content.py`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from spar_core.errors import RequestError
from spar_server.api.messages.content import Block, chat_messages, system_messages
from spar_server.schemas import BUDGET_DESCRIPTION, AtLeast0, ChatRequest, Count, Flag, Number, RefineOptions

# Unsupported fields, with the values that are harmless.
_REFUSED: Final[Mapping[str, tuple[object, ...]]] = {
    "container": (None,),
    "context_management": (None,),
    "mcp_servers": (None, []),
}
# Fields without any effect here.
_IGNORED: Final = ("cache_control", "diagnostics", "inference_geo", "service_tier", "speed")
# Fields of chat completions, with their names in the Messages API.
_CHAT_FIELDS: Final[Mapping[str, str]] = {
    "max_completion_tokens": "max_tokens",
    "stop": "stop_sequences",
    "reasoning_effort": "output_config.effort",
    "response_format": "output_config.format",
    "user": "metadata.user_id",
    "parallel_tool_calls": "tool_choice.disable_parallel_tool_use",
}
_NOT_HERE: Final = (
    *("n", "logprobs", "top_logprobs", "logit_bias", "functions", "function_call", "modalities", "audio", "store"),
    "stream_options",
)
# Field names in errors about the translated request, with the client's own names.
FIELD_NAMES: Final[Mapping[str, str]] = {
    "response_format.json_schema": "output_config.format",
    "response_format": "output_config.format",
}


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Metadata(_Options):
    user_id: str | None = None


class Thinking(_Options):
    """`thinking`: whether the search's progress and the actor's own reasoning are shown as a thinking block."""

    type: Literal["enabled", "adaptive", "between_tools", "disabled"]
    budget_tokens: AtLeast0 | None = None
    display: Literal["summarized", "omitted"] | None = None


class OutputFormat(_Options):
    type: Literal["json_schema"]
    schema_: dict[str, Any] = Field(alias="schema")


class OutputConfig(_Options):
    """`output_config`: an effort sets the budget; a format holds for every candidate."""

    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    format: OutputFormat | None = None


class ToolChoice(_Options):
    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: Flag = False


class Tool(BaseModel):
    """A tool that the client runs. Tools that Anthropic's servers run have another `type`, and are refused."""

    model_config = ConfigDict(extra="allow")

    type: str | None = None
    name: str = Field(min_length=1)
    description: str | None = None
    input_schema: dict[str, Any] | None = None
    strict: Flag | None = None


class MessageParam(_Options):
    role: Literal["user", "assistant", "system"]
    content: str | list[Block]


class MessagesRequest(BaseModel):
    """`POST /v1/messages`. `refine_budget` and `refine` are this server's extensions, as in chat."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "example": {
                "model": "spar-small",
                "max_tokens": 256,
                "system": "Do not use commas.",
                "messages": [{"role": "user", "content": "Tell me about the river. Include the word lamp."}],
                "refine_budget": 8,
            }
        },
    )

    model: str
    messages: list[MessageParam] = Field(min_length=1)
    max_tokens: Count
    system: str | list[Block] | None = None
    stream: Flag | None = None
    stop_sequences: list[str] | None = None
    temperature: Number | None = Field(default=None, ge=0, le=1)
    top_p: Number | None = Field(default=None, gt=0, le=1)
    top_k: Count | None = None
    tools: list[Tool] | None = None
    tool_choice: ToolChoice | None = None
    metadata: Metadata | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    refine_budget: AtLeast0 | None = Field(default=None, description=BUDGET_DESCRIPTION)
    refine: RefineOptions | None = None

    @property
    def shows_thinking(self) -> bool:
        return self.thinking is not None and self.thinking.type != "disabled" and self.thinking.display != "omitted"

    def to_chat(self) -> ChatRequest:
        """Translate into a chat request.

        Raises:
            RequestError: a field is not supported; names it.
            RequestValidationError: a forwarded field is not valid in a chat request.
        """
        extra = self.model_extra or {}
        _check_extra(extra)
        if self.refine is not None and self.refine.events:
            raise RequestError(
                "refine.events: only streams of /v1/chat/completions and /v1/refine have events", param="refine.events"
            )
        output = self.output_config or OutputConfig()
        chat = {
            **{name: value for name, value in extra.items() if name not in (*_REFUSED, *_IGNORED)},
            "model": self.model,
            "messages": [*system_messages(self.system), *chat_messages(self.messages)],
            "max_tokens": self.max_tokens,
            "stop": self.stop_sequences or None,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "top_k": self.top_k,
            "tools": [_function(tool, number) for number, tool in enumerate(self.tools or ())] or None,
            **_choice(self.tool_choice),
            "user": self.metadata and self.metadata.user_id,
            "reasoning_effort": "xhigh" if output.effort == "max" else output.effort,
            "response_format": output.format and _response_format(output.format),
            "refine_budget": self.refine_budget,
            "refine": self.refine,
            "stream": self.stream,
        }
        try:
            return ChatRequest.model_validate({name: value for name, value in chat.items() if value is not None})
        except ValidationError as error:
            raise RequestValidationError(error.errors()) from error


def _check_extra(extra: Mapping[str, Any]) -> None:
    for name, value in extra.items():
        if name in _REFUSED and value not in _REFUSED[name]:
            raise RequestError(f"{name}: not supported by this server; leave it out", param=name)
        if name in _CHAT_FIELDS and value is not None:
            raise RequestError(f"{name}: a field of /v1/chat/completions; here it is {_CHAT_FIELDS[name]}", param=name)
        if name in _NOT_HERE and value is not None:
            raise RequestError(f"{name}: a field of /v1/chat/completions that /v1/messages does not have", param=name)


def _function(tool: Tool, number: int) -> dict[str, Any]:
    if tool.type not in (None, "custom") or tool.input_schema is None:
        raise RequestError(
            f"tools.{number}: only tools that the client runs are supported: give it an input_schema, and no type but "
            "custom",
            param=f"tools.{number}",
        )
    function = tool.model_dump(include={"name", "description", "strict"}, exclude_none=True)
    return {"type": "function", "function": {**function, "parameters": tool.input_schema}}


def _choice(choice: ToolChoice | None) -> dict[str, Any]:
    if choice is None:
        return {}
    if (choice.type == "tool") != (choice.name is not None):
        raise RequestError("tool_choice.name: is needed for type tool, and only there", param="tool_choice.name")
    named = {"type": "function", "function": {"name": choice.name}}
    meaning = named if choice.type == "tool" else "required" if choice.type == "any" else choice.type
    return {"tool_choice": meaning, **({"parallel_tool_calls": False} if choice.disable_parallel_tool_use else {})}


def _response_format(form: OutputFormat) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "output", "schema": form.schema_}}
