"""Repair responses that were judged No by a checklist of verifiable requirements."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from typing import Final

from spar_core.checklist import ChecklistJudgement
from spar_core.checks import build_check
from spar_core.judge import Judgement
from spar_training.data.negatives import JudgedItem, Negative
from spar_training.data.repairs.passages import repeats_itself
from spar_training.data.repairs.repair import Source, repaired

_FEWEST_WORDS: Final = 8


def repaired_responses(judged: Sequence[JudgedItem], *, per_prompt: int, seed: int) -> list[tuple[Negative, str]]:
    """At most `per_prompt` responses of each prompt, drawn at random, each with its repair.

    Only responses whose items code decided can be repaired; one that repeats itself or says little is not worth it.
    """
    found: list[tuple[Negative, str]] = []
    for item in judged:
        places = item.with_verdict(False)
        random.Random(f"{seed}/repaired/{item.id}").shuffle(places)
        made = [each for place in places if (each := _repair(item, place, seed)) is not None]
        found += made[:per_prompt]
    return found


def repair_of(text: str, item: JudgedItem, judgement: Judgement | None, place: int, seed: int) -> str | None:
    """The repaired text of the response at `place`, under the checks of a judgement of any response to the prompt.

    None if there is no repair, or code did not decide every item.
    """
    if not isinstance(judgement, ChecklistJudgement):
        return None
    checks = [build_check(each.id, each.kwargs or {}) for each in judgement.items if each.id is not None]
    if len(checks) < len(judgement.items):
        return None
    others = [one for number, one in enumerate(item.responses) if one and number != place]
    rng = random.Random(f"{seed}/repair/{item.id}/{place}")
    return repaired(text, checks, Source(item.prompt.conversation[-1].text, others, rng))


def _repair(item: JudgedItem, place: int, seed: int) -> tuple[Negative, str] | None:
    response, judgement = item.responses[place], item.judgements[place]
    if response is None or judgement is None or is_poor(response):
        return None
    text = repair_of(response, item, judgement, place, seed)
    return None if text is None else (Negative(item.prompt, place, response, judgement), text)


def is_poor(response: str) -> bool:
    """Whether a text repeats itself or says little."""
    return repeats_itself(response) or len(set(re.findall(r"\w+", response.lower()))) < _FEWEST_WORDS
