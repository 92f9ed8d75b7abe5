"""A scripted model that votes on the items of a checklist."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from spar_core.backends.scripted import ScriptedBackend
from spar_core.checklist.items import EVERYTHING
from spar_core.types import Message, Sampling

# Says of a requirement and a response whether it is met; None gives no verdict.
Verdict = Callable[[str, str], bool | None]
_PROMPT = re.compile(
    r"<response>\n(?P<response>.*)\n</response>\n\nRequirements:\n(?P<items>.*?)\n\nWrite.*Verdict (?P<mark>\d+)\.1",
    re.DOTALL,
)
_WHOLE = re.compile(r"<response>\n(?P<response>.*)\n</response>\n.*Final Judgement (?P<mark>\d+): Yes", re.DOTALL)


@dataclass(frozen=True)
class Asked:
    """What a vote was asked: about which response, which requirements, and with which mark."""

    response: str
    requirements: list[str]
    mark: str

    @classmethod
    def of(cls, messages: Sequence[Message]) -> Asked:
        found = _PROMPT.search(messages[0].text)
        assert found, messages[0].text
        lines = [line.partition(". ")[2] for line in found["items"].split("\n")]
        return cls(found["response"], lines, found["mark"])


def item_voter(verdict: Verdict) -> ScriptedBackend:
    """A model that decides every item by `verdict`, with "seen" or "missing" as its evidence.

    Asked about a response as a whole, it decides that item.
    """

    def script(messages: Sequence[Message], sampling: Sampling) -> str:
        if whole := _WHOLE.search(messages[0].text):
            passed = verdict(EVERYTHING, whole["response"])
            return "" if passed is None else f"Final Judgement {whole['mark']}: {'Yes' if passed else 'No'}"
        asked = Asked.of(messages)
        lines = []
        for number, requirement in enumerate(asked.requirements, start=1):
            if (passed := verdict(requirement, asked.response)) is not None:
                evidence = "seen" if passed else "missing"
                lines.append(f"Item {number}: {evidence}\nVerdict {asked.mark}.{number}: {int(passed)}")
        return "\n".join(lines)

    return ScriptedBackend(script)
