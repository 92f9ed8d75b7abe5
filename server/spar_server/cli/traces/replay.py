"""Run a search again from its trace, and find where the two part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from spar_core.search.tree import Node, Tree
from spar_core.trace import read_tree
from spar_server.cli.traces.text import word_diff

# The search's own settings that a request can name; its deadline is left out, because a clock does not repeat itself.
_OPTIONS: Final = (
    "algorithm branch beam max_depth votes threshold stop select early_vote_stop max_search_tokens".split()
)
_SAMPLING: Final = ("temperature", "top_p", "max_tokens")


def replay_of(trace: Mapping[str, Any], *, model: str | None = None) -> tuple[str, dict[str, Any]]:
    """The path and the body of the request that runs a trace's search again; it is not stored as a trace."""
    search, sampling, given = trace["search"], trace["sampling"], trace["refine"]
    options = {name: search[name] for name in _OPTIONS if search[name] is not None}
    kept = {name: given[name] for name in ("checks", "judge", "requirements", "max_cost") if given.get(name)}
    body = {
        **sampling["extra"],
        **{name: sampling[name] for name in _SAMPLING if sampling[name] is not None},
        "model": model or trace["model"],
        "messages": trace["messages"],
        "n": trace["n"],
        "seed": search["seed"],
        "refine_budget": search["budget"],
        "refine": {**kept, **options, "trace": "full"},
        "store": False,
    }
    if sampling["stop"]:
        body["stop"] = sampling["stop"]
    if (initial := trace["initial"]) is None:
        return "/v1/chat/completions", body
    critique = {"critique": initial["critique"]} if initial["critique"] else {}
    return "/v1/refine", {**body, "response": initial["response"], **critique}


@dataclass(frozen=True, slots=True)
class Parting:
    """Where two runs differ first: at which node, in what, and the texts if those differ."""

    node: str
    what: str
    texts: tuple[str, str] | None = None


def partings(before: Tree, after: Tree) -> Iterator[Parting]:
    """Where the runs part, from the root on. Nodes below a difference differ for that reason, and are left out.

    A node that was cancelled in one run is not compared: when siblings are cancelled is a matter of time.
    """
    parted: list[tuple[int, ...]] = []
    nodes = [{node.path: node for node in tree} for tree in (before, after)]
    for path in sorted({*nodes[0], *nodes[1]}, key=lambda path: (len(path), path)):
        if any(path[: len(above)] == above for above in parted):
            continue
        found = _parting(nodes[0].get(path), nodes[1].get(path))
        if found is not None:
            parted.append(path)
            yield found


def _parting(before: Node | None, after: Node | None) -> Parting | None:
    node = before or after
    assert node is not None
    name = ".".join(map(str, node.path)) or "draft"
    if before is None or after is None:
        cancelled = node.outcome == "cancelled"
        return None if cancelled else Parting(name, f"exists only in the {'trace' if after is None else 'replay'}")
    if "cancelled" in (before.outcome, after.outcome):
        return None
    texts = (before.completion.text if before.completion else "", after.completion.text if after.completion else "")
    if texts[0] != texts[1]:
        return Parting(name, "has another text", texts)
    if before.judgement is not None and after.judgement is not None:
        votes = [[vote.verdict for vote in each.votes] for each in (before.judgement, after.judgement)]
        if votes[0] != votes[1]:
            counts = [f"{each.count(True)} yes, {each.count(False)} no" for each in votes]
            return Parting(name, f"has other votes: {counts[0]} in the trace, {counts[1]} in the replay")
    if before.outcome != after.outcome:
        return Parting(name, f"is {before.outcome} in the trace, {after.outcome} in the replay")
    return None


def print_replay(trace: Mapping[str, Any], answer: Mapping[str, Any]) -> bool:
    """Compare a trace with the response of its replay; whether they are the same."""
    console = Console(highlight=False, soft_wrap=True)
    spar = answer["spar"]
    trees = spar["trees"] if "trees" in spar else [spar["tree"]]
    same = True
    for number, (before, after) in enumerate(zip(trace["trees"], trees, strict=False), start=1):
        which = f"search {number}, " if trace["n"] > 1 else ""
        for found in partings(read_tree(before), read_tree(after)):
            same = False
            console.print(Text(f"{which}{found.node} {found.what}"))
            if found.texts is not None:
                console.print(word_diff(*found.texts))
    refinement = answer["usage"]["refinement"]
    ends = [f"{each['stop_reason']}, {_value(each['value'])}" for each in (trace, refinement)]
    if same:
        console.print(f"The replay is the same as the trace: {ends[0]}.")
    else:
        console.print(f"The trace ended with {ends[0]}; the replay with {ends[1]}.")
    return same


def _value(value: float | None) -> str:
    return "no value" if value is None else f"value {value:.2f}"
