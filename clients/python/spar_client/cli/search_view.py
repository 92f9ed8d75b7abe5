"""Show a search while it runs, and its tree afterwards."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text
from rich.tree import Tree

from spar_client.cli.screen import Screen, printable, word_diff
from spar_client.completion import Completion
from spar_client.events import (
    DraftEvent,
    JudgementEvent,
    NodeEvent,
    RefinementEvent,
    StreamEvent,
    VoteEvent,
)
from spar_client.tree import Path, SearchTree, TreeNode

_LABEL_CHARACTERS = 70


class SearchView:
    """Prints the draft, the judgements and the refinements of one search as they arrive; `status` is its live line."""

    def __init__(self, screen: Screen, budget: int) -> None:
        self._screen = screen
        self._budget = budget
        self._texts: dict[Path, str] = {}
        self._nodes = 0
        self._votes: dict[Path, list[str]] = {}
        self.status = "Drafting"

    @property
    def draft(self) -> str | None:
        return self._texts.get(())

    def show(self, event: StreamEvent) -> None:
        """Print what is complete, and renew `status`."""
        match event:
            case DraftEvent():
                self._texts[()] = event.text
                self._print("Draft:", event.text)
                self.status = "Judging the draft"
            case VoteEvent():
                votes = self._votes.setdefault(event.path, [])
                votes.append(event.verdict or "abstained")
                self.status = f"Judging {node_name(event.path)}: {', '.join(votes)}{self._progress()}"
            case JudgementEvent():
                self._print_judgement(event)
            case NodeEvent():
                self._nodes += 1
                self.status = f"Refining {node_name(event.path)}{self._progress()}"
                if event.critique is None:
                    self._screen.note(f"Sampling {node_name(event.path)}.\n")
            case RefinementEvent(text=None):
                self._screen.note(f"Refinement {node_name(event.path)} failed: {event.failure}\n")
            case RefinementEvent():
                self._print_refinement(event.path, event.text or "")

    def _progress(self) -> str:
        return f" · {self._nodes} of {self._budget} nodes" if self._nodes else ""

    def _print(self, heading: str, text: str) -> None:
        self._screen.note(heading, style="bold")
        self._screen.note(f"{text}\n", style="dim")

    def _print_judgement(self, event: JudgementEvent) -> None:
        verdict = "accepted" if event.accepted else "abstained" if event.abstained else "rejected"
        count = f"{event.yes} yes, {event.no} no" if event.yes + event.no or event.abstained else "a check failed"
        style = "bold green" if event.accepted else "bold red" if verdict == "rejected" else "bold"
        self._screen.note(f"Judged {node_name(event.path)}: {verdict} ({count})", style=style)
        self._screen.note("" if event.accepted else f"{event.critique or ''}\n", style="dim")

    def _print_refinement(self, path: Path, text: str) -> None:
        parent = self._texts.get(path[:-1])
        self._texts[path] = text
        if parent is None or not self._screen.shows_changes:
            self._print(f"Refinement {node_name(path)}:", text)
            return
        self._screen.note(f"Refinement {node_name(path)}:", style="bold")
        self._screen.progress.print(word_diff(printable(parent), printable(text)), end="\n\n", style="dim")


def node_name(path: Sequence[int]) -> str:
    """`draft`, or the numbers of the node from 1: 1.3 is the third child of the first child."""
    return ".".join(str(number + 1) for number in path) or "draft"


def read_node_name(name: str) -> Path | None:
    """The path of a node's name; None if it is none."""
    if name == "draft":
        return ()
    numbers = name.split(".")
    return tuple(int(number) - 1 for number in numbers) if all(map(str.isdecimal, numbers)) else None


def format_usage(completion: Completion) -> str:
    """One line: why the search stopped, and what it cost."""
    found, usage = completion.refinement, completion.usage
    tokens = None if usage is None else usage.completion_tokens
    return (
        f"{found.stop_reason} · {found.nodes} of {found.budget} nodes · {'?' if tokens is None else tokens} tokens · "
        f"{found.duration_ms / 1000:.1f} s"
    )


def draw_tree(tree: SearchTree) -> Tree:
    """The tree for a terminal: one line for a node, the answer marked by a star."""
    drawn: dict[Path, Tree] = {(): Tree(_label(tree.draft, tree))}
    for node in tree.nodes[1:]:
        # A fresh draft's parent is the first draft.
        parent = drawn.get(node.path[:-1], drawn[()])
        drawn[node.path] = parent.add(_label(node, tree))
    return drawn[()]


def _label(node: TreeNode, tree: SearchTree) -> Text:
    text = Text(f"{'★ ' if node.path == tree.answer else ''}{node_name(node.path)} ", style="bold")
    if node.value is None or node.judgement is None:
        text.append(node.outcome, style="dim")
    elif node.judgement.accepted:
        text.append(f"accepted, {node.value:.0%} yes", style="green")
    else:
        text.append(f"rejected, {node.value:.0%} yes", style="red")
    first = " ".join(printable(node.text or node.problem or "").split())
    shortened = f"{first[:_LABEL_CHARACTERS]}…" if len(first) > _LABEL_CHARACTERS else first
    return text.append(f"  {shortened}", style="not bold dim")


def print_node(screen: Screen, node: TreeNode) -> None:
    """A node's whole text and every vote on it."""
    screen.note(f"{node_name(node.path)}: {node.outcome}", style="bold")
    screen.note(node.text if node.text is not None else node.problem or "")
    if node.judgement is None:
        return
    for number, vote in enumerate(node.judgement.votes, 1):
        verdict = {True: "yes", False: "no", None: "abstained"}[vote.verdict]
        screen.note(f"\nVote {number}: {verdict}", style="bold")
        screen.note(vote.error or vote.text, style="dim")
    if node.judgement.report:
        screen.note(f"\n{node.judgement.report}", style="dim")
