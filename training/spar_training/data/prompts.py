"""Prompts: the record that stages pass on, and the JSONL file it is read from.

prompts = read_prompts(Path("prompts.jsonl"))     # rows of {"id", "messages", "checks"?}
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from spar_core.checks import Check, build_check
from spar_core.errors import DataError, RequestError
from spar_core.types import Message
from spar_training.storage.files import Row, numbered_rows, write_rows

_ROLES: Final = ("system", "user", "assistant")


def read_messages(value: object) -> tuple[Message, ...]:
    """The messages of a prompt; the last must be the user's, and all must be text. Other keys are preserved.

    Raises:
        ValueError: names the field, such as `messages[1].content`, and what it must be.
    """
    if not isinstance(value, list) or not value:
        raise ValueError("messages: must be a non-empty list of chat messages")
    messages = tuple(_message(f"messages[{index}]", message) for index, message in enumerate(value))
    if messages[-1].role != "user":
        raise ValueError("messages: the last one must be the user's")
    return messages


def _message(field: str, value: object) -> Message:
    if not isinstance(value, Mapping):
        raise ValueError(f"{field}: must be an object with role and content")
    if value.get("role") not in _ROLES:
        raise ValueError(f"{field}.role: must be {', '.join(_ROLES[:-1])} or {_ROLES[-1]}, is {value.get('role')!r}")
    content = value.get("content")
    if isinstance(content, list):
        for number, part in enumerate(content):
            if not isinstance(part, Mapping) or part.get("type") != "text" or not isinstance(part.get("text"), str):
                raise ValueError(f"{field}.content[{number}]: must be a text part, since only text is trained on")
    elif not isinstance(content, str):
        raise ValueError(f"{field}.content: must be text, or a list of text parts")
    extra = {key: other for key, other in value.items() if key not in ("role", "content")}
    message = Message(value["role"], content, extra)
    if not message.text.strip():
        raise ValueError(f"{field}.content: must not be empty")
    return message


@dataclass(frozen=True, slots=True)
class PromptRecord:
    """A conversation that ends with the user's turn.

    `checks` (IFEval ids and kwargs) are for measurements only. No stage reads them: the labels of training data are the
    refiner's own votes.
    """

    id: str
    conversation: tuple[Message, ...]
    checks: tuple[Mapping[str, Any], ...] = ()

    def verifiers(self) -> tuple[Check, ...]:
        return tuple(build_check(check["id"], check["kwargs"]) for check in self.checks)

    def row(self) -> Row:
        row: Row = {"id": self.id, "messages": [message.to_openai() for message in self.conversation]}
        return {**row, "checks": [dict(check) for check in self.checks]} if self.checks else row


def write_prompts(path: Path, prompts: Iterable[PromptRecord]) -> None:
    write_rows(path, (prompt.row() for prompt in prompts))


def read_prompts(path: Path) -> list[PromptRecord]:
    """The prompts of a JSONL file whose rows have `id`, `messages` and optionally `checks`.

    Raises:
        DataError: a row is malformed or an id is repeated; names file and line.
    """
    prompts: list[PromptRecord] = []
    seen: dict[str, int] = {}
    for number, row in numbered_rows(path, needs=("id", "messages")):
        try:
            prompt = _prompt(row)
        except ValueError as error:
            raise DataError(f"{path}, line {number} ({row['id']!r}): {error}") from error
        if prompt.id in seen:
            raise DataError(f"{path}, line {number}: id {prompt.id!r} is already used in line {seen[prompt.id]}")
        seen[prompt.id] = number
        prompts.append(prompt)
    if not prompts:
        raise DataError(f"{path}: has no prompts")
    return prompts


def _prompt(row: Row) -> PromptRecord:
    conversation = tuple(Message(message.role, message.text) for message in read_messages(row["messages"]))
    record = PromptRecord(str(row["id"]), conversation, _checks(row.get("checks")))
    try:
        record.verifiers()
    except RequestError as error:
        raise ValueError(f"checks: {error}") from error
    return record


def _checks(value: Any) -> tuple[Mapping[str, Any], ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise ValueError("checks: must be a list; leave it out if there are none")
    for index, check in enumerate(value):
        if not isinstance(check, dict) or not isinstance(check.get("id"), str):
            raise ValueError(f"checks[{index}]: must be an object with id and kwargs")
        if not isinstance(check.get("kwargs"), dict):
            raise ValueError(f"checks[{index}].kwargs: must be an object; {{}} if there are none")
    return tuple(value)
