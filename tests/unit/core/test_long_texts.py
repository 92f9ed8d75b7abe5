"""Long and odd model output is read without blocking the event loop, in memory proportional to its length."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from spar_core.backends.context import bind_calls
from spar_core.backends.scripted import ScriptedBackend, always
from spar_core.judge import Judge
from spar_core.off_loop import SHORT
from spar_core.plain_letters import plain_letters
from spar_core.prompts import load_templates
from spar_core.refiner import Refiner
from spar_core.types import Message
from spar_core.unicode import normalized
from spar_core.verdict import parse_verdict

ASKED = [Message("user", "Tell me about the river.")]
LONG = "river" * (SHORT // 4)


def off_loop_sizes() -> list[int]:
    """The sizes of the work that runs off the loop from now on, in the test that calls this.

    Not a fixture, whose context would be that of all later tests.
    """
    sizes: list[int] = []

    async def do(work: Callable[[], Any], size: int) -> Any:
        sizes.append(size)
        return work()

    bind_calls(off_loop=do)
    return sizes


def judge(says: str) -> Judge:
    return Judge(backend=ScriptedBackend(always(says)), templates=load_templates("compact"), votes=1)


async def test_a_long_draft_is_judged_off_the_loop() -> None:
    elsewhere = off_loop_sizes()
    assert (await judge("Final Judgement: Yes").judge(ASKED, LONG)).accepted
    assert elsewhere
    assert min(elsewhere) >= len(LONG)


async def test_a_long_judgement_is_read_off_the_loop() -> None:
    elsewhere = off_loop_sizes()
    assert (await judge(f"{LONG}\nFinal Judgement: Yes").judge(ASKED, "A river.")).accepted
    assert len(elsewhere) == 1


async def test_a_long_refinement_is_read_off_the_loop() -> None:
    elsewhere = off_loop_sizes()
    refiner = Refiner(
        backend=ScriptedBackend(always(f"[[start]]\n{LONG}\n[[end]]")), templates=load_templates("compact")
    )
    assert (await refiner.refine(ASKED, "A river.", "Too short.")).text == LONG
    assert len(elsewhere) == 1


async def test_short_texts_are_read_on_the_loop() -> None:
    elsewhere = off_loop_sizes()
    await judge("Final Judgement: Yes").judge(ASKED, "A river.")
    assert elsewhere == []


@pytest.mark.parametrize("form", ["NFKC", "NFKD"])
def test_a_normal_form_is_not_many_times_longer(form: Any) -> None:
    for character in ("\ufdfa", "\ufdfb"):
        assert normalized(character * 1000 + "x", form) == "x"
    assert normalized("\uff39\uff45\uff53" * 20_000, form) == "Yes" * 20_000


def test_entities_are_replaced_anywhere_in_a_long_text() -> None:
    for length in range(64 * 1024 - 8, 64 * 1024 + 2):
        assert plain_letters("." * length + "&#89;&#101;&#115;") == "yes"


def test_a_verdict_line_may_be_long_after_its_verdict() -> None:
    reasons = ", because the river runs east" * 1000
    assert parse_verdict(f"Final Judgement: Yes{reasons}") is True
    assert parse_verdict(f"Final Judgement: No{reasons}") is False


def test_a_verdict_after_a_very_long_sentence_does_not_count() -> None:
    assert parse_verdict(f"Final Judgement: {'after all, ' * 1000}Yes") is None
    assert parse_verdict(f"Final Judgement: all is met, Yes{', and' * 1000}{' but' * 1000} no") is None
