"""The stream format of the Messages API: numbered blocks of content, each opened, filled and closed in turn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from spar_core.search.events import Event
from spar_core.types import Completion, Delta
from spar_server.api.messages.body import MessageBody, message_usage, text_block
from spar_server.errors import ApiError, messages_error_body
from spar_server.serving.plan import Outcome
from spar_server.serving.runner import frame

_THINKING: Final = {"type": "thinking", "thinking": "", "signature": ""}


class MessageStreamFormat:
    """Renders the events of one message; implements `StreamFormat`. The only choice has index 0."""

    def __init__(self, body: MessageBody) -> None:
        self._body = body
        self._blocks = 0
        # What the open block holds: thinking, text, or the tool call with this number; None if no block is open.
        self._open: str | int | None = None

    def opening(self, index: int) -> list[str]:
        return [_event("message_start", message=self._body.started())]

    def heartbeat(self) -> str:
        return _event("ping")

    def reasoning(self, text: str) -> list[str]:
        if not self._body.request.shows_thinking or self._open not in (None, "thinking"):
            return []
        return [*self._enter("thinking", _THINKING), self._fill(type="thinking_delta", thinking=text)]

    def step(self, event: Event) -> list[str]:
        # `refine.events` is refused with the request: this API's clients expect its own events only.
        return []

    def delta(self, delta: Delta, index: int) -> list[str]:
        events = self.reasoning(delta.extra["reasoning"]) if delta.extra.get("reasoning") else []
        if delta.text:
            events += [*self._enter("text", text_block("")), self._fill(type="text_delta", text=delta.text)]
        for call in delta.extra.get("tool_calls") or ():
            events += self._tool_call(call, call.get("index", 0))
        return events

    def answer(self, answer: Completion, index: int) -> list[str]:
        events = self.delta(Delta(answer.text), index)
        for number, call in enumerate(answer.extra.get("tool_calls") or ()):
            events += self._tool_call(call, number)
        return events

    def ending(self, outcome: Outcome) -> list[str]:
        # A message has at least one block, unless it only calls tools.
        events = [] if self._blocks else self._enter("text", text_block(""))
        ending = self._body.ending(outcome)
        spar = ending.pop("spar")
        return [
            *events,
            *self._leave(),
            _event("message_delta", delta=ending, usage=message_usage(outcome), spar=spar),
            _event("message_stop"),
        ]

    def failure(self, error: ApiError) -> str:
        return f"event: error\n{frame(messages_error_body(error))}"

    def _tool_call(self, call: Mapping[str, Any], number: int) -> list[str]:
        """A tool call, or a further piece of the open one."""
        function = call.get("function") or {}
        names = {"id": call.get("id") or "", "name": function.get("name") or ""}
        events = self._enter(number, {"type": "tool_use", **names, "input": {}})
        if arguments := function.get("arguments"):
            events.append(self._fill(type="input_json_delta", partial_json=arguments))
        return events

    def _enter(self, content: str | int, block: Mapping[str, Any]) -> list[str]:
        """Open a block for this content, unless it is open."""
        if self._open == content:
            return []
        events = self._leave()
        self._open = content
        self._blocks += 1
        return [*events, _event("content_block_start", index=self._blocks - 1, content_block=block)]

    def _fill(self, **delta: Any) -> str:
        return _event("content_block_delta", index=self._blocks - 1, delta=delta)

    def _leave(self) -> list[str]:
        if self._open is None:
            return []
        self._open = None
        return [_event("content_block_stop", index=self._blocks - 1)]


def _event(name: str, **data: Any) -> str:
    return f"event: {name}\n{frame({'type': name, **data})}"
