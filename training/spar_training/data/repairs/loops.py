"""Pairs against repetition: a response that repeats itself, and what it said before it began to.

Small models repeat themselves until they are cut off, most of all at temperature 0, and preference pairs without such
responses make it worse.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from typing import Final

from spar_training.data.negatives import JudgedItem
from spar_training.data.preference_pairs import preference_pair
from spar_training.data.repairs.passages import start_of_repeats, whole_sentences
from spar_training.data.repairs.responses import is_poor, repair_of
from spar_training.storage.files import Row

# More of a repetition teaches nothing new: its tokens are almost certain.
_REPEATED_WORDS: Final = 40


def stopped_pairs(
    judged: Sequence[JudgedItem], texts: Mapping[str, Sequence[str]], *, per_prompt: int, seed: int
) -> list[Row]:
    """At most `per_prompt` pairs of each prompt, of responses drawn at random.

    `texts` has all responses of each prompt by its id, of those that were cut off as well. The chosen side is repaired
    where what came before the repetition fails the prompt's checks.
    """
    pairs: list[Row] = []
    for item in judged:
        places = list(range(len(texts[item.id])))
        random.Random(f"{seed}/stopped/{item.id}").shuffle(places)
        made = [pair for place in places if (pair := _pair(item, texts[item.id][place], place, seed)) is not None]
        pairs += made[:per_prompt]
    return pairs


def _pair(item: JudgedItem, text: str, place: int, seed: int) -> Row | None:
    start = start_of_repeats(text)
    if start is None or is_poor(before := whole_sentences(text[:start])):
        return None
    # Every response to a prompt has the same checklist.
    judgement = next((each for each in item.judgements if each is not None), None)
    chosen = repair_of(before, item, judgement, place, seed)
    if chosen is None or is_poor(chosen):
        return None
    words = list(re.finditer(r"\S+", text[start:]))[:_REPEATED_WORDS]
    rejected = text[: start + words[-1].end()]
    return {**preference_pair(item.prompt, chosen, rejected, kind="stopped", place=place), "rejected_cut_off": True}
