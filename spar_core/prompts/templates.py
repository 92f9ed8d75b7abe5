"""Prompt template sets: folders of text files with `{{slot}}` marks.

Rendering is one pass over the template: values are not rendered again, so braces, template syntax or `[[start]]` in a
user's text remain text. Control tokens of chat templates, the prompt's own tags and forged turns are neutralized in it.
The refinement turn continues the judge's conversation: judge prompt, critique, refine prompt (arXiv 2412.11605).

A set may use a mark, `{{mark}}`, in the verdict line and in the refinement's markers: digits that a response cannot
know, so that nothing in a response can pass for the judge's or the refiner's own words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final

from spar_core.checks.base import Check, Finding
from spar_core.errors import ConfigError
from spar_core.prompts.neutral import neutralized, neutralized_turns
from spar_core.prompts.transcript import readable
from spar_core.types import Message

_SLOT: Final = re.compile(r"\{\{(\w+)\}\}")
# The files of a set and their required slots.
_FILES: Final[dict[str, frozenset[str]]] = {
    "judge": frozenset({"instruction", "response"}),
    "refine": frozenset(),
    "refine_bare": frozenset(),
    "verdict": frozenset(),
    "check_failed": frozenset({"number", "requirement", "evidence"}),
    "checks_failed": frozenset({"failures"}),
    "turn": frozenset({"role", "text"}),
    "checklist": frozenset({"instruction", "known", "checks"}),
    "checklist_json": frozenset({"instruction", "known", "checks"}),
    "checklist_judge": frozenset({"instruction", "response", "items", "mark"}),
    "checklist_asked": frozenset({"requirement"}),
    "items_failed": frozenset({"failures"}),
}
# Slots that a set may omit, because its models were trained on fixed wording.
_OPTIONAL_SLOTS: Final[dict[str, frozenset[str]]] = {
    "judge": frozenset({"mark"}),
    "refine": frozenset({"mark"}),
}
# Files that default to those of the default set.
_OPTIONAL: Final = frozenset(
    {"refine_bare", "verdict", "checklist", "checklist_json", "checklist_judge", "checklist_asked", "items_failed"}
)
_REQUIRED: Final = ", ".join(f"{name}.txt" for name in _FILES if name not in _OPTIONAL)
SHIPPED_SETS: Final = ("default", "compact", "brief")


@dataclass(frozen=True, slots=True)
class Templates:
    """One template set. Rendering never fails.

    `key` determines the marks: with the same key, a response has the same mark in every process. It must be secret and
    random if untrusted people write responses.
    """

    name: str
    texts: Mapping[str, str]
    key: bytes = field(default=b"", repr=False)

    @property
    def marked(self) -> bool:
        """Whether the set has a slot for the mark."""
        return "{{mark}}" in self.texts["judge"]

    def mark(self, conversation: Sequence[Message], response: str) -> str:
        """The mark for judgements and refinements of `response`: six digits, or empty if the set has no slot for it.

        It depends on the response, so a response that contains its own mark has another one.
        """
        return self.item_mark(conversation, response) if self.marked else ""

    def item_mark(self, conversation: Sequence[Message], response: str) -> str:
        """The mark for judgements by a checklist, which every set has."""
        text = f"{self._instruction(conversation)}\0{response}".encode("utf-8", "surrogatepass")
        return f"{int.from_bytes(blake2b(text, key=self.key, digest_size=8).digest()) % 1_000_000:06}"

    def judge(self, conversation: Sequence[Message], response: str) -> list[Message]:
        """The chat that has a model judge `response` as the answer to `conversation`."""
        prompt = self._render(
            "judge",
            instruction=neutralized(self._instruction(conversation)),
            response=neutralized(response),
            mark=self.mark(conversation, response),
        )
        return [Message("user", prompt)]

    def ask_verdict(self, judged: Sequence[Message], judgement: str) -> list[Message]:
        """The chat that asks for the verdict alone, after a judgement that has none; `judged` is the judge's chat."""
        return [*judged, Message("assistant", neutralized(judgement)), Message("user", self._render("verdict"))]

    def refine(
        self, conversation: Sequence[Message], response: str, critique: str, *, bare: bool = False
    ) -> list[Message]:
        """The judge's chat, its critique, and the request to refine.

        With `bare` the request is for the refined response alone, without markers.
        """
        return [
            *self.judge(conversation, response),
            Message("assistant", neutralized(critique)),
            Message(
                "user",
                self._render("refine_bare" if bare else "refine", mark=self.mark(conversation, response)),
            ),
        ]

    def checklist(
        self, conversation: Sequence[Message], known: Sequence[str], checks: Sequence[str], *, structured: bool
    ) -> list[Message]:
        """The chat that has a model turn `conversation` into a checklist, beyond the requirements that are `known`.

        `checks` names the checks with their kwargs; `structured` is for engines that enforce the form of the reply.
        """
        prompt = self._render(
            "checklist_json" if structured else "checklist",
            instruction=neutralized(self._instruction(conversation)),
            known="\n".join(f"- {neutralized(each)}" for each in known) or "(nothing)",
            checks="\n".join(checks),
        )
        return [Message("user", prompt)]

    def judge_items(self, conversation: Sequence[Message], response: str, items: Sequence[str]) -> list[Message]:
        """The chat that has a model judge `response` item by item; items are numbered from 1."""
        prompt = self._render(
            "checklist_judge",
            instruction=neutralized(self._instruction(conversation)),
            response=neutralized(response),
            items="\n".join(f"{number}. {neutralized(item)}" for number, item in enumerate(items, start=1)),
            mark=self.item_mark(conversation, response),
        )
        return [Message("user", prompt)]

    def is_asked(self, requirement: str) -> str:
        """An item that asks whether the instruction has this requirement at all."""
        return self._render("checklist_asked", requirement=requirement)

    def failed_items(self, failures: Sequence[tuple[int, str, str]]) -> str:
        """A critique that lists failed items, each with its number, requirement and evidence."""
        lines = [
            self._render("check_failed", number=str(number), requirement=requirement, evidence=evidence)
            for number, requirement, evidence in failures
        ]
        return self._render("items_failed", failures="\n".join(lines))

    def failed_checks(self, checks: Sequence[Check], findings: Sequence[Finding]) -> str:
        """A critique in this set's form that lists the failed checks; `findings` are in the order of `checks`."""
        failures = [
            self._render(
                "check_failed",
                number=str(number),
                requirement=check.requirement(),
                evidence=finding.evidence,
            )
            for number, (check, finding) in enumerate(zip(checks, findings, strict=True), start=1)
            if not finding.passed
        ]
        return self._render("checks_failed", failures="\n".join(failures))

    def _instruction(self, conversation: Sequence[Message]) -> str:
        """A single user message as it is; a longer conversation with the role of each turn."""
        if len(conversation) == 1 and conversation[0].role == "user":
            return self._without_turns(conversation[0])
        turns = (self._render("turn", role=each.role, text=self._without_turns(each)) for each in conversation)
        return "\n".join(turns)

    def _without_turns(self, message: Message) -> str:
        """A message as text that cannot pass for several turns."""
        return neutralized_turns(readable(message), self.texts["turn"])

    def _render(self, name: str, **values: str) -> str:
        return _SLOT.sub(lambda slot: values[slot[1]], self.texts[name])


def load_templates(name_or_folder: str | Path, *, key: bytes = b"") -> Templates:
    """Load a shipped set by name, or another from a folder with the same files.

        load_templates("default"), load_templates("my/templates")

    `key`, at most 64 bytes, determines the marks; a server uses a random one.

    Raises:
        ConfigError: there is no such set, a file is missing, or a slot is missing or unknown.
    """
    if str(name_or_folder) in SHIPPED_SETS:
        root: Traversable = files("spar_core.prompts") / str(name_or_folder)
    else:
        root = Path(name_or_folder)
        if not root.is_dir():
            raise ConfigError(
                f"templates: {str(name_or_folder)!r} is neither a shipped set ({', '.join(SHIPPED_SETS)}) nor a folder"
            )
    texts = {name: _read(root, name, required) for name, required in _FILES.items()}
    return Templates(str(name_or_folder), texts, key)


def _read(root: Traversable, name: str, required: frozenset[str]) -> str:
    file = root / f"{name}.txt"
    if name in _OPTIONAL and not file.is_file():
        file = files("spar_core.prompts") / "default" / f"{name}.txt"
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigError(f"templates: {file} is missing; a set needs {_REQUIRED}") from error
    slots = set(_SLOT.findall(text))
    if missing := required - slots:
        raise ConfigError(f"templates: {file} lacks the slot {{{{{min(missing)}}}}}")
    allowed = required | _OPTIONAL_SLOTS.get(name, frozenset())
    if unknown := slots - allowed:
        raise ConfigError(
            f"templates: {file} has an unknown slot {{{{{min(unknown)}}}}}; "
            f"it may use: {', '.join(sorted(allowed)) or 'none'}"
        )
    # The final newline that editors add is not part of the prompt.
    return text.removesuffix("\n")
