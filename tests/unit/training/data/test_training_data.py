"""Which judgements and searches become training rows."""

from __future__ import annotations

from spar_core.checklist import ChecklistJudgement, ItemResult
from spar_core.judge import Judgement, Vote
from spar_core.prompts import load_templates
from spar_core.search.tree import Node, Tree
from spar_core.types import Completion, Message, Usage
from spar_training.data.negatives import JudgedItem, choose_negatives
from spar_training.data.preference_pairs import capped, refined_pairs, sampled_pairs, similarity
from spar_training.data.prompts import PromptRecord
from spar_training.data.refiner_rows import Kind, refiner_conversations
from spar_training.data.search_results import Searched

PROMPT = PromptRecord("p", (Message("user", "Say hello twice."),))
TEMPLATES = load_templates("compact")
CAPS: dict[Kind, int] = {"refinement": 9, "tree_yes": 9, "tree_no": 9, "sample_no": 9, "sample_yes": 9}


def judgement(votes: str) -> Judgement:
    """One vote a letter: y, n, or ? for one without a verdict."""
    verdicts = {"y": True, "n": False, "?": None}
    return Judgement(tuple(Vote(f"{number}{letter}", verdicts[letter]) for number, letter in enumerate(votes)))


def node(path: tuple[int, ...], text: str, votes: str) -> Node:
    return Node(path, "judged", Completion(text, "stop", Usage()), judgement(votes))


def judged(**votes: str) -> JudgedItem:
    """Responses by their text, each with its votes."""
    return JudgedItem(PROMPT, tuple(votes), tuple(judgement(each) for each in votes.values()))


def searched(*nodes: Node) -> Searched:
    """A search from the response "hello"; its last node is the answer."""
    (negative,) = choose_negatives([judged(hello="nnyn?")], seed=0)
    tree = Tree(node((), "hello", "nnyn?"))
    for each in nodes:
        tree.add(each)
    best = nodes[-1]
    replies = {each.path: f"[[start]]\n{each.completion.text}\n[[end]]" for each in nodes if each.completion}
    return Searched(negative, tree, best.accepted, best.path, replies)


def test_a_tie_and_an_abstention_are_neither_yes_nor_no() -> None:
    item = judged(tied="yn", silent="??", bad="nny", good="yyn")
    assert [item.responses[place] for place in item.with_verdict(False)] == ["bad"]
    assert [item.responses[place] for place in item.with_verdict(True)] == ["good"]


def checklist(*passed: bool, votes: str = "") -> ChecklistJudgement:
    """A checklist that code decided, or votes if there are any."""
    items = tuple(ItemResult(f"item {number}", "rules", each, "seen") for number, each in enumerate(passed))
    return ChecklistJudgement(votes=judgement(votes).votes, items=items)


def test_a_checklist_counts_as_a_whole_whatever_decided_its_items() -> None:
    item = JudgedItem(
        PROMPT, ("good", "bad", "voted"), (checklist(True), checklist(True, False), checklist(False, votes="ny"))
    )
    assert (item.with_verdict(True), item.with_verdict(False)) == ([0], [1, 2])


def test_what_code_found_teaches_the_judge_of_both_verdicts() -> None:
    item = JudgedItem(PROMPT, ("good", "bad"), (checklist(True), checklist(True, False)))
    rows, _ = refiner_conversations([item], [], templates=TEMPLATES, caps=CAPS, seed=0)
    assert {row["kind"]: row["messages"][-1]["content"] for row in rows} == {
        "sample_yes": "1. item 0: seen -> yes\nFinal Judgement: Yes",
        "sample_no": "1. item 0: seen -> yes\n2. item 1: seen -> no\nFinal Judgement: No",
    }


def test_a_checklist_that_needed_votes_is_no_judgement_to_learn_from() -> None:
    item = JudgedItem(PROMPT, ("voted",), (checklist(False, votes="ny"),))
    assert refiner_conversations([item], [], templates=TEMPLATES, caps=CAPS, seed=0)[0] == []


def test_one_negative_per_prompt_is_drawn_by_the_seed_from_the_responses_judged_no() -> None:
    items = [judged(a="nnn", b="yyy", c="nny")]
    drawn = {choose_negatives(items, seed=seed)[0].response for seed in range(20)}
    assert drawn == {"a", "c"}
    assert choose_negatives(items, seed=3) == choose_negatives(items, seed=3)
    assert choose_negatives([judged(b="yyy")], seed=0) == []


def test_a_refined_pair_is_an_accepted_refinement_against_its_original_response() -> None:
    accepted = searched(node((0,), "hello you", "nnn"), node((0, 1), "hello hello", "yyy"))
    (pair,) = refined_pairs([accepted, searched(node((0,), "hello you", "nnn"))])
    assert (pair["chosen"][0]["content"], pair["rejected"][0]["content"]) == ("hello hello", "hello")
    assert pair["provenance"]["depth"] == 2


def test_a_sampled_pair_needs_both_verdicts() -> None:
    (pair,) = sampled_pairs([judged(good="yyy", bad="nnn"), judged(bad="nnn")], seed=0)
    assert (pair["chosen"][0]["content"], pair["rejected"][0]["content"]) == ("good", "bad")


def test_a_refinement_row_is_the_accepted_step_prompted_as_in_inference() -> None:
    search = searched(node((0,), "hello you", "nnn"), node((0, 1), "hello hello", "yyy"))
    rows, _ = refiner_conversations([], [search], templates=TEMPLATES, caps=CAPS, seed=0)
    (row,) = [row for row in rows if row["kind"] == "refinement"]
    asked = TEMPLATES.refine(PROMPT.conversation, "hello you", "0n")
    assert row["messages"][:-1] == [message.to_openai() for message in asked]
    assert row["messages"][-1]["content"] == "[[start]]\nhello hello\n[[end]]"
    assert row["source_text"] == "[[start]]\nhello you\n[[end]]"


def test_judgements_are_contested_ones_and_at_most_one_of_each_verdict_per_tree() -> None:
    search = searched(
        node((0,), "one", "nny"), node((1,), "two", "nyn"), node((2,), "three", "nnn"), node((1, 0), "four", "yyn")
    )
    rows, _ = refiner_conversations(
        [judged(sure="yyy", unsure="nyy", tied="yn")], [search], templates=TEMPLATES, caps=CAPS, seed=0
    )
    said = {row["kind"]: row["messages"][-1]["content"] for row in rows if row["kind"] != "refinement"}
    assert said == {"tree_no": "0n", "tree_yes": "0y", "sample_yes": "1y"}


def test_rows_over_a_cap_and_with_repeated_judge_prompts_are_left_out_and_counted() -> None:
    items = [judged(unsure="nyy", other="yny"), judged(unsure="nyy")]
    rows, left_out = refiner_conversations(items, [], templates=TEMPLATES, caps={**CAPS, "sample_yes": 1}, seed=0)
    assert len(rows) == 1
    assert sum(left_out.values()) == 2


def test_a_cap_preserves_the_order() -> None:
    rows = [{"id": str(number)} for number in range(9)]
    kept = capped(rows, 4, seed=1)
    assert len(kept) == 4
    assert kept == sorted(kept, key=lambda row: row["id"])
    assert capped(rows, None, seed=1) == rows


def test_similarity_is_the_share_of_words_in_common_and_in_order() -> None:
    assert similarity("a b c", "a b c") == 1.0
    assert similarity("a b c d", "a b x d") == 0.75
    assert similarity("a", "b") == 0.0
