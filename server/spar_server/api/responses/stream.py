"""A response's events, each with its name and number, in the order that OpenAI's clients build the response from.

Thoughts are an item of their own before the message, told as its summary.
"""

from __future__ import annotations

from typing import Any, Literal

from spar_core.types import Completion, Delta
from spar_server.api.responses.body import ResponseBody, refusal_part, text_part
from spar_server.errors import ApiError
from spar_server.serving.plan import Outcome
from spar_server.serving.runner import frame


class ResponseStreamFormat:
    """Implements `StreamFormat`. There is one answer, hence every index is 0."""

    def __init__(self, body: ResponseBody) -> None:
        self._body = body
        self._events = 0
        self._thoughts: str | None = None
        self._thinking = False
        # The message's one part and its kind; no kind until the message is there.
        self._kind: Literal["output_text", "refusal"] | None = None
        self._said = ""

    def opening(self, index: int) -> list[str]:
        begun = self._body.begun()
        return [self._event("response.created", response=begun), self.nothing()]

    def nothing(self) -> str:
        return self._event("response.in_progress", response=self._body.begun())

    def thought(self, text: str) -> list[str]:
        if self._kind:
            # Items have an order: what is thought while the answer is written has no place in it.
            return []
        events = [] if self._thinking else self._open_thoughts()
        self._thoughts = (self._thoughts or "") + text
        return [*events, self._of_thoughts("response.reasoning_summary_text.delta", delta=text)]

    def piece(self, delta: Delta, index: int) -> list[str]:
        events = self.thought(delta.extra["reasoning"]) if delta.extra.get("reasoning") else []
        if delta.text:
            events += self._say(delta.text, "output_text")
        elif delta.extra.get("refusal"):
            events += self._say(delta.extra["refusal"], "refusal")
        return events

    def answer(self, answer: Completion, index: int) -> list[str]:
        return self.piece(Delta(answer.text, extra={"refusal": answer.extra.get("refusal")}), index)

    def ending(self, outcome: Outcome) -> list[str]:
        events = [] if self._kind else self._open_message("output_text")
        part = self._part(self._said)
        finished = self._body.finished(outcome, thoughts=self._thoughts, part=part)
        return [
            *events,
            self._of_part("done", **({"refusal": self._said} if self._kind == "refusal" else {"text": self._said})),
            self._of_message("response.content_part.done", part=part),
            self._event("response.output_item.done", output_index=self._place, item=finished["output"][-1]),
            self._event(f"response.{finished['status']}", response=finished),
        ]

    def failure(self, error: ApiError) -> str:
        return self._event("response.failed", response=self._body.failed(error))

    def _open_thoughts(self) -> list[str]:
        self._thinking = True
        part = {"type": "summary_text", "text": ""}
        return [
            self._event("response.output_item.added", output_index=0, item=self._body.reasoning(None)),
            self._of_thoughts("response.reasoning_summary_part.added", part=part),
        ]

    def _close_thoughts(self) -> list[str]:
        self._thinking = False
        text = self._thoughts or ""
        return [
            self._of_thoughts("response.reasoning_summary_text.done", text=text),
            self._of_thoughts("response.reasoning_summary_part.done", part={"type": "summary_text", "text": text}),
            self._event("response.output_item.done", output_index=0, item=self._body.reasoning(text)),
        ]

    def _say(self, text: str, kind: Literal["output_text", "refusal"]) -> list[str]:
        events = [] if self._kind else self._open_message(kind)
        self._said += text
        return [*events, self._of_part("delta", delta=text)]

    def _open_message(self, kind: Literal["output_text", "refusal"]) -> list[str]:
        events = self._close_thoughts() if self._thinking else []
        self._kind = kind
        added = self._event("response.output_item.added", output_index=self._place, item=self._body.message(None))
        return [*events, added, self._of_message("response.content_part.added", part=self._part(""))]

    def _part(self, text: str) -> dict[str, Any]:
        return refusal_part(text) if self._kind == "refusal" else text_part(text)

    @property
    def _place(self) -> int:
        """The message's place in the output."""
        return 0 if self._thoughts is None else 1

    def _of_thoughts(self, name: str, **data: Any) -> str:
        return self._event(name, item_id=self._body.reasoning_id, output_index=0, summary_index=0, **data)

    def _of_part(self, what: str, **data: Any) -> str:
        logprobs: dict[str, Any] = {"logprobs": []} if self._kind == "output_text" else {}
        return self._of_message(f"response.{self._kind}.{what}", **data, **logprobs)

    def _of_message(self, name: str, **data: Any) -> str:
        return self._event(name, item_id=self._body.message_id, output_index=self._place, content_index=0, **data)

    def _event(self, name: str, **data: Any) -> str:
        numbered = {"type": name, "sequence_number": self._events, **data}
        self._events += 1
        return f"event: {name}\n{frame(numbered)}"
