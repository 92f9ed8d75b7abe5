"""Extractors: by rules, and by a model that answers with JSON or with lines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from spar_core.backends.scripted import Script, ScriptedBackend, always
from spar_core.budget import Budget
from spar_core.checklist import Extraction, Item, ModelExtractor, RuleExtractor
from spar_core.checks import CHECKS, build_check
from spar_core.errors import BackendRejected, BackendUnavailable
from spar_core.types import Message, Sampling

ASKED = [Message("user", "Write a limerick about cats for my aunt, in fewer than 40 words.")]
LINES = """Here is the list:
- a limerick | "Write a limerick"
2. suitable for an aunt | "for my aunt"
* fewer than 40 words | "in fewer than 40 words" | length_constraints:number_words """
LINES += '{"num_words": "40", "relation": "less than"}\n'


def row(requirement: str, quote: str, check: str = "", **kwargs: Any) -> dict[str, Any]:
    named = [{"name": name, "value": value} for name, value in kwargs.items()]
    return {"requirement": requirement, "quote": quote, "check": check, "kwargs": named}


def as_json(*rows: dict[str, Any]) -> str:
    return json.dumps({"items": rows})


WORDS = row(
    "few words", "in fewer than 40 words", "length_constraints:number_words", num_words=40, relation="less than"
)


async def extract(
    script: Script, known: Sequence[Item] = (), asked: Sequence[Message] = ASKED, **settings: Any
) -> tuple[Extraction, ScriptedBackend]:
    backend = ScriptedBackend(script)
    extractor = ModelExtractor(backend=backend, **settings)
    return await extractor.extract(asked, known, budget=Budget()), backend


def requirements(extraction: Extraction) -> list[str]:
    return [item.requirement for item in extraction.items]


async def test_rules_read_the_last_message_of_the_user() -> None:
    conversation = [
        Message("system", "Never use commas."),
        Message("user", "Answer in French."),
        Message("assistant", "Oui."),
        Message("user", "Write at least 3 sentences."),
    ]
    extraction = await RuleExtractor().extract(conversation, [], budget=Budget())
    assert requirements(extraction) == ["at least 3 sentences"]
    assert {item.source for item in extraction.items} == {"rules"}


@pytest.mark.parametrize(
    "reply", [LINES, as_json(row("a limerick", "a limerick"), row("suitable for an aunt", "for my aunt"), WORDS)]
)
async def test_a_model_may_answer_with_lines_or_json(reply: str) -> None:
    extraction, _ = await extract(always(reply))
    assert requirements(extraction) == ["a limerick", "suitable for an aunt", "fewer than 40 words"]
    assert extraction.items[2].check == build_check(
        "length_constraints:number_words", {"num_words": 40, "relation": "less than"}
    )
    assert extraction.dropped == ()


async def test_json_is_found_in_a_code_fence() -> None:
    extraction, _ = await extract(always(f"Sure!\n```json\n{as_json(WORDS)}\n```"))
    assert requirements(extraction) == ["fewer than 40 words"]


async def test_the_prompt_names_every_registered_check_and_what_is_known() -> None:
    known = [Item.of(build_check("punctuation:no_comma", {}), "rules")]
    _, backend = await extract(always(as_json()), known)
    prompt = backend.calls[0][0][0].text
    assert all(f"\n{id} {{" in prompt for id in CHECKS)
    assert "- no commas" in prompt


async def test_a_conversation_has_one_checklist_whatever_the_seed_of_its_search() -> None:
    _, backend = await extract(always(as_json()))
    sampling = backend.calls[0][1]
    assert (sampling.temperature, sampling.seed) == (0.0, 0)


async def test_an_engine_without_response_format_is_asked_for_lines_from_then_on() -> None:
    def script(messages: Sequence[Message], sampling: Sampling) -> str | BaseException:
        return BackendRejected("no response_format here", status=400) if sampling.extra else LINES

    backend = ScriptedBackend(script)
    extractor = ModelExtractor(backend=backend)
    assert extractor.calls == 2
    for _ in range(2):
        extraction = await extractor.extract(ASKED, [], budget=Budget())
        assert len(extraction.items) == 3
    assert [bool(sampling.extra) for _, sampling in backend.calls] == [True, False, False]
    assert extractor.calls == 1


async def test_what_quotes_no_words_of_the_conversation_is_dropped() -> None:
    extraction, _ = await extract(
        always(as_json(row("rhymes", "it must rhyme"), row("a limerick", "WRITE a  limerick!")))
    )
    assert requirements(extraction) == ["a limerick"]
    assert [(each.item.requirement, each.reason) for each in extraction.dropped] == [
        ("rhymes", "the words that it quotes are not in the conversation")
    ]


@pytest.mark.parametrize(
    ("check", "kwargs", "reason"),
    [
        ("length_constraints:number_wordz", {}, "did you mean 'length_constraints:number_words'"),
        ("length_constraints:number_words", {"num_words": 40}, "needs the kwarg 'relation'"),
        ("length_constraints:number_words", {"num_words": 40, "relation": "about"}, "relation must be"),
        ("punctuation:no_comma", {"number": 1}, "has no kwarg 'number'"),
    ],
)
async def test_a_check_that_the_registry_refuses_is_dropped_with_the_reason(
    check: str, kwargs: dict[str, Any], reason: str
) -> None:
    extraction, _ = await extract(always(as_json(row("short", "in fewer than 40 words", check, **kwargs))))
    assert extraction.items == ()
    assert reason in extraction.dropped[0].reason


async def test_words_that_say_what_a_known_check_verifies_are_not_listed_again() -> None:
    known = [Item.of(build_check("punctuation:no_comma", {}), "rules")]
    asked = [Message("user", "Write a poem. Do not use commas.")]
    reply = as_json(row("Do not use any commas.", "Do not use commas"), row("a poem", "a poem"))
    extraction, _ = await extract(always(reply), known, asked)
    assert requirements(extraction) == ["a poem"]


@pytest.mark.parametrize(
    "reply",
    [
        "I cannot do that.",
        "",
        "{",
        '{"items": 3}',
        "[[[[",
        '{"items": [1, null, {"requirement": 2}]}',
        "| | |",
        "a | b | c {",
    ],
)
async def test_a_reply_that_cannot_be_read_lists_nothing(reply: str) -> None:
    extraction, _ = await extract(always(reply))
    assert extraction.items == ()


async def test_the_number_of_items_and_their_length_are_bounded() -> None:
    rows = [row(f"{number} {'very ' * 100}", "a limerick") for number in range(40)]
    extraction, _ = await extract(always(as_json(*rows)), sampling=Sampling())
    assert len(extraction.items) == 32
    assert max(map(len, requirements(extraction))) <= 300


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        (lambda m, s: BackendUnavailable("gone"), "the call for the checklist failed: gone"),
        (always("word " * 50), "the checklist was cut off; raise judge_max_tokens"),
    ],
)
async def test_a_failed_call_is_a_problem_and_not_an_error(script: Script, problem: str) -> None:
    extraction, _ = await extract(script, sampling=Sampling(max_tokens=20))
    assert extraction == Extraction(problem=problem)


async def test_without_tokens_there_is_no_call() -> None:
    backend = ScriptedBackend(always(LINES))
    extraction = await ModelExtractor(backend=backend).extract(ASKED, [], budget=Budget(tokens=4))
    assert extraction.problem == "max_search_tokens is used up"
    assert backend.calls == []
