"""Choose negatives: of the responses to a prompt that were judged No, a random one to refine."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from spar_core.checklist import ChecklistJudgement
from spar_core.judge import Judgement
from spar_training.data.prompts import PromptRecord


@dataclass(frozen=True, slots=True)
class JudgedItem:
    """A prompt's responses with their judgements; None where a response was not judged."""

    prompt: PromptRecord
    responses: tuple[str | None, ...]
    judgements: tuple[Judgement | None, ...]

    @property
    def id(self) -> str:
        return self.prompt.id

    def with_verdict(self, verdict: bool) -> list[int]:
        """The indices of the responses with this majority; ties and abstentions have none."""
        return [
            index for index, judgement in enumerate(self.judgements) if judgement and majority(judgement) is verdict
        ]


@dataclass(frozen=True, slots=True)
class Negative:
    """The response to refine; `place` is its index among the responses to its prompt."""

    prompt: PromptRecord
    place: int
    response: str
    judgement: Judgement

    @property
    def id(self) -> str:
        return self.prompt.id


def majority(judgement: Judgement) -> bool | None:
    """The strict majority of the votes with a verdict; None for a tie or without any verdict.

    A checklist, whose items may be decided by code, counts as a whole.
    """
    if isinstance(judgement, ChecklistJudgement):
        return None if judgement.value is None else judgement.accepted
    return None if judgement.yes == judgement.no else judgement.yes > judgement.no


def choose_negatives(judged: Sequence[JudgedItem], *, seed: int) -> list[Negative]:
    """At most one response per prompt, drawn at random from those judged No."""
    chosen: list[Negative] = []
    for item in judged:
        indices = item.with_verdict(False)
        if not indices:
            continue
        place = random.Random(f"{seed}/negative/{item.id}").choice(indices)
        response, judgement = item.responses[place], item.judgements[place]
        assert response is not None
        assert judgement is not None
        chosen.append(Negative(item.prompt, place, response, judgement))
    return chosen
