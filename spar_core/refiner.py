"""Refining: a critique and a response become a refined response, or a typed failure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from spar_core.backends.base import Backend
from spar_core.budget import Budget
from spar_core.markers import Failure, between_markers
from spar_core.off_loop import unless_short
from spar_core.prompts import Templates
from spar_core.types import Completion, Message, Sampling, Usage


@dataclass(frozen=True, slots=True)
class Refinement:
    """`text` is the refined response, None when the refinement failed; `unchanged` when it equals the response."""

    text: str | None
    failure: Failure | None = None
    unchanged: bool = False
    raw: str = ""
    usage: Usage = field(default_factory=Usage)


def extract_refined(raw: str, response: str = "", *, mark: str = "") -> Refinement:
    """Read the refined response from a refiner's reply, as `between_markers` finds it."""
    found = between_markers(raw, response, mark)
    return Refinement(found.text, found.failure, raw=raw)


def _bare(completion: Completion) -> Refinement:
    if completion.finish_reason == "length":
        return Refinement(None, "no_end", raw=completion.text)
    text = completion.text.strip()
    return Refinement(text, raw=completion.text) if text else Refinement(None, "empty", raw=completion.text)


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
        prompt = partial(self.templates.refine, conversation, response, critique, bare=self.bare)
        completion = await (budget or Budget()).complete(
            "refiner",
            self.backend,
            await unless_short(prompt, len(response) + len(critique)),
            self.sampling.seeded(seed),
            shares=shares,
        )
        read = partial(self._read, completion, conversation, response)
        refined = await unless_short(read, len(completion.text) + len(response))
        unchanged = refined.text is not None and refined.text.strip() == response.strip()
        return replace(refined, unchanged=unchanged, usage=completion.usage)

    def _read(self, completion: Completion, conversation: Sequence[Message], response: str) -> Refinement:
        if self.bare:
            return _bare(completion)
        return extract_refined(completion.text, response, mark=self.templates.mark(conversation, response))
