"""The work of checks is bounded, and a long verification does not block the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from spar_core.backends.scripted import ScriptedBackend, always
from spar_core.checks import Finding, build_check, format_check, verify
from spar_core.judge import Judge
from spar_core.prompts import load_templates
from spar_core.types import Message

WORDS = [f"zq{number}" for number in range(1000)]
CHAT = [Message("user", "Tell me of the river.")]


@dataclass
class Slow:
    """A check that passes once the event loop has run."""

    ran: threading.Event = field(default_factory=threading.Event)
    id: str = "slow"
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    def requirement(self) -> str:
        return "patience"

    def work(self, response: str) -> int:
        return 100_000_000

    def find(self, response: str) -> Finding:
        return Finding(self.ran.wait(600), "waited")


def judge() -> Judge:
    return Judge(backend=ScriptedBackend(always("Final Judgement: Yes")), templates=load_templates("compact"))


async def test_a_long_verification_does_not_block_the_event_loop() -> None:
    check = Slow()
    task = asyncio.create_task(judge().judge(CHAT, "An answer.", checks=[check]))
    await asyncio.sleep(0.01)
    check.ran.set()
    assert (await task).findings == (Finding(True, "waited"),)


def test_a_check_that_would_take_too_long_fails_with_the_reason() -> None:
    many = build_check("keywords:existence", {"keywords": WORDS})
    comma = build_check("punctuation:no_comma", {})
    response = "The river runs east. " * 40_000
    found = verify([many, comma], response)
    assert not found[0].passed
    assert "too much work" in found[0].evidence
    # Checks within the limit are still verified.
    assert found[1].passed


def test_all_checks_of_a_request_share_the_time() -> None:
    check = build_check("keywords:forbidden_words", {"forbidden_words": WORDS[:100]})
    response = "The river runs east. " * 2000
    assert verify([check], response)[0].passed
    found = verify([check] * 32, response)
    assert found[0].passed
    assert not found[-1].passed


def test_a_response_of_over_a_million_characters_passes_no_check() -> None:
    check = build_check("punctuation:no_comma", {})
    assert verify([check], "x" * 1_000_000)[0].passed
    assert not verify([check], "x" * 1_000_001)[0].passed
    form = format_check({"type": "json_object"})
    assert form is not None
    assert verify([form], '{"a": "' + "x" * 1_000_000 + '"}')[0].form


def test_work_grows_with_the_response_and_with_the_words_to_find() -> None:
    few, many = (build_check("keywords:existence", {"keywords": WORDS[:count]}) for count in (10, 1000))
    assert many.work("x" * 10) == 100 * few.work("x" * 10) == 10 * many.work("x")


def test_json_with_too_many_lists_fails() -> None:
    check = build_check("detectable_format:json_format", {})
    assert verify([check], "[" + "[]," * 1000 + "1]")[0].passed
    assert not verify([check], "[" + "[]," * 200_000 + "1]")[0].passed
    form = format_check({"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "array"}}})
    assert form is not None
    assert verify([form], "[" + "[]," * 1000 + "1]")[0].passed
    assert not verify([form], "[" + "[]," * 200_000 + "1]")[0].passed
