"""Negatives: of each prompt's responses that were judged No, one at random is to be refined."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from spar_core.judge import Judgement
from spar_training.data.prompts import PromptRecord


@dataclass(frozen=True, slots=True)
class Judged:
    """A prompt's responses with their judgements; None where a response was not judged."""

    prompt: PromptRecord
    responses: tuple[str | None, ...]
    judgements: tuple[Judgement | None, ...]

    @property
    def id(self) -> str:
        return self.prompt.id

    def with_verdict(self, verdict: bool) -> list[int]:
        """The places of the responses with this majority. A tie and an abstention have neither."""
        return [
            place for place, judgement in enumerate(self.judgements) if judgement and majority(judgement) is verdict
        ]


@dataclass(frozen=True, slots=True)
class Negative:
    """The response to refine, at `place` among its prompt's."""

    prompt: PromptRecord
    place: int
    response: str
    judgement: Judgement

    @property
    def id(self) -> str:
        return self.prompt.id


def majority(judgement: Judgement) -> bool | None:
    """The strict majority of the votes that have a verdict; None for a tie or when none has one."""
    return None if judgement.yes == judgement.no else judgement.yes > judgement.no


def choose_negatives(judged: Sequence[Judged], *, seed: int) -> list[Negative]:
    """At most one response a prompt, drawn from those judged No."""
    chosen: list[Negative] = []
    for item in judged:
        places = item.with_verdict(False)
        if not places:
            continue
        place = random.Random(f"{seed}/negative/{item.id}").choice(places)
        response, judgement = item.responses[place], item.judgements[place]
        assert response is not None
        assert judgement is not None
        chosen.append(Negative(item.prompt, place, response, judgement))
    return chosen
