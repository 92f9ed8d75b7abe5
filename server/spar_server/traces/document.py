"""What a trace contains: a request, its searches, and what is needed to run it again or to train on it.

    {"version": 1, "messages": [...], "initial": null, "sampling": {...}, "search": {...}, "n": 1, "refine": {...},
     "judge": "holistic", "templates": "compact", "bare": false, "weights": {"actor": "...", "refiner": "..."},
     "usage": {...}, "trees": [...], "notes": [...]}

Each of `trees` is one search as `spar_core.trace.write_trace` writes it, the same as `spar.tree` in a response. The
entry of `notes` at its place has what a tree lacks for training: `reply`, the refiner's complete reply for the answer;
`drafts`, the paths of fresh drafts, which refine nothing; and `marks`, those of the template set by node. A mark is a
number in the judge's prompt that differs between servers. `calls` are the search's model calls, and `prompts` the
messages that they were sent, as `CallLog.of` writes them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final

import orjson

from spar_core.search import SearchConfig, SearchResult
from spar_core.search.events import Called, Event, Expanding, Finished, OfChoice, Refined
from spar_core.search.tree import Path
from spar_core.trace import write_trace
from spar_core.types import Message, Sampling
from spar_core.unicode import replace_surrogates
from spar_server.serving.plan import Outcome, Plan
from spar_server.traces.calls import CallLog

Redactor = Callable[[dict[str, Any]], dict[str, Any] | None]
UsageOf = Callable[[Outcome], Mapping[str, Any]]

_VERSION: Final = 1
_CONFIG_FIELDS: Final = tuple(each.name for each in fields(SearchConfig))


@dataclass(slots=True)
class Replies:
    """The refiner's complete replies, the fresh drafts and the model calls in the searches of one request."""

    calls: CallLog
    _drafts: set[tuple[int, Path]] = field(default_factory=set)
    _by_node: dict[tuple[int, Path], str] = field(default_factory=dict)
    # Searches whose draft failed have no result, so a result's place does not tell its choice.
    _choices: dict[int, int] = field(default_factory=dict)

    def read(self, event: Event, choice: int = 0) -> None:
        """Take what a trace needs from an event of the search for this answer."""
        if isinstance(event, Called):
            self.calls.add(choice, event.path, event.call)
        elif isinstance(event, Refined):
            self._by_node[choice, event.path] = event.refinement.raw
        elif isinstance(event, Expanding):
            if event.critique is None:
                self._drafts.add((choice, event.path))
        elif isinstance(event, Finished):
            self._choices[id(event.result)] = choice
        elif isinstance(event, OfChoice):
            self.read(event.event, event.choice)

    def of_answer(self, result: SearchResult) -> str | None:
        """The reply that the answer was read from; None for a draft."""
        return self._by_node.get((self._choice(result), result.best.path))

    def fresh_drafts(self, result: SearchResult) -> list[Path]:
        """The paths of the drafts beside the first."""
        own = self._choice(result)
        return sorted(path for choice, path in self._drafts if choice == own)

    def model_calls(self, result: SearchResult) -> dict[str, Any]:
        return self.calls.of(self._choice(result))

    def _choice(self, result: SearchResult) -> int:
        return self._choices.get(id(result), 0)

    def __len__(self) -> int:
        """The length of all replies and prompts together."""
        return sum(map(len, self._by_node.values())) + self.calls.size


@dataclass(frozen=True, slots=True)
class Captured:
    """A finished search, as it waits to be written; `size` is about that of its texts, in characters."""

    created: float
    key: str
    outcome: Outcome
    replies: Replies
    size: int

    @property
    def id(self) -> str:
        return self.outcome.plan.trace_id


def text_size(outcome: Outcome, replies: Replies) -> int:
    """About how many characters a trace has, without building it."""
    size = len(replies) + sum(_message_size(each) for each in outcome.plan.conversation)
    for result in outcome.answers.results:
        for node in result.tree:
            if node.completion is not None:
                size += len(node.completion.text)
            if node.judgement is not None:
                size += sum(len(vote.text) for vote in node.judgement.votes)
    return size


def _message_size(message: Message) -> int:
    # Images are parts with long strings, one or two levels down.
    content = message.content
    if content is None or isinstance(content, str):
        return len(content or "")
    return sum(_part_size(part) for part in content)


def _part_size(value: object) -> int:
    if isinstance(value, Mapping):
        return sum(_part_size(inner) for inner in value.values())
    return len(value) if isinstance(value, str) else 1


def columns_of(captured: Captured) -> dict[str, Any]:
    """The values of a trace's columns, by which it is found."""
    answers, plan = captured.outcome.answers, captured.outcome.plan
    first = answers.nodes[0]
    return {
        "id": captured.id,
        "created": captured.created,
        "key": captured.key,
        "model": plan.pair.name[:256],
        "budget": captured.outcome.budget,
        "nodes": answers.expanded,
        "depth": first.depth,
        "stop_reason": answers.stop_reason,
        "accepted": first.accepted,
        "improved": first.depth > 0,
        "degraded": captured.outcome.degraded,
        "value": first.value,
        "draft_value": answers.draft_value,
        "duration_ms": round(answers.duration_s * 1000, 1),
    }


def write_document(captured: Captured, usage_of: UsageOf) -> dict[str, Any]:
    """The body of a trace, as plain data."""
    outcome = captured.outcome
    plan = outcome.plan
    results = outcome.answers.results
    return {
        "version": _VERSION,
        "messages": [message.to_openai() for message in plan.conversation],
        "initial": plan.initial and {"response": plan.initial.draft.text, "critique": plan.initial.critique},
        "sampling": _sampling(plan.sampling),
        "search": {**{name: getattr(plan.config, name) for name in _CONFIG_FIELDS}, "budget": outcome.budget},
        "n": plan.n,
        "refine": plan.options.model_dump(exclude_unset=True),
        "judge": plan.judge_name,
        "templates": plan.pair.templates.name,
        "bare": plan.bare,
        "weights": {role: found.get("sha256") for role, found in plan.pair.lineage.items()},
        "usage": usage_of(outcome),
        "trees": [write_trace(result) for result in results],
        "notes": [_notes(plan, result, captured.replies) for result in results],
    }


def _sampling(sampling: Sampling) -> dict[str, Any]:
    return {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
        "stop": sampling.stop,
        "seed": sampling.seed,
        "extra": sampling.extra,
    }


def _notes(plan: Plan, result: SearchResult, replies: Replies) -> dict[str, Any]:
    notes: dict[str, Any] = {
        "reply": replies.of_answer(result),
        "drafts": replies.fresh_drafts(result),
        **replies.model_calls(result),
    }
    templates = plan.pair.templates
    if templates.marked:
        notes["marks"] = {
            ".".join(map(str, node.path)): templates.mark(plan.conversation, node.completion.text)
            for node in result.tree
            if node.completion is not None and node.judgement is not None
        }
    return notes


def encode(document: Mapping[str, Any] | Sequence[Any]) -> bytes:
    """The document as JSON. NaN becomes null, and half characters, which some servers send, are replaced."""
    try:
        return orjson.dumps(document)
    except TypeError:
        return replace_surrogates(json.dumps(document, ensure_ascii=False, default=str)).encode()
