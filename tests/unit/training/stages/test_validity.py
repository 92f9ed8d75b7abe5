"""Errors about model output that no training data can be made from."""

from __future__ import annotations

from spar_core.judge import Judgement, Vote
from spar_training.stages.validity import few_verdicts_remark


def judgements(*verdicts: bool | None) -> list[Judgement | None]:
    return [Judgement(tuple(Vote("", verdict) for verdict in verdicts)), None]


def test_a_refiner_that_rarely_gives_a_verdict_is_blamed_with_its_counts() -> None:
    remark = few_verdicts_remark(judgements(*[None] * 45, True, False, True), templates="default")
    assert remark is not None
    assert remark.startswith("45 of 48 votes have no verdict")
    assert "'default'" in remark
    assert "spar train bootstrap --base" in remark


def test_a_refiner_that_mostly_gives_verdicts_is_not_blamed() -> None:
    assert few_verdicts_remark(judgements(None, True, False), templates="default") is None
    assert few_verdicts_remark([], templates="default") is None
