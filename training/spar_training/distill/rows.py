"""Training conversations: a prompt as in serving, and the teacher's reply to it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from spar_core.prompts import Templates
from spar_core.types import Message, ModelRole
from spar_training.distill.items import JudgedItem, Prompt
from spar_training.storage.files import Row


@dataclass(frozen=True, slots=True)
class Provenance:
    """The model that taught, the model that wrote the drafts, the templates, and the run's seed."""

    teacher: str
    drafted_by: str
    templates: str
    seed: int


def actor_row(prompt: Prompt, answer: str, origin: Provenance) -> Row:
    row = _row(f"{prompt.id}/actor", "actor", prompt, prompt.conversation, answer)
    return {**row, "teacher": origin.teacher, "seed": origin.seed}


def judge_row(judged: JudgedItem, verdict: bool, templates: Templates, origin: Provenance) -> Row:
    draft = judged.draft
    asked = templates.judge(draft.prompt.conversation, draft.text)
    row = _row(f"{draft.id}/judge", "judge", draft.prompt, asked, judged.critique)
    return {**row, **_origin(origin), "verdict": "Yes" if verdict else "No"}


def refiner_row(judged: JudgedItem, reply: str, templates: Templates, origin: Provenance) -> Row:
    draft = judged.draft
    asked = templates.refine(draft.prompt.conversation, draft.text, judged.critique)
    return {**_row(f"{draft.id}/refine", "refiner", draft.prompt, asked, reply), **_origin(origin)}


def _row(name: str, role: ModelRole, prompt: Prompt, asked: Sequence[Message], reply: str) -> Row:
    messages = [message.to_openai() for message in (*asked, Message("assistant", reply))]
    return {"id": name, "messages": messages, "role": role, "prompt_id": prompt.id}


def _origin(origin: Provenance) -> dict[str, Any]:
    return {
        "teacher": origin.teacher,
        "drafted_by": origin.drafted_by,
        "templates": origin.templates,
        "seed": origin.seed,
    }


def surplus(rows: Sequence[Row], max_ratio: float, seed: int) -> set[str]:
    """Draw the ids to leave out so that there are at most `max_ratio` rows of the more frequent verdict per other row.

    If one verdict is missing, all rows of the other are surplus.
    """
    by_verdict = {verdict: [row["id"] for row in rows if row["verdict"] == verdict] for verdict in ("Yes", "No")}
    fewer, more = sorted(by_verdict.values(), key=len)
    left_out = max(0, len(more) - int(max_ratio * len(fewer)))
    return set(random.Random(seed).sample(more, left_out))
