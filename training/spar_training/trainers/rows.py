"""The formats of training data, and checks of single rows.

SFT: `{"id", "messages": [{"role", "content"}, ...]}`; the last turn is the assistant's. The optional `source_text`
(formerly `departs_from`) is the text that the last turn is an edit of.
DPO: `{"id", "prompt": [turns], "chosen": [turn], "rejected": [turn]}`.
Other keys record where a row comes from and are ignored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

ROLES = ("system", "user", "assistant")


def sft_problem(row: Mapping[str, Any]) -> str | None:
    """What is wrong with a row of SFT data; None if nothing is."""
    problem = _turns_problem(row.get("messages"), "messages")
    if problem:
        return problem
    if row["messages"][-1]["role"] != "assistant":
        return "messages: the last turn must be the assistant's"
    if not isinstance(source_text(row), str | None):
        return "source_text: must be a string"
    return None


def source_text(row: Mapping[str, Any]) -> Any:
    """The text that the last turn of an SFT row is an edit of; None where the row has none."""
    return row.get("source_text", row.get("departs_from"))


def dpo_problem(row: Mapping[str, Any]) -> str | None:
    """What is wrong with a row of DPO data; None if nothing is."""
    problem = _turns_problem(row.get("prompt"), "prompt")
    if problem:
        return problem
    if row["prompt"][-1]["role"] == "assistant":
        return "prompt: the last turn must not be the assistant's"
    for key in ("chosen", "rejected"):
        if problem := _turns_problem(row.get(key), key):
            return problem
        if [turn["role"] for turn in row[key]] != ["assistant"]:
            return f"{key}: must be a single turn of the assistant"
    return None


def _turns_problem(turns: object, key: str) -> str | None:
    if not isinstance(turns, Sequence) or isinstance(turns, str) or not turns:
        return f"{key}: must be a list with at least one turn"
    for number, turn in enumerate(turns):
        if problem := _turn_problem(turn):
            return f"{key}.{number}: {problem}"
    return None


def _turn_problem(turn: object) -> str | None:
    if not isinstance(turn, Mapping) or not {"role", "content"} <= set(turn):
        return "must be an object with role and content"
    if turn["role"] not in ROLES:
        return f"role must be one of {', '.join(ROLES)}"
    if not isinstance(turn["content"], str):
        return "content must be a string"
    if turn["role"] == "assistant" and not turn["content"].strip():
        return "the assistant's turn is empty"
    return None
