"""A judge without a model, by checks made of plain functions."""

import pytest

from spar_core.backends.scripted import ScriptedBackend, always
from spar_core.checks import FunctionCheck
from spar_core.errors import ConfigError
from spar_core.judge import CheckJudge, Vote
from spar_core.search import SearchConfig, Searcher
from tests.support.searching import QUESTION


def too_long(response: str) -> str | None:
    return None if len(response) < 8 else f"{len(response)} characters"


SHORT = FunctionCheck("fewer than 8 characters", too_long)


async def test_a_response_that_passes_every_check_is_accepted() -> None:
    votes: list[Vote] = []
    judgement = await CheckJudge().judge(QUESTION, "rivers", checks=[SHORT], on_vote=votes.append)
    assert (judgement.accepted, judgement.value, len(votes)) == (True, 1.0, 1)


async def test_the_critique_of_a_rejected_response_quotes_the_functions_finding() -> None:
    judgement = await CheckJudge().judge(QUESTION, "many long rivers", checks=[SHORT])
    assert (judgement.accepted, judgement.value) == (False, 0.0)
    assert judgement.critique is not None
    assert "fewer than 8 characters" in judgement.critique
    assert "16 characters" in judgement.critique


async def test_a_judge_without_checks_is_refused() -> None:
    with pytest.raises(ConfigError, match="there are no checks"):
        await CheckJudge().judge(QUESTION, "rivers")


async def test_a_search_refines_until_the_function_is_satisfied() -> None:
    refiner = ScriptedBackend(always("[[start]]\nrivers\n[[end]]"))
    searcher = Searcher.from_backends(
        actor=ScriptedBackend(always("many long rivers")),
        refiner=refiner,
        judge=CheckJudge(),
        checks=[SHORT],
        config=SearchConfig(budget=2, branch=1),
    )
    result = await searcher.run(QUESTION)
    assert (result.answer.text, result.stop_reason, result.nodes) == ("rivers", "refined_accepted", 1)
    assert "judge" not in result.calls
    assert "16 characters" in refiner.calls[0][0][-2].text
