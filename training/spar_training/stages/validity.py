"""Whether the output of a model is usable; errors that name the cause and the fix where none of it is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from spar_core.judge import Judgement
from spar_core.trace import read_judgement
from spar_training.storage.files import Row


def usable(answer: Row) -> str | None:
    """The text of a response; None if it is empty or cut off, which shows nothing of how the actor answers."""
    complete = answer["finish_reason"] == "stop" and answer["text"].strip()
    return str(answer["text"]) if complete else None


def unusable_answers_error(rows: Sequence[Row], *, max_tokens: int | None) -> str | None:
    """The error where none of the actor's responses is usable; None otherwise."""
    answers = [answer for row in rows for answer in row["responses"]]
    if not answers or any(usable(answer) is not None for answer in answers):
        return None
    cut_off = sum(answer["finish_reason"] != "stop" for answer in answers)
    return (
        f"none of the actor's {len(answers):,} answers can be used: {cut_off:,} were cut off (sample.max_tokens is "
        f"{max_tokens}), {len(answers) - cut_off:,} are empty; raise sample.max_tokens, or check that the actor's "
        "server uses the model's chat template and end tokens"
    )


def unparseable_votes_error(rows: Sequence[Row], *, templates: str, max_tokens: int | None) -> str | None:
    """The error where none of the refiner's votes has a verdict; None otherwise."""
    votes = [vote for row in rows for data in row["judgements"] if data for vote in read_judgement(data).votes]
    if not votes or any(vote.verdict is not None for vote in votes):
        return None
    return (
        f"none of the refiner's {len(votes):,} votes has a verdict; the first ends in {votes[0].text[-80:]!r}. The "
        f"refiner must be trained to judge with the templates {templates!r}, and judge.max_tokens ({max_tokens}) must "
        "be large enough for a judgement"
    )


def few_verdicts_remark(judgements: Iterable[Judgement | None], *, templates: str) -> str | None:
    """Why a refiner that rarely gives a verdict yields no data; None if at least half of its votes have one."""
    votes = [vote for judgement in judgements if judgement is not None for vote in judgement.votes]
    missing = sum(vote.verdict is None for vote in votes)
    if 2 * missing <= len(votes):
        return None
    return (
        f"{missing:,} of {len(votes):,} votes have no verdict, so the refiner can hardly judge with the templates "
        f"{templates!r}; train it to judge first (spar train bootstrap --base, or spar train distill)"
    )
