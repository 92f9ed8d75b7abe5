"""Refining: a critique and a response become a refined response, or a typed failure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from spar_core.backends.base import Backend
from spar_core.budget import Budget
from spar_core.prompts import Templates
from spar_core.types import Completion, Message, Sampling, Usage

Failure = Literal["no_start", "no_end", "empty"]

_START: Final = "[[start]]"
_END: Final = "[[end]]"
_MARKER: Final = re.compile(r"\[\[(?:start|end)\]\]")
_START_LINE: Final = re.compile(r"^[ \t]*\[\[start\]\][ \t]*\n", re.MULTILINE)
_END_LINE: Final = re.compile(r"^[ \t]*\[\[end\]\][ \t]*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Refinement:
    """`text` is the refined response, None when the refinement failed; `unchanged` when it equals the response."""

    text: str | None
    failure: Failure | None = None
    unchanged: bool = False
    raw: str = ""
    usage: Usage = field(default_factory=Usage)


def extract_refined(raw: str, response: str = "") -> Refinement:
    """Read the refined response from a refiner's reply.

    Markers on lines of their own win: everything from the first start line to the last end line, whatever
    markers the text itself holds. Otherwise the last end marker closes, and the first start marker
    after the one before it opens. A reply cut off before its end marker is a failure, not an answer.
    Markers that the `response` to refine has written itself are passed over where the reply quotes them first.
    """
    reply = _after_quotes(raw, response)
    opening = _START_LINE.search(reply)
    closings = [match for match in _END_LINE.finditer(reply) if opening and match.start() >= opening.end()]
    if opening and closings:
        return _read(reply[opening.end() : closings[-1].start()], raw)
    end = reply.rfind(_END)
    if end < 0 or (opening and end < opening.start()):
        return Refinement(None, "no_end" if _START in reply else "no_start", raw=raw)
    before = reply[:end]
    start = before.find(_START, max(0, before.rfind(_END)))
    if start < 0:
        return Refinement(None, "no_start", raw=raw)
    return _read(before[start + len(_START) :], raw)


def _after_quotes(raw: str, response: str) -> str:
    """`raw` from behind the last quote of the response's own markers that is followed by a start line."""
    marks = list(_MARKER.finditer(response))
    openings = list(_START_LINE.finditer(raw)) if marks else []
    if not openings:
        return raw
    quoted = response[marks[0].start() : marks[-1].end()]
    place = raw.rfind(quoted, 0, openings[-1].start())
    return raw if place < 0 else raw[place + len(quoted) :]


def _read(body: str, raw: str) -> Refinement:
    text = body.strip("\n").strip()
    return Refinement(text, raw=raw) if text else Refinement(None, "empty", raw=raw)


def _bare(completion: Completion) -> Refinement:
    if completion.finish_reason == "length":
        return Refinement(None, "no_end", raw=completion.text)
    return _read(completion.text, completion.text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refiner:
    """Continues the judge's conversation by a refinement turn.

    A `bare` refiner writes the refined response and nothing else: for answers whose format the engine enforces, which
    would not let markers through.
    """

    backend: Backend
    templates: Templates
    bare: bool = False
    sampling: Sampling = field(default_factory=lambda: Sampling(temperature=0.7, max_tokens=3072))

    async def refine(
        self,
        conversation: Sequence[Message],
        response: str,
        critique: str,
        *,
        seed: int = 0,
        budget: Budget | None = None,
        shares: int = 1,
    ) -> Refinement:
        """One refinement.

        Raises:
            TokensExhausted: the budget's tokens have no room for it.
            BackendError: the call failed.
        """
        completion = await (budget or Budget()).complete(
            "refiner",
            self.backend,
            self.templates.refine(conversation, response, critique, bare=self.bare),
            self.sampling.seeded(seed),
            shares=shares,
        )
        refined = _bare(completion) if self.bare else extract_refined(completion.text, response)
        unchanged = refined.text is not None and refined.text.strip() == response.strip()
        return replace(refined, unchanged=unchanged, usage=completion.usage)
