"""What takes a prompt out, and what does not."""

from __future__ import annotations

import random

import pytest

from spar_training.prompt_evolution.filters.diversity import bleu, self_bleu, similar
from spar_training.prompt_evolution.filters.duplicates import duplicates, near_duplicates
from spar_training.prompt_evolution.filters.quality import (
    Bounds,
    Removal,
    bullets,
    echo,
    instruction_in,
    language,
    length,
)
from spar_training.prompt_evolution.shingles import words


def reasons(removals: list[Removal | None]) -> list[str | None]:
    return [removal and removal.reason for removal in removals]


def names(count: int) -> list[str]:
    return [f"p{number}" for number in range(count)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Name three rivers.", None),
        ("Why?", "too short"),
        ("Tell me.", "too short"),
        ("river " * 11, "too long"),
        ("r" * 101 + " and more words", "too long"),
        ("请写一首关于春天的诗歌", None),
    ],
)
def test_length(text: str, reason: str | None) -> None:
    removal = length(text, Bounds(min_characters=9, max_characters=100, min_words=3, max_words=10 + 2 * ("请" in text)))
    assert (removal and removal.reason) == reason


def test_language_takes_out_what_is_surely_in_another() -> None:
    assert language("Please write a short letter to the city council about the old bridge.", "en") is None
    other = language("Bitte schreibe einen kurzen Brief an den Stadtrat über die alte Brücke.", "en")
    assert other is not None
    assert (other.reason, other.detail.split()[0]) == ("other language", "de")
    assert language("Bitte schreibe einen kurzen Brief an den Stadtrat über die alte Brücke.", "de") is None
    assert language("1234 + 5678", "en") == Removal("no language")


def test_language_is_the_same_every_time() -> None:
    unsure = "give me JavaScript code to calculate pi"
    assert len({language(unsure, "en") for _ in range(20)}) == 1


def test_duplicates_differ_in_case_width_and_space_only() -> None:
    texts = ["Name a river.", "name  a\nRIVER.", "Name a river!", "Ｎａｍｅ a river."]
    assert duplicates(texts, names(4)) == [None, Removal("duplicate", "of p0"), None, Removal("duplicate", "of p0")]


def test_near_duplicates_share_most_of_their_words() -> None:
    story = "Write a short story about a lighthouse keeper who finds a letter in a bottle one winter morning"
    texts = [story, f"{story}, please", "Explain how a lighthouse works to a child", story.replace("winter", "summer")]
    assert reasons(near_duplicates(texts, names(4), least=0.8)) == [None, "near duplicate", None, None]
    assert reasons(near_duplicates(texts, names(4), least=0.6)) == [None, "near duplicate", None, "near duplicate"]


@pytest.mark.parametrize("least", [0.3, 0.5, 0.7, 0.9])
def test_near_duplicates_are_those_that_comparing_all_pairs_finds(least: float) -> None:
    rng = random.Random(5)
    vocabulary = [f"word{number}" for number in range(40)]
    base = [[rng.choice(vocabulary) for _ in range(rng.randint(1, 25))] for _ in range(60)]
    # Each again with a few words changed, so that pairs of every similarity occur.
    changed = [[rng.choice(vocabulary) if rng.random() < 0.1 else word for word in text] for text in base * 3]
    texts = [" ".join(text) for text in base + changed]

    kept: list[set[tuple[str, ...]]] = []
    expected = []
    for text in texts:
        said = words(text)
        size = min(3, len(said))
        grams = {tuple(said[start : start + size]) for start in range(len(said) - size + 1)}
        near = any(len(grams & other) / len(grams | other) >= least for other in kept)
        expected.append(near)
        if not near:
            kept.append(grams)
    assert [removal is not None for removal in near_duplicates(texts, names(len(texts)), least=least)] == expected


def test_bleu_of_equal_unrelated_and_partly_equal_texts() -> None:
    text = "Write a letter to the mayor about the bridge"
    assert bleu(text, text) == pytest.approx(1.0)
    assert bleu(text, "unrelated things entirely") == 0.0
    # 8 of 9 words, 6 of 8 pairs, 4 of 7 triples, 3 of 6 fours; add one above unigrams; equal lengths.
    partly = bleu("Write a letter to the queen about the bridge", text)
    assert partly == pytest.approx((8 / 9 * 7 / 9 * 5 / 8 * 3 / 7) ** 0.25)


def test_prompts_too_similar_to_a_kept_one_are_taken_out_in_order() -> None:
    texts = [
        "How many atoms are in a grain of salt? Try to explain your answer, taking the reader through it step by step.",
        "How many songs are in a year of radio? Try to explain your answer, taking the reader through it step by step.",
        "Plan a walk through the old town for a rainy afternoon.",
    ]
    removals = similar(texts, names(3), most=0.5)
    assert reasons(removals) == [None, "too similar", None]
    assert removals[1] is not None
    assert removals[1].detail.startswith("to p0, BLEU 0.")


def test_self_bleu_is_lower_for_more_diverse_texts() -> None:
    alike = [f"Write a short poem about the {thing} in the park." for thing in ("tree", "bench", "pond", "path")]
    diverse = [*alike[:1], "Explain tides to a child.", "Plan a dinner for six.", "Why did the bridge fall?"]
    assert self_bleu(diverse) < 0.3 < self_bleu(alike)
    assert self_bleu([]) == 0.0


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        ("<new_instruction>\nName two rivers in capitals.\n</new_instruction>", "Name two rivers in capitals."),
        ("Sure!\n<new_instruction>Name two.</new_instruction>\nAnything else?", "Name two."),
        ("I would use <new_instruction> so:\n<new_instruction>Name two.</new_instruction>", "Name two."),
        ("<new_instruction>None</new_instruction>", Removal("none")),
        ("<new_instruction>\n**None.**\n</new_instruction>", Removal("none")),
        ("None", Removal("none")),
        ('"None."', Removal("none")),
        ("", Removal("empty")),
        ("<new_instruction> </new_instruction>", Removal("empty")),
        ("I'm sorry, but I can't help with that.", Removal("refusal")),
        ("<new_instruction>I cannot assist with this request.</new_instruction>", Removal("refusal")),
        ("As an AI language model, I have no river.", Removal("refusal")),
        ("Here is it: Name two rivers in capitals.", Removal("unmarked")),
        ("<new_instruction>Name two rivers", Removal("unmarked")),
        (
            "<new_instruction>Name two. <instruction>x</instruction></new_instruction>",
            Removal("marks left", "<instruction>"),
        ),
        (
            "<new_instruction>None of the rivers may be in Asia; name two.</new_instruction>",
            "None of the rivers may be in Asia; name two.",
        ),
        (
            "<new_instruction>My son says I cannot write. Prove me right.</new_instruction>",
            "My son says I cannot write. Prove me right.",
        ),
        ("Unfortunately, I am unable to fulfill this request.", Removal("refusal")),
        (
            "<new_instruction>I'm afraid of flying and unable to sleep. Help me.</new_instruction>",
            "I'm afraid of flying and unable to sleep. Help me.",
        ),
    ],
)
def test_the_instruction_in_a_reply(reply: str, outcome: str | Removal) -> None:
    assert instruction_in(reply, "stop") == outcome


def test_a_truncated_reply_is_distinguished_from_one_without_tags() -> None:
    assert instruction_in("<new_instruction>Name two", "length") == Removal("cut off")
    assert instruction_in("<new_instruction>Name two.</new_instruction> And", "length") == "Name two."


def test_an_echo_of_the_seed_is_no_new_instruction() -> None:
    seed = "Name a river, and say where it rises."
    assert echo("name a river and say where it rises", seed) == Removal("echo")
    assert echo("Name a river.", seed) == Removal("echo")
    assert echo(f"{seed} Use no commas.", seed) is None


def test_constraints_in_a_list_are_taken_out_unless_the_seed_has_the_list() -> None:
    seed = "Sort these:\n- plum\n- apple\n- pear"
    assert bullets(f"{seed}\nWrite them in capitals.", seed) is None
    assert bullets(f"{seed}\n\n1. In capitals.\n2) No commas.", seed) == Removal("list of constraints", "2 items")
    assert bullets("Name rivers:\n* in capitals\n* in Asia", "Name rivers.") == Removal(
        "list of constraints", "2 items"
    )
