"""A prompt as the stages pass it on, and how it stands in a file."""

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
    """The messages of a prompt, the last of them the user's: text, or parts that are all text. Other keys are kept.

    Raises:
        ValueError: names the place, e.g. `messages[1].content`, and what must be there.
    """
    if not isinstance(value, list) or not value:
        raise ValueError("messages: must be a list of chat messages that is not empty")
    messages = tuple(_message(f"messages[{place}]", one) for place, one in enumerate(value))
    if messages[-1].role != "user":
        raise ValueError("messages: the last one must be the user's, who asks for the answer")
    return messages


def _message(place: str, value: object) -> Message:
    if not isinstance(value, Mapping):
        raise ValueError(f"{place}: must be an object with a role and a content")
    if value.get("role") not in _ROLES:
        raise ValueError(f"{place}.role: must be {', '.join(_ROLES[:-1])} or {_ROLES[-1]}, is {value.get('role')!r}")
    content = value.get("content")
    if isinstance(content, list):
        for number, part in enumerate(content):
            if not isinstance(part, Mapping) or part.get("type") != "text" or not isinstance(part.get("text"), str):
                raise ValueError(f"{place}.content[{number}]: must be a text part, as only text is trained on")
    elif not isinstance(content, str):
        raise ValueError(f"{place}.content: must be text, or a list of text parts")
    extra = {key: kept for key, kept in value.items() if key not in ("role", "content")}
    message = Message(value["role"], content, extra)
    if not message.text.strip():
        raise ValueError(f"{place}.content: must be text that is not empty")
    return message


@dataclass(frozen=True, slots=True)
class PromptRecord:
    """A conversation that ends with the user's turn.

    `checks` (IFEval ids and kwargs) are there to measure by, where a prompt has any. No stage reads them: the training
    labels are the refiner's own votes.
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
    """The prompts of a JSONL file: each row has `id` and `messages`, and may have `checks`.

    Raises:
        DataError: a row is malformed or an id stands twice; names file and line.
    """
    prompts: list[PromptRecord] = []
    seen: dict[str, int] = {}
    for number, row in numbered_rows(path, needs=("id", "messages")):
        try:
            prompt = _prompt(row)
        except ValueError as error:
            raise DataError(f"{path}, line {number} ({row['id']!r}): {error}") from error
        if prompt.id in seen:
            raise DataError(f"{path}, line {number}: id {prompt.id!r} stands in line {seen[prompt.id]} too")
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


def _checks(given: Any) -> tuple[Mapping[str, Any], ...]:
    if given is None:
        return ()
    if not isinstance(given, list):
        raise ValueError("checks: must be a list; leave it out where there are none")
    for place, check in enumerate(given):
        if not isinstance(check, dict) or not isinstance(check.get("id"), str):
            raise ValueError(f"checks[{place}]: must be an object with an id and its kwargs")
        if not isinstance(check.get("kwargs"), dict):
            raise ValueError(f"checks[{place}].kwargs: must be an object; {{}} where there are none")
    return tuple(given)
