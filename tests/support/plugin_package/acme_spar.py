"""A third party's package: one search algorithm, backend, check and command."""

from __future__ import annotations

from collections.abc import Sequence

import typer

from spar_core.backends.scripted import ScriptedBackend
from spar_core.checks.base import Finding
from spar_core.checks.spec import CheckSpec
from spar_core.search import Expansion, Node, StopReason
from spar_core.types import Message, Sampling


async def pairs(expansion: Expansion, root: Node) -> StopReason:
    """Refine the draft two at a time until one refinement is accepted."""
    refined = 0
    while expansion.budget.nodes_left:
        nodes = await expansion.refine_all([(root, refined), (root, refined + 1)])
        refined += 2
        if any(node.accepted for node in nodes):
            return "refined_accepted"
    return "budget"


def open_backend(*, draft: str, refined: str) -> ScriptedBackend:
    """A model that answers `draft`, rejects it, and refines it to `refined`, which it accepts."""

    def reply(messages: Sequence[Message], sampling: Sampling) -> str:
        if messages[-1].text == "Refine the response.":
            return f"[[start]]\n{refined}\n[[end]]"
        if messages[0].text.startswith("Judge the response."):
            return f"Final Judgement: {'Yes' if messages[0].text.endswith(f'Response: {refined}') else 'No'}"
        return draft

    return ScriptedBackend(reply, model="acme")


def _no_digits(response: str, kwargs: object) -> Finding:
    digits = "".join(filter(str.isdigit, response))
    return Finding(not digits, f"the digits {digits}" if digits else "no digits")


NO_DIGITS = CheckSpec("acme:no_digits", lambda kwargs: "no digits", _no_digits)


def greet(name: str) -> None:
    """Greet somebody."""
    typer.echo(f"Hello {name}")
