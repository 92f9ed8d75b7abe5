"""The request as it comes in. OpenAI's fields are typed where we act on them; `request_fields` says what goes on."""

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
from spar_core.search.config import Selection, StopPolicy
from spar_core.types import Message, Sampling
from spar_core.validation import AlgorithmName

# What an assistant's message may hold in place of content.
_SAID_OTHERWISE: Final = ("tool_calls", "function_call", "refusal", "audio", "reasoning_content", "reasoning")
# The parts whose text is read here, each under the key of its type. What other parts hold is the upstream's to check.
_TEXTS: Final = ("text", "refusal")


class ChatMessage(BaseModel):
    """A message of any role; keys besides role and content reach the upstream unchanged."""

    model_config = ConfigDict(extra="allow")

    role: Literal["developer", "system", "user", "assistant", "tool", "function"]
    content: str | list[dict[str, Any]] | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        content = self.content
        if isinstance(content, str):
            return self
        if not content:
            if not self._may_be_empty():
                raise _wrong(("content",), "is needed: a string or a list of parts")
            return self
        for number, part in enumerate(content):
            _check_part(part, number)
        return self

    def _may_be_empty(self) -> bool:
        """OpenAI takes no content from a function that returned nothing, and next to what is said in another way."""
        extra = self.model_extra or {}
        return self.role == "function" or (self.role == "assistant" and any(map(extra.get, _SAID_OTHERWISE)))

    def to_core(self) -> Message:
        return Message(self.role, self.content, self.model_extra or {})


def _check_part(part: Mapping[str, Any], number: int) -> None:
    kind = part.get("type")
    if not isinstance(kind, str):
        raise _wrong(("content", number, "type"), "must be a string, as in {'type': 'text', 'text': '...'}")
    if kind in _TEXTS and not isinstance(part.get(kind), str):
        raise _wrong(("content", number, kind), "must be a string")


def _wrong(place: tuple[int | str, ...], message: str) -> ValidationError:
    """The complaint about one place inside a message, which alone would be about the whole of it."""
    problem = InitErrorDetails(type=PydanticCustomError("message", "{told}", {"told": message}), loc=place, input=None)
    return ValidationError.from_exception_data("ChatMessage", [problem])


Flag = Annotated[bool, Field(strict=True)]
# A whole number is one too.
Number = Annotated[float, Field(strict=True)]


def _no_other_type(value: Any) -> Any:
    if isinstance(value, bool | str):
        raise PydanticCustomError("int_type", "Input should be a valid integer")
    return value


# Of an integer: JSON does not tell 3.0 from 3, which being strict would. After its bounds, which OpenAPI then knows.
WHOLE: Final = BeforeValidator(_no_other_type)
Whole = Annotated[int, WHOLE]
Count = Annotated[int, Field(ge=1), WHOLE]
AtLeast0 = Annotated[int, Field(ge=0), WHOLE]


# OpenAI's fields that are read here, because a refined answer cannot honour them, and forwarded.
_FORWARDED: Final = ("logprobs", "top_logprobs", "logit_bias", "response_format", "modalities", "audio")

# OpenAI's own limit.
MAX_CHOICES: Final = 128
BUDGET_MEANS: Final = "the most nodes (a refinement and its judgement each) to spend; 0 is the actor's answer untouched"
UpTo16 = Annotated[int, Field(ge=1, le=16), WHOLE]
Votes = Annotated[int, Field(ge=1, le=25), WHOLE]
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh"]


class CheckRequest(BaseModel):
    """One verifiable constraint, by IFEval's id and kwargs."""

    model_config = ConfigDict(extra="forbid")

    id: str
    kwargs: dict[str, Any] = Field(default_factory=dict)


class RefineOptions(BaseModel):
    """`refine`: how the budget is spent. What is left out is the server's default."""

    model_config = ConfigDict(extra="forbid")

    algorithm: AlgorithmName | None = None
    branch: UpTo16 | None = Field(default=None, description="refinements of one answer")
    beam: UpTo16 | None = Field(default=None, description="answers of a level that are refined further")
    max_depth: UpTo16 | None = Field(
        default=None, description="one tree of this depth, whatever the budget; without it, trees until the budget ends"
    )
    votes: Votes | None = Field(default=None, description="judgements of one answer, at the most")
    threshold: Number | None = Field(default=None, ge=0, lt=1, description="accepted is a share of Yes above this")
    stop: StopPolicy | None = Field(default=None, description="on acceptance, cancel or await the others of a level")
    select: Selection | None = None
    early_vote_stop: Flag | None = Field(default=None, description="ask no votes that cannot change the verdict")
    # The draft is a call too.
    max_search_tokens: Annotated[int, Field(ge=LEAST_TOKENS), WHOLE] | None = None
    deadline_s: Number | None = Field(default=None, gt=0, description="seconds for everything")
    checks: list[CheckRequest] = Field(default_factory=list, max_length=32, description="verified before any vote")
    progress: Flag = Field(default=True, description="tell a stream what the search does, as reasoning")
    trace: Literal["none", "summary", "full"] = Field(default="none", description="the tree, in `spar`")

    @field_validator("checks", "progress", "trace", mode="before")
    @classmethod
    def _absent(cls, value: Any, info: ValidationInfo) -> Any:
        assert info.field_name is not None
        field = cls.model_fields[info.field_name]
        return field.get_default(call_default_factory=True) if value is None else value


class StreamOptions(BaseModel):
    """`include_obfuscation` asks for padding against traffic analysis, which is not sent."""

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
    refine_budget: AtLeast0 | None = Field(default=None, description=BUDGET_MEANS)
    refine: RefineOptions = Field(default_factory=RefineOptions)

    @field_validator("refine", mode="before")
    @classmethod
    def _absent(cls, value: Any) -> Any:
        return {} if value is None else value

    @field_validator("stream_options")
    @classmethod
    def _only_of_streams(cls, value: StreamOptions | None, info: ValidationInfo) -> StreamOptions | None:
        if value is not None and not info.data.get("stream"):
            raise ValueError("only allowed with stream: true")
        return value

    @property
    def include_usage(self) -> bool:
        return self.stream_options is not None and bool(self.stream_options.include_usage)

    def conversation(self) -> tuple[Message, ...]:
        return tuple(message.to_core() for message in self.messages)

    def sampling(self, usual: Sampling) -> Sampling:
        """How the actor samples: what the client asked for, else `usual`; and every field that is the upstream's."""
        extra = {**(self.model_extra or {}), **{name: getattr(self, name) for name in _FORWARDED}}
        lengths = [length for length in (self.max_completion_tokens, self.max_tokens) if length is not None]
        stops = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())
        return Sampling(
            temperature=usual.temperature if self.temperature is None else self.temperature,
            top_p=usual.top_p if self.top_p is None else self.top_p,
            max_tokens=min(lengths, default=usual.max_tokens),
            stop=stops,
            seed=self.seed,
            extra={name: value for name, value in extra.items() if value is not None},
        )


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
