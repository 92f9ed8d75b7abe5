"""Conversations for the rejection-sampling fine-tuning of the refiner, by the rules of SPaR (arXiv 2412.11605).

Refinements: the step that led to an accepted answer, with the refiner's complete reply, and repairs by program.
Judgements: one vote of the majority, from judgements that were not unanimous; at most one of each verdict per tree. If
code decided every item of a checklist, the judgement is what it found.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

from spar_core.checklist import ChecklistJudgement
from spar_core.judge import Judgement
from spar_core.prompts import Templates
from spar_core.types import Message
from spar_training.data.critique import Found, critique, refinement
from spar_training.data.negatives import JudgedItem, Negative, majority
from spar_training.data.search_results import Searched
from spar_training.storage.files import Row

Kind = Literal["refinement", "tree_yes", "tree_no", "sample_yes", "sample_no"]


def refiner_conversations(
    judged: Sequence[JudgedItem],
    searches: Sequence[Searched],
    repaired: Sequence[tuple[Negative, str]] = (),
    *,
    templates: Templates,
    caps: Mapping[Kind, int],
    seed: int,
) -> tuple[list[Row], Counter[str]]:
    """The rows, at most `caps` of each kind and one per judge prompt, and how many were left out by reason.

    Where a judge prompt fits several kinds, refinements come first, then trees, then samples.
    """
    found = [
        *_refinements(searches, templates),
        *_repairs(repaired, templates),
        *_of_trees(searches, templates),
        *_of_samples(judged, templates),
    ]
    random.Random(f"{seed}/conversations").shuffle(found)
    order: dict[str, int] = {kind: rank for rank, kind in enumerate(caps)}
    chosen: list[Row] = []
    left_out: Counter[str] = Counter()
    taken: Counter[str] = Counter()
    prompts: set[str] = set()
    for row in sorted(found, key=lambda row: order[row["kind"]]):
        prompt = row["messages"][0]["content"]
        if prompt in prompts:
            left_out[f"{row['kind']}: judge prompt already used"] += 1
        elif taken[row["kind"]] >= caps[row["kind"]]:
            left_out[f"{row['kind']}: over the cap"] += 1
        else:
            prompts.add(prompt)
            taken[row["kind"]] += 1
            chosen.append(row)
    return chosen, left_out


def _refinements(searches: Iterable[Searched], templates: Templates) -> Iterator[Row]:
    for search in searches:
        if not search.accepted:
            continue
        parent = search.parent
        assert parent.completion is not None
        assert parent.judgement is not None
        critique = parent.judgement.critique
        assert critique is not None
        turns = templates.refine(search.negative.prompt.conversation, parent.completion.text, critique)
        reply = search.replies[search.answer]
        assert search.best.completion is not None
        yield {
            **_row(search.id, "refinement", turns, reply),
            "path": list(search.answer),
            # The reply that would have refined nothing.
            "source_text": reply.replace(search.best.completion.text, parent.completion.text),
        }


def _repairs(repaired: Iterable[tuple[Negative, str]], templates: Templates) -> Iterator[Row]:
    for negative, text in repaired:
        judgement = negative.judgement
        assert isinstance(judgement, ChecklistJudgement)
        assert judgement.critique is not None
        found = _found(judgement)
        turns = templates.refine(negative.prompt.conversation, negative.response, judgement.critique)
        yield {
            **_row(negative.id, "refinement", turns, refinement(found, text)),
            "place": negative.place,
            "source_text": refinement(found, negative.response),
        }


def _of_trees(searches: Iterable[Searched], templates: Templates) -> Iterator[Row]:
    for search in searches:
        seen: set[bool] = set()
        for node in search.tree:
            if not node.path or node.outcome != "judged" or node.judgement is None or node.completion is None:
                continue
            verdict = _verdict(node.judgement)
            if verdict is None or verdict in seen:
                continue
            seen.add(verdict)
            turns = templates.judge(search.negative.prompt.conversation, node.completion.text)
            kind: Kind = "tree_yes" if verdict else "tree_no"
            yield {**_row(search.id, kind, turns, _judgement_text(node.judgement)), "path": list(node.path)}


def _of_samples(judged: Iterable[JudgedItem], templates: Templates) -> Iterator[Row]:
    for item in judged:
        for index, (response, judgement) in enumerate(zip(item.responses, item.judgements, strict=True)):
            verdict = _verdict(judgement) if judgement else None
            if response is None or judgement is None or verdict is None:
                continue
            kind: Kind = "sample_yes" if verdict else "sample_no"
            turns = templates.judge(item.prompt.conversation, response)
            yield {**_row(item.id, kind, turns, _judgement_text(judgement)), "place": index}


def _verdict(judgement: Judgement) -> bool | None:
    """The verdict of a judgement to learn from: by code, or by votes that include both verdicts; None for any other."""
    if isinstance(judgement, ChecklistJudgement):
        return None if judgement.votes else majority(judgement)
    return majority(judgement) if judgement.yes and judgement.no else None


def _judgement_text(judgement: Judgement) -> str:
    """What code found, or the first vote of the majority."""
    if isinstance(judgement, ChecklistJudgement):
        return critique(_found(judgement))
    return next(vote.text for vote in judgement.votes if vote.verdict is majority(judgement))


def _found(judgement: ChecklistJudgement) -> list[Found]:
    return [Found(item.requirement, item.evidence, bool(item.passed)) for item in judgement.items]


def _row(item: str, kind: Kind, turns: Sequence[Message], reply: str) -> Row:
    messages = [message.to_openai() for message in (*turns, Message("assistant", reply))]
    return {"id": f"{item}/{kind}", "kind": kind, "messages": messages}
