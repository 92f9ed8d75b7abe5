"""Traces in the terminal: a list, and the tree of one search."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from spar_core.judge import Judgement
from spar_core.search.tree import Node
from spar_core.trace import read_tree
from spar_core.types import Message
from spar_server.cli.traces.text import printable, shortened, word_diff

_MARKS: Final[Mapping[bool | None, tuple[str, str]]] = {
    True: ("✓", "green"),
    False: ("✗", "red"),
    None: ("?", "yellow"),
}
# Characters of a line, if the terminal is not to be filled.
_LINE: Final = 100


def print_list(traces: Iterable[Mapping[str, Any]]) -> None:
    """Print one line per trace."""
    table = Table("id", "time", "key", "model", "budget", "nodes", "value", "stopped by", box=None, pad_edge=False)
    for trace in traces:
        value = f"{_number(trace['draft_value'])} → {_number(trace['value'])}"
        nodes, reason = str(trace["nodes"]), f"{trace['stop_reason']}{', improved' if trace['improved'] else ''}"
        moment = datetime.fromtimestamp(trace["created"]).isoformat(" ", "seconds")
        names = (printable(trace["key"]), printable(trace["model"]))
        table.add_row(Text(trace["id"]), moment, *map(Text, names), str(trace["budget"]), nodes, value, reason)
    _console().print(table)


def print_trace(trace: Mapping[str, Any], *, full: bool) -> None:
    """Print a search: its request, its trees, and each answer beside its draft."""
    console = _console()
    console.print(_head(trace))
    for message in trace["messages"]:
        text = Message(message["role"], message["content"]).text
        console.print(Text(f"{printable(message['role'])}: ", style="bold") + _body(text, full=full))
    for number, data in enumerate(trace["trees"], start=1):
        console.print()
        if trace["n"] > 1:
            console.print(Text(f"Search {number} of {trace['n']}: {data['stop_reason']}", style="bold"))
        print_tree(console, data, full=full)
    for each in trace.get("feedback", ()):
        said = f"feedback of {printable(each['key'])}: {each['score']:+g}  {printable(each['comment'])}"
        console.print(Text(said.rstrip(), style="cyan"))


def print_tree(console: Console, data: Mapping[str, Any], *, full: bool) -> None:
    """Print one search's tree, then its answer with the changes to the draft."""
    tree = read_tree(data)
    answer = tuple(data["answer"])
    branches: dict[tuple[int, ...], Tree] = {}
    for node in tree:
        label = _node(node, is_answer=node.path == answer, full=full)
        if node.path:
            branches[node.path] = branches[node.path[:-1]].add(label)
        else:
            branches[()] = Tree(label)
    console.print(branches[()])
    draft, best = tree.root.completion, tree[answer].completion
    if draft is not None and best is not None:
        changed = answer != () and draft.text != best.text
        console.print(
            Text("\nThe answer, with its changes to the draft:" if changed else "\nThe answer:", style="bold")
        )
        console.print(word_diff(draft.text, best.text))


def _head(trace: Mapping[str, Any]) -> Text:
    moment = datetime.fromtimestamp(trace["created"]).isoformat(" ", "seconds")
    calls = trace["usage"]["refinement"]["calls"]
    spent = ", ".join(f"{role} {count}" for role, count in calls.items())
    text = Text(f"{trace['id']}  {moment}  {printable(trace['key'])}  {printable(trace['model'])}\n", style="bold")
    return text.append(
        f"{trace['stop_reason']} · {trace['nodes']} of {trace['budget']} nodes · {trace['duration_ms'] / 1000:.2f} s · "
        f"calls: {spent}",
        style="not bold dim",
    )


def _node(node: Node, *, is_answer: bool, full: bool) -> Group:
    """A node's line, with its critique and, if `full`, its text."""
    line = Text(".".join(map(str, node.path)) or "draft", style="bold")
    if node.judgement is None or node.outcome != "judged":
        line.append(f"  {node.outcome}", style="not bold dim")
    if node.judgement is not None:
        line.append("  ").append(_votes(node.judgement)).append(f"  {_number(node.value)}", style="not bold")
    if is_answer:
        line.append("  ← answer", style="bold green")
    if node.problem:
        line.append(f"  {shortened(node.problem, _LINE)}", style="not bold red")
    parts = [line]
    if full and node.completion is not None:
        parts.append(Text(printable(node.completion.text)))
    critique = node.judgement and node.judgement.critique
    if critique and node.outcome == "judged":
        parts.append(_body(critique, full=full, style="dim"))
    return Group(*parts)


def _votes(judgement: Judgement) -> Text:
    if judgement.report is not None:
        return Text("✗ check", style="not bold red")
    text = Text(style="not bold")
    for vote in judgement.votes:
        mark, style = _MARKS[vote.verdict]
        text.append(mark, style=style)
    return text


def _body(text: str, *, full: bool, style: str = "") -> Text:
    return Text(printable(text) if full else shortened(text, _LINE), style=style)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _console() -> Console:
    return Console(highlight=False, soft_wrap=True)
