"""Responses that a checklist rejected, repaired by program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from spar_core.checklist import ChecklistJudgement, ItemResult
from spar_core.checks import build_check
from spar_core.prompts import load_templates
from spar_core.types import Message
from spar_training.data.negatives import JudgedItem
from spar_training.data.preference_pairs import repaired_pairs
from spar_training.data.prompts import PromptRecord
from spar_training.data.refiner_rows import refiner_conversations
from spar_training.data.repairs.responses import repaired_responses

NO_COMMAS = ("punctuation:no_comma", {})
FAILING = ("Tea, like coffee, is an old drink that people enjoy.", "Tea is green, black or white in most of the shops.")
CAPS = {"refinement": 9, "tree_yes": 0, "tree_no": 0, "sample_yes": 0, "sample_no": 0}


def judged(
    responses: Sequence[str], checks: Sequence[tuple[str, Mapping[str, Any]]] = (NO_COMMAS,), **more: Any
) -> JudgedItem:
    def judgement(response: str) -> ChecklistJudgement:
        items = []
        for id, kwargs in checks:
            check = build_check(id, kwargs)
            finding = check.find(response)
            items.append(ItemResult(check.requirement(), "rules", finding.passed, finding.evidence, id, kwargs))
        report = "1. no commas: a comma -> no\nFinal Judgement: No"
        return ChecklistJudgement(votes=(), threshold=0.5, report=report, items=(*items, *more.get("items", ())))

    prompt = PromptRecord("tea", (Message("user", "Write about tea. Do not use any commas."),))
    return JudgedItem(prompt, tuple(responses), tuple(judgement(each) for each in responses))


def test_a_repair_is_the_chosen_side_of_a_pair_and_a_refinement_to_learn() -> None:
    repaired = repaired_responses([judged(FAILING[:1])], per_prompt=2, seed=1)
    (pair,) = repaired_pairs(repaired)
    assert pair["chosen"][0]["content"] == "Tea like coffee is an old drink that people enjoy."
    assert pair["rejected"][0]["content"] == FAILING[0]
    assert pair["provenance"]["kind"] == "repaired"
    (row,), _ = refiner_conversations([], [], repaired, templates=load_templates("brief"), caps=CAPS, seed=1)
    assert row["messages"][-1]["content"].endswith(
        "[[start]]\nTea like coffee is an old drink that people enjoy.\n[[end]]"
    )
    assert row["source_text"].endswith(f"[[start]]\n{FAILING[0]}\n[[end]]")
    assert "a comma -> no" in row["messages"][-3]["content"]


def test_so_many_responses_of_a_prompt_are_repaired_as_the_recipe_says() -> None:
    assert [len(repaired_responses([judged(FAILING)], per_prompt=number, seed=1)) for number in (0, 1, 2, 3)] == [
        0,
        1,
        2,
        2,
    ]


def test_what_code_did_not_decide_or_is_poor_is_not_repaired() -> None:
    in_words = ItemResult("be kind", "model", False, "rude", yes=0, no=3)
    poor = "Tea, tea, tea."
    assert not repaired_responses([judged(FAILING, items=(in_words,)), judged([poor])], per_prompt=2, seed=1)
