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
    # By search. Not the calls themselves, whose many objects the garbage collector would visit.
    _calls: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    # By search, the place of each message: its role and text.
    _places: dict[int, dict[tuple[str, str], int]] = field(default_factory=dict)

    def add(self, choice: int, path: Path, call: Call) -> None:
        data = call_data(call)
        data["path"] = list(path)
        if self.prompts and call.role != "actor":
            data["prompt"] = prompt = []
            places = self._places.setdefault(choice, {})
            for message in call.messages:
                said = message.role, message.text
                if (place := places.get(said)) is None:
                    place = places[said] = len(places)
                    self.size += len(said[1])
                prompt.append(place)
        self._calls.setdefault(choice, []).append(data)

    def drop_prompts(self) -> None:
        """Keep only the times, because a trace with its prompts would be too large."""
        self.prompts, self.size = False, 0
        self._places.clear()
        for calls in self._calls.values():
            for data in calls:
                data.pop("prompt", None)

    def of(self, choice: int) -> dict[str, Any]:
        """The calls of one search, in the order in which they ended; each `prompt` is a list of places in `prompts`."""
        calls = self._calls.get(choice, [])
        if not self.prompts:
            return {"calls": calls}
        places = self._places.get(choice, ())
        return {"calls": calls, "prompts": [{"role": role, "content": text} for role, text in places]}
