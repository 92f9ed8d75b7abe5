"""The model calls of a search as a trace keeps them: when each ran, and what it was sent."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from spar_core.budget import Call
from spar_core.search.tree import Path
from spar_server.serving.usage import call_data


@dataclass(slots=True)
class CallLog:
    """The calls of one request's searches. Without `prompts` it keeps only their times.

    Prompts share most of their messages, so each message is kept once. The actor's prompt is the conversation, which
    is in the trace anyway.
    """

    prompts: bool
    size: int = 0
    _calls: list[tuple[int, Path, Call]] = field(default_factory=list)
    _seen: set[tuple[int, str]] = field(default_factory=set)

    def add(self, choice: int, path: Path, call: Call) -> None:
        self._calls.append((choice, path, call))
        if self.prompts and call.role != "actor":
            for message in call.messages:
                if (one := (choice, message.text)) not in self._seen:
                    self._seen.add(one)
                    self.size += len(message.text)

    def drop_prompts(self) -> None:
        """Keep only the times, because a trace with its prompts would be too large."""
        self.prompts, self.size = False, 0
        self._seen.clear()

    def of(self, choice: int) -> dict[str, Any]:
        """The calls of one search, in the order in which they ended; each `prompt` is a list of places in `prompts`."""
        places: dict[tuple[str, str], int] = {}
        calls: list[dict[str, Any]] = []
        for owner, path, call in self._calls:
            if owner == choice:
                data = {"path": list(path), **call_data(call)}
                if self.prompts and call.role != "actor":
                    data["prompt"] = [places.setdefault((each.role, each.text), len(places)) for each in call.messages]
                calls.append(data)
        prompts = {"prompts": [{"role": role, "content": text} for role, text in places]} if self.prompts else {}
        return {"calls": calls, **prompts}
