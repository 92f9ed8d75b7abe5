"""A chat completion's chunks: only `data:` lines, the usage on the last of them, and `[DONE]`."""

from __future__ import annotations

from dataclasses import dataclass, field
from json.encoder import encode_basestring as _quoted
from typing import Final

from spar_core.search import Answers
from spar_core.types import Completion, Delta
from spar_server.answering import Plan
from spar_server.bodies import Envelope, answer_delta
from spar_server.errors import ApiError
from spar_server.streaming import frame

DONE: Final = "data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class ChatVoice:
    """Implements `Voice`."""

    envelope: Envelope
    include_usage: bool
    # A text's frame up to its choice's index.
    _before: str = field(init=False)

    def __post_init__(self) -> None:
        head = frame(self.envelope.chunk({}, index=0))
        object.__setattr__(self, "_before", head[: head.rindex('"index":') + len('"index":')])

    def opening(self, index: int) -> list[str]:
        return [frame(self.envelope.chunk({"role": "assistant", "content": ""}, index=index))]

    def thought(self, text: str) -> list[str]:
        # Clients disagree on the name; each reads one of the two.
        return [frame(self.envelope.chunk({"reasoning_content": text, "reasoning": text}))]

    def nothing(self) -> str:
        return frame(self.envelope.chunk({}))

    def piece(self, delta: Delta, index: int) -> list[str]:
        if not delta.extra:
            # What most of a stream is, worded without going through all that a chunk may be.
            text = f'"delta":{{"content":{_quoted(delta.text)}}},"finish_reason":null,"logprobs":null'
            return [f"{self._before}{index},{text}}}]}}\n\n"]
        extra = dict(delta.extra)
        logprobs = extra.pop("logprobs", None)
        if "reasoning" in extra:
            extra["reasoning_content"] = extra["reasoning"]
        content = {"content": delta.text} if delta.text else {}
        return [frame(self.envelope.chunk({**content, **extra}, index=index, logprobs=logprobs))]

    def answer(self, answer: Completion, index: int) -> list[str]:
        # The first choice's role went out before the search.
        role = {"role": "assistant"} if index else {}
        return [frame(self.envelope.chunk({**role, **answer_delta(answer)}, index=index))]

    def ending(self, plan: Plan, answers: Answers) -> list[str]:
        envelope = self.envelope
        *others, last = [
            envelope.chunk({}, answer.finish_reason, index=index) for index, answer in enumerate(answers.completions)
        ]
        ending = [frame(chunk) for chunk in (*others, last | {"spar": envelope.spar(plan, answers)})]
        if self.include_usage:
            ending.append(frame(envelope.usage_chunk(plan, answers)))
        return [*ending, DONE]

    def failure(self, error: ApiError) -> str:
        return frame(error.body)
