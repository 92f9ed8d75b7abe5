"""The stream format of the Responses API: named and numbered events, in the order that OpenAI's clients expect.

Reasoning is a separate item before the message, sent as its summary.
"""

from __future__ import annotations

from typing import Any, Literal

from spar_core.search.events import Event
from spar_core.types import Completion, Delta
from spar_server.api.responses.body import ResponseBody, refusal_part, text_part
from spar_server.errors import ApiError
from spar_server.serving.plan import Outcome
from spar_server.serving.runner import frame


class ResponseStreamFormat:
    """Renders the events of one response; implements `StreamFormat`. The only choice has index 0."""

    def __init__(self, body: ResponseBody) -> None:
        self._body = body
        self._events = 0
        self._reasoning: str | None = None
        self._reasoning_open = False
        # The kind of the message's only part; None until the message has started.
        self._kind: Literal["output_text", "refusal"] | None = None
        self._text = ""

    def opening(self, index: int) -> list[str]:
        started = self._body.started()
        return [self._event("response.created", response=started), self.heartbeat()]

    def heartbeat(self) -> str:
        return self._event("response.in_progress", response=self._body.started())

    def reasoning(self, text: str) -> list[str]:
        if self._kind:
            # Items are ordered: reasoning cannot follow once the message has started.
            return []
        events = [] if self._reasoning_open else self._open_reasoning()
        self._reasoning = (self._reasoning or "") + text
        return [*events, self._reasoning_event("response.reasoning_summary_text.delta", delta=text)]

    def step(self, event: Event) -> list[str]:
        # `refine.events` is refused with the request: this API's clients expect its own events only.
        return []

    def delta(self, delta: Delta, index: int) -> list[str]:
        events = self.reasoning(delta.extra["reasoning"]) if delta.extra.get("reasoning") else []
        if delta.text:
            events += self._add_text(delta.text, "output_text")
        elif delta.extra.get("refusal"):
            events += self._add_text(delta.extra["refusal"], "refusal")
        return events

    def answer(self, answer: Completion, index: int) -> list[str]:
        return self.delta(Delta(answer.text, extra={"refusal": answer.extra.get("refusal")}), index)

    def ending(self, outcome: Outcome) -> list[str]:
        events = [] if self._kind else self._open_message("output_text")
        part = self._part(self._text)
        finished = self._body.finished(outcome, reasoning=self._reasoning, part=part)
        return [
            *events,
            self._part_event("done", **({"refusal": self._text} if self._kind == "refusal" else {"text": self._text})),
            self._message_event("response.content_part.done", part=part),
            self._event("response.output_item.done", output_index=self._message_index, item=finished["output"][-1]),
            self._event(f"response.{finished['status']}", response=finished),
        ]

    def failure(self, error: ApiError) -> str:
        return self._event("response.failed", response=self._body.failed(error))

    def _open_reasoning(self) -> list[str]:
        self._reasoning_open = True
        part = {"type": "summary_text", "text": ""}
        return [
            self._event("response.output_item.added", output_index=0, item=self._body.reasoning(None)),
            self._reasoning_event("response.reasoning_summary_part.added", part=part),
        ]

    def _close_reasoning(self) -> list[str]:
        self._reasoning_open = False
        text = self._reasoning or ""
        return [
            self._reasoning_event("response.reasoning_summary_text.done", text=text),
            self._reasoning_event("response.reasoning_summary_part.done", part={"type": "summary_text", "text": text}),
            self._event("response.output_item.done", output_index=0, item=self._body.reasoning(text)),
        ]

    def _add_text(self, text: str, kind: Literal["output_text", "refusal"]) -> list[str]:
        events = [] if self._kind else self._open_message(kind)
        self._text += text
        return [*events, self._part_event("delta", delta=text)]

    def _open_message(self, kind: Literal["output_text", "refusal"]) -> list[str]:
        events = self._close_reasoning() if self._reasoning_open else []
        self._kind = kind
        added = self._event(
            "response.output_item.added", output_index=self._message_index, item=self._body.message(None)
        )
        return [*events, added, self._message_event("response.content_part.added", part=self._part(""))]

    def _part(self, text: str) -> dict[str, Any]:
        return refusal_part(text) if self._kind == "refusal" else text_part(text)

    @property
    def _message_index(self) -> int:
        """The index of the message in the output."""
        return 0 if self._reasoning is None else 1

    def _reasoning_event(self, name: str, **data: Any) -> str:
        return self._event(name, item_id=self._body.reasoning_id, output_index=0, summary_index=0, **data)

    def _part_event(self, what: str, **data: Any) -> str:
        logprobs: dict[str, Any] = {"logprobs": []} if self._kind == "output_text" else {}
        return self._message_event(f"response.{self._kind}.{what}", **data, **logprobs)

    def _message_event(self, name: str, **data: Any) -> str:
        return self._event(
            name, item_id=self._body.message_id, output_index=self._message_index, content_index=0, **data
        )

    def _event(self, name: str, **data: Any) -> str:
        numbered = {"type": name, "sequence_number": self._events, **data}
        self._events += 1
        return f"event: {name}\n{frame(numbered)}"
