"""Request schemas. Only fields that the server reads are typed; `serving/request_fields.py` lists what is forwarded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from spar_core.budget import LEAST_TOKENS
from spar_core.errors import RequestError
from spar_core.judge import JudgeName
from spar_core.search.config import Selection, StopPolicy
from spar_core.types import Message, Sampling
from spar_core.validation import AlgorithmName

# Fields that can replace the content of an assistant's message.
_CONTENT_SUBSTITUTES: Final = ("tool_calls", "function_call", "refusal", "audio", "reasoning_content", "reasoning")
# Content parts whose text is read here, under the key of their type. Other parts are checked by the upstream.
TEXT_PARTS: Final = ("text", "refusal")


class ChatMessage(BaseModel):
    """A message of any role. Keys other than role and content reach the upstream unchanged."""

    model_config = ConfigDict(extra="allow")

    role: Literal["developer", "system", "user", "assistant", "tool", "function"]
    content: str | list[dict[str, Any]] | None = None

    @model_validator(mode="after")
    def _check_content(self) -> Self:
        content = self.content
        if isinstance(content, str):
            return self
        if not content:
            if not self._may_be_empty():
                raise _error_at(("content",), "is needed: a string or a list of parts")
            return self
        for number, part in enumerate(content):
            _check_part(part, number)
        return self

    def _may_be_empty(self) -> bool:
        """OpenAI allows empty content for a function without a result, and beside tool calls and the like."""
        extra = self.model_extra or {}
        return self.role == "function" or (self.role == "assistant" and any(map(extra.get, _CONTENT_SUBSTITUTES)))

    def to_core(self) -> Message:
        return Message(self.role, self.content, self.model_extra or {})


def _check_part(part: Mapping[str, Any], number: int) -> None:
    kind = part.get("type")
    if not isinstance(kind, str):
        raise _error_at(("content", number, "type"), "must be a string, as in {'type': 'text', 'text': '...'}")
    if kind in TEXT_PARTS and not isinstance(part.get(kind), str):
        raise _error_at(("content", number, kind), "must be a string")


def _error_at(location: tuple[int | str, ...], message: str) -> ValidationError:
    """An error that names a location inside a message; a ValueError would name the message as a whole."""
    problem = InitErrorDetails(
        type=PydanticCustomError("message", "{message}", {"message": message}), loc=location, input=None
    )
    return ValidationError.from_exception_data("ChatMessage", [problem])


Flag = Annotated[bool, Field(strict=True)]
# Integers are accepted too.
Number = Annotated[float, Field(strict=True)]


def _reject_bool_and_str(value: Any) -> Any:
    if isinstance(value, bool | str):
        raise PydanticCustomError("int_type", "Input should be a valid integer")
    return value


# For integers: pydantic's strict mode would reject 3.0, which is the same number as 3 in JSON. It comes after the
# bounds in an annotation, so that they appear in the OpenAPI document.
WHOLE: Final = BeforeValidator(_reject_bool_and_str)
Whole = Annotated[int, WHOLE]
Count = Annotated[int, Field(ge=1), WHOLE]
AtLeast0 = Annotated[int, Field(ge=0), WHOLE]


# OpenAI's fields that are read here, because a refined answer may not be able to honour them, and also forwarded.
_FORWARDED: Final = frozenset(
    {"logprobs", "top_logprobs", "logit_bias", "response_format", "modalities", "audio", "store"}
)

# OpenAI's limit.
MAX_CHOICES: Final = 128
BUDGET_DESCRIPTION: Final = (
    "maximum number of nodes, each a refinement and its judgement; 0 returns the actor's answer unrefined"
)
UpTo16 = Annotated[int, Field(ge=1, le=16), WHOLE]
Votes = Annotated[int, Field(ge=1, le=25), WHOLE]
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh"]


class CheckRequest(BaseModel):
    """A verifiable constraint by its id and kwargs: IFEval's, IFBench's for training, or a package's."""

    model_config = ConfigDict(extra="forbid")

    id: str
    kwargs: dict[str, Any] = Field(default_factory=dict)


Requirement = Annotated[str, Field(min_length=1, max_length=500, pattern=r"\S")]


class RefineOptions(BaseModel):
    """`refine`: how the budget is spent. Omitted fields have the server's defaults."""

    model_config = ConfigDict(extra="forbid")

    algorithm: AlgorithmName | None = None
    branch: UpTo16 | None = Field(default=None, description="refinements per expanded answer")
    beam: UpTo16 | None = Field(default=None, description="answers per level that are refined further")
    max_depth: UpTo16 | None = Field(
        default=None, description="depth of a single tree; without it, new trees are started until the budget is spent"
    )
    votes: Votes | None = Field(default=None, description="maximum number of votes per answer")
    threshold: Number | None = Field(
        default=None, ge=0, lt=1, description="an answer is accepted if its share of Yes votes is above this"
    )
    stop: StopPolicy | None = Field(
        default=None, description="when an answer is accepted, cancel or await the rest of its level"
    )
    select: Selection | None = None
    early_vote_stop: Flag | None = Field(default=None, description="skip votes that cannot change the verdict")
    # The draft counts too.
    max_search_tokens: Annotated[int, Field(ge=LEAST_TOKENS), WHOLE] | None = None
    max_cost: Number | None = Field(
        default=None, gt=0, description="maximum cost of all model calls, in the unit of the server's prices"
    )
    deadline_s: Number | None = Field(default=None, gt=0, description="time limit in seconds for the whole request")
    checks: list[CheckRequest] = Field(
        default_factory=list, max_length=32, description="constraints verified before any vote"
    )
    judge: JudgeName | None = Field(
        default=None, description="vote on the whole answer, or on each item of a checklist; see docs/judges.md"
    )
    requirements: list[Requirement] = Field(
        default_factory=list, max_length=32, description="items in words for the checklist judge"
    )
    progress: Flag = Field(default=True, description="stream the search's progress as reasoning")
    events: Flag = Field(default=False, description="stream each step of the search as data in `spar.event`")
    prompts: Flag = Field(default=False, description="with events: add to each call the messages that were sent")
    trace: Literal["none", "summary", "full"] = Field(default="none", description="include the search tree in `spar`")

    @field_validator("checks", "requirements", "progress", "events", "prompts", "trace", mode="before")
    @classmethod
    def _use_default(cls, value: Any, info: ValidationInfo) -> Any:
        assert info.field_name is not None
        field = cls.model_fields[info.field_name]
        return field.get_default(call_default_factory=True) if value is None else value


# Shared by all requests without options; never changed.
_DEFAULT_OPTIONS: Final = RefineOptions()


class StreamOptions(BaseModel):
    """`include_obfuscation` is accepted, but padding against traffic analysis is not sent."""

    model_config = ConfigDict(extra="forbid")

    include_usage: Flag | None = None
    include_obfuscation: Flag | None = None


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
    stream: Flag | None = None
    stream_options: StreamOptions | None = None
    temperature: Number | None = Field(default=None, ge=0, le=2)
    top_p: Number | None = Field(default=None, gt=0, le=1)
    max_tokens: Count | None = None
    max_completion_tokens: Count | None = None
    stop: str | list[str] | None = None
    seed: Whole | None = None
    n: Annotated[int, Field(ge=1, le=MAX_CHOICES), WHOLE] | None = None
    logprobs: Flag | None = None
    top_logprobs: AtLeast0 | None = None
    logit_bias: dict[str, Number] | None = None
    response_format: dict[str, Any] | None = None
    modalities: list[str] | None = None
    audio: dict[str, Any] | None = None
    reasoning_effort: Effort | None = None
    store: Flag | None = Field(default=None, description="false: never store this search as a trace")
    refine_budget: AtLeast0 | None = Field(default=None, description=BUDGET_DESCRIPTION)
    refine: RefineOptions = Field(default_factory=lambda: _DEFAULT_OPTIONS)

    @field_validator("refine", mode="before")
    @classmethod
    def _use_default(cls, value: Any) -> Any:
        return {} if value is None else value

    @field_validator("stream_options")
    @classmethod
    def _check_stream(cls, value: StreamOptions | None, info: ValidationInfo) -> StreamOptions | None:
        if value is not None and not info.data.get("stream"):
            raise ValueError("only allowed with stream: true")
        return value

    @property
    def include_usage(self) -> bool:
        return self.stream_options is not None and bool(self.stream_options.include_usage)

    def conversation(self) -> tuple[Message, ...]:
        return tuple(message.to_core() for message in self.messages)

    def sampling(self, defaults: Sampling) -> Sampling:
        """The actor's sampling: the client's values, else the `defaults`, and all fields that are forwarded."""
        given = _FORWARDED & self.model_fields_set
        asked = {**(self.model_extra or {}), **{name: getattr(self, name) for name in given}}
        lengths = [length for length in (self.max_completion_tokens, self.max_tokens) if length is not None]
        stops = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())
        return Sampling(
            temperature=defaults.temperature if self.temperature is None else self.temperature,
            top_p=defaults.top_p if self.top_p is None else self.top_p,
            max_tokens=min(lengths, default=defaults.max_tokens),
            stop=stops,
            seed=self.seed,
            extra={**defaults.extra, **{name: value for name, value in asked.items() if value is not None}},
        )


def split_answer(messages: list[ChatMessage], response: str | None) -> tuple[list[ChatMessage], str]:
    """Split a request into the conversation and the answer to it, which can be its last message.

    Raises:
        RequestError: there is no answer, or no conversation before it.
    """
    if response is not None:
        return messages, response
    *conversation, last = messages
    text = Message(last.role, last.content).text if last.role == "assistant" else ""
    if not text:
        raise RequestError("response: is needed, unless the last message is an assistant's text", param="response")
    if not conversation:
        raise RequestError("messages: contain only an answer, without the conversation before it", param="messages")
    return conversation, text
