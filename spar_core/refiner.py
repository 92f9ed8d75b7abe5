"""Refine a response by a critique of it; the result is a refined response or a typed failure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from spar_core.backends.base import Backend
from spar_core.budget import Budget
from spar_core.frozen import frozen
from spar_core.markers import Failure, between_markers
from spar_core.off_loop import unless_short
from spar_core.prompts import Templates
from spar_core.types import Completion, Message, Sampling, Usage


@frozen
class Refinement:
    """`text` is the refined response, or None with a `failure`; `unchanged` says that it equals the response."""

    text: str | None
    failure: Failure | None = None
    unchanged: bool = False
    raw: str = ""
    usage: Usage = field(default_factory=Usage)


def extract_refined(raw: str, response: str = "", *, mark: str = "") -> Refinement:
    """Read the refined response from a refiner's reply; see `between_markers`."""
    found = between_markers(raw, response, mark)
    return Refinement(found.text, found.failure, raw=raw)


def _bare(completion: Completion) -> Refinement:
    if completion.finish_reason == "length":
        return Refinement(None, "no_end", raw=completion.text)
    text = completion.text.strip()
    return Refinement(text, raw=completion.text) if text else Refinement(None, "empty", raw=completion.text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refiner:
    """A refiner that continues the judge's conversation by a refinement turn.

        refiner = Refiner(backend=backend, templates=load_templates("default"))
        refinement = await refiner.refine(conversation, response, critique)

    A `bare` refiner writes only the refined response, without markers: for formats that the engine enforces, which
    would not permit markers.
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
        """Refine `response` by one call on `budget`.

        Raises:
            TokensExhausted: the budget has too few tokens left.
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
