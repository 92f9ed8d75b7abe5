"""Stored traces of a server (docs/traces.md) as the searches and judgements that training data is made of.

A trace has no separate sampling and judging: its drafts are the samples, and each draft that was rejected is the
negative of a search of its own. From there on, the rules are those of self-play.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from spar_core.judge import Judgement
from spar_core.prompts import Templates
from spar_core.search.tree import Node, Path, Tree
from spar_core.trace import read_tree
from spar_core.types import Message
from spar_training.data.negatives import JudgedItem, Negative, majority
from spar_training.data.prompts import PromptRecord, read_messages
from spar_training.data.search_results import Searched


@dataclass(frozen=True, slots=True)
class TracedSearch:
    """One search of a trace: its drafts with their judgements, and what was found from each draft judged No."""

    judged: JudgedItem
    searches: tuple[Searched, ...]


def read_trace(trace: Mapping[str, Any], templates: Templates) -> list[TracedSearch]:
    """The searches of a trace, one for each of its answers.

    Marks in judgements and replies become those that `templates` writes, so that they fit the prompts made with it.

    Raises:
        ValueError: the conversation is not text that ends with the user's turn, or the trace is damaged; says how.
    """
    messages = read_messages(trace["messages"])
    conversation = tuple(Message(message.role, message.text) for message in messages)
    try:
        pairs = list(zip(trace["trees"], trace["notes"], strict=True))
        return [
            _search(f"{trace['id']}/{number}", conversation, tree, notes, templates)
            for number, (tree, notes) in enumerate(pairs)
        ]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"the trace is damaged ({type(error).__name__}: {error})") from error


def _search(
    id: str, conversation: Sequence[Message], data: Mapping[str, Any], notes: Mapping[str, Any], templates: Templates
) -> TracedSearch:
    marks = _Marks(conversation, notes.get("marks") or {}, templates)
    nodes = [marks.of_node(node) for node in read_tree(data)]
    answer, reply = tuple(data["answer"]), notes["reply"]
    roots = [(), *(tuple(path) for path in notes["drafts"])]
    drafts = [node for node in nodes if node.path in roots]
    judged = JudgedItem(
        PromptRecord(id, tuple(conversation)),
        tuple(_usable(node) for node in drafts),
        tuple(node.judgement if node.outcome == "judged" else None for node in drafts),
    )
    if reply is not None:
        reply = marks.of_reply(reply, parent=answer[:-1])
    return TracedSearch(judged, tuple(_from_drafts(judged, drafts, nodes, answer, reply, accepted=data["accepted"])))


def _from_drafts(
    judged: JudgedItem,
    drafts: Sequence[Node],
    nodes: Sequence[Node],
    answer: Path,
    reply: str | None,
    *,
    accepted: bool,
) -> Iterator[Searched]:
    """The searches from the drafts that were rejected, each as a tree with its draft at the root."""
    origin = {node.path: _origin(node.path, [draft.path for draft in drafts]) for node in nodes}
    for place, draft in enumerate(drafts):
        response = judged.responses[place]
        if response is None or draft.judgement is None or not _rejected(draft.judgement):
            continue
        start = len(draft.path)
        tree = Tree(replace(draft, path=()))
        for node in nodes:
            if origin[node.path] == draft.path and node.path != draft.path:
                tree.add(replace(node, path=node.path[start:]))
        negative = Negative(replace(judged.prompt, id=f"{judged.id}/{place}"), place, response, draft.judgement)
        found = accepted and reply is not None and origin[answer] == draft.path and answer != draft.path
        own = answer[start:] if found else ()
        yield Searched(negative, tree, found, own, {own: reply} if found and reply is not None else {})


def _origin(path: Path, drafts: Sequence[Path]) -> Path:
    """The path of the draft that a node descends from."""
    return max((draft for draft in drafts if path[: len(draft)] == draft), key=len)


def _usable(node: Node) -> str | None:
    """The text of a draft; None if it is empty or cut off, which shows nothing of how the actor answers."""
    completion = node.completion
    if completion is None or completion.finish_reason != "stop" or not completion.text.strip():
        return None
    return completion.text


def _rejected(judgement: Judgement) -> bool:
    """Whether the majority said No, or a check failed."""
    return majority(judgement) is False or judgement.report is not None


class _Marks:
    """Replaces the marks of the server that wrote a trace; `theirs` are by path, such as "0.2"."""

    def __init__(self, conversation: Sequence[Message], theirs: Mapping[str, str], templates: Templates) -> None:
        self._conversation = conversation
        self._theirs = theirs
        self._templates = templates
        self._ours: dict[Path, str] = {}

    def of_node(self, node: Node) -> Node:
        """The node with its votes in our marks."""
        mark = self._theirs.get(_name(node.path))
        if not mark or node.completion is None or node.judgement is None:
            return node
        ours = self._ours[node.path] = self._templates.mark(self._conversation, node.completion.text)
        votes = tuple(replace(vote, text=vote.text.replace(mark, ours)) for vote in node.judgement.votes)
        return replace(node, judgement=replace(node.judgement, votes=votes))

    def of_reply(self, reply: str, *, parent: Path) -> str:
        """The reply that refined the node at `parent`, in our mark."""
        mark = self._theirs.get(_name(parent))
        return reply.replace(mark, self._ours[parent]) if mark and parent in self._ours else reply


def _name(path: Path) -> str:
    return ".".join(map(str, path))
