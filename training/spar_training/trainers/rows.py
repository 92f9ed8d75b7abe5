"""Rows of training data as they stand in a file, checked one by one.

SFT: `{"id", "messages": [{"role", "content"}, ...]}`, the last turn the assistant's, and optionally `departs_from`,
the text that the last turn is an edit of. DPO: `{"id", "prompt": [turns], "chosen": [turn], "rejected": [turn]}`.
Other keys say where a row comes from and are not looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

ROLES = ("system", "user", "assistant")


def sft_problem(row: Mapping[str, Any]) -> str | None:
    """What is wrong with a row of SFT data; None when nothing is."""
    problem = _turns_problem(row.get("messages"), "messages")
    if problem:
        return problem
    if row["messages"][-1]["role"] != "assistant":
        return "messages: the last turn must be the assistant's"
    if not isinstance(row.get("departs_from", ""), str):
        return "departs_from: must be a text"
    return None


def dpo_problem(row: Mapping[str, Any]) -> str | None:
    """What is wrong with a row of DPO data; None when nothing is."""
    problem = _turns_problem(row.get("prompt"), "prompt")
    if problem:
        return problem
    if row["prompt"][-1]["role"] == "assistant":
        return "prompt: the last turn must not be the assistant's"
    for key in ("chosen", "rejected"):
        if problem := _turns_problem(row.get(key), key):
            return problem
        if [turn["role"] for turn in row[key]] != ["assistant"]:
            return f"{key}: must be one turn of the assistant"
    return None


def _turns_problem(turns: object, key: str) -> str | None:
    if not isinstance(turns, Sequence) or isinstance(turns, str) or not turns:
        return f"{key}: must be a list of turns with at least one"
    for number, turn in enumerate(turns):
        if problem := _turn_problem(turn):
            return f"{key}.{number}: {problem}"
    return None


def _turn_problem(turn: object) -> str | None:
    if not isinstance(turn, Mapping) or not {"role", "content"} <= set(turn):
        return 'must be {"role", "content"}'
    if turn["role"] not in ROLES:
        return f"role must be one of {', '.join(ROLES)}"
    if not isinstance(turn["content"], str):
        return "content must be a text"
    if turn["role"] == "assistant" and not turn["content"].strip():
        return "the assistant says nothing"
    return None
