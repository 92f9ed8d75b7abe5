"""Judging: sample several judgements of a response and take the strict majority of those that have a verdict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from spar_core.backends.base import Backend
from spar_core.budget import Budget, TokensExhausted
from spar_core.checks.base import Check, Finding
from spar_core.checks.registry import verify, work_of
from spar_core.errors import BackendError
from spar_core.off_loop import unless_little, unless_short
from spar_core.prompts import Templates
from spar_core.seeds import derive_seed
from spar_core.types import Completion, Message, Sampling, Usage
from spar_core.verdict import VerdictReader


@dataclass(frozen=True, slots=True)
class Vote:
    """One sampled judgement. `verdict` is None when none could be read.

    `error` says why a call failed, and `status` with which HTTP status if there was one. Votes that were asked for in
    one request are counted by their engine as one: `usage` is with the first of them.
    """

    text: str
    verdict: bool | None
    usage: Usage = field(default_factory=Usage)
    error: str | None = None
    status: int | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """The votes on one response, and the findings of the checks, if there were any.

    A failed check settles the verdict as No without a vote. `critique` is what a refiner is shown:
    the first vote that agrees with the majority, or the report of the failed checks; None
    when the judgement abstained.
    """

    votes: tuple[Vote, ...]
    threshold: float = 0.5
    findings: tuple[Finding, ...] = ()
    report: str | None = None
    # How many votes say so; counted once, because a search asks for it again and again.
    yes: int = field(init=False, repr=False, compare=False)
    no: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        verdicts = [vote.verdict for vote in self.votes]
        object.__setattr__(self, "yes", verdicts.count(True))
        object.__setattr__(self, "no", verdicts.count(False))

    @property
    def value(self) -> float | None:
        """Yes / (Yes + No) over the readable votes; 0 when a check failed; None when it abstained."""
        if self.report is not None:
            return 0.0
        return self.yes / (self.yes + self.no) if self.yes + self.no else None

    @property
    def abstained(self) -> bool:
        return self.value is None

    @property
    def accepted(self) -> bool:
        return (value := self.value) is not None and value > self.threshold

    @property
    def failed(self) -> bool:
        """Whether votes were asked for and every call failed."""
        return bool(self.votes) and all(vote.error is not None for vote in self.votes)

    @property
    def keeps_form(self) -> bool | None:
        """Whether the response has the form that was asked for; None where none was."""
        forms = [finding.passed for finding in self.findings if finding.form]
        return all(forms) if forms else None

    @property
    def critique(self) -> str | None:
        if self.report is not None:
            return self.report
        return next((vote.text for vote in self.votes if vote.verdict is self.accepted), None)


def _vote(made: Completion | BackendError, reader: VerdictReader) -> Vote:
    if isinstance(made, BackendError):
        return Vote("", None, error=str(made), status=made.status)
    return Vote(made.text, reader.read(made.text, made.finish_reason), made.usage)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """Samples up to `votes` judgements.

    With `early_stop` the fewest votes that can decide are asked first and the others only if those left it open: at
    most two rounds, two fifths of the calls saved when five votes would agree.
    """

    backend: Backend
    templates: Templates
    votes: int = 5
    threshold: float = 0.5
    early_stop: bool = True
    sampling: Sampling = field(default_factory=lambda: Sampling(temperature=0.7, max_tokens=2048))

    async def judge(
        self,
        conversation: Sequence[Message],
        response: str,
        *,
        checks: Sequence[Check] = (),
        seed: int = 0,
        budget: Budget | None = None,
        on_vote: Callable[[Vote], None] | None = None,
    ) -> Judgement:
        """Judge `response` as the answer to `conversation`. A vote whose call fails is a missing vote."""
        findings = await unless_little(partial(verify, checks, response), work_of(checks, response))
        if not all(finding.passed for finding in findings):
            report = self.templates.failed_checks(checks, findings)
            return Judgement((), self.threshold, findings, report)
        account = budget or Budget()
        messages = await unless_short(partial(self.templates.judge, conversation, response))
        reader = await unless_short(lambda: VerdictReader.of(response, self.templates.mark(conversation, response)))
        votes: list[Vote] = []
        while len(votes) < self.votes and not (self.early_stop and self._decided(votes)):
            size = self._fewest() if self.early_stop and not votes else self.votes - len(votes)
            cast = await self._round(account, messages, reader, seed, range(len(votes), len(votes) + size))
            for vote in cast:
                votes.append(vote)
                if on_vote:
                    on_vote(vote)
            if len(cast) < size:
                break
        return Judgement(tuple(votes), self.threshold, findings)

    async def _round(
        self, budget: Budget, messages: Sequence[Message], reader: VerdictReader, seed: int, numbers: range
    ) -> list[Vote]:
        """The votes of one round in order; fewer when the token budget ran out."""
        samplings = [self.sampling.seeded(derive_seed(seed, "vote", number)) for number in numbers]
        try:
            made = await budget.complete_many("judge", self.backend, messages, samplings)
        except TokensExhausted:
            return []
        return [_vote(each, reader) for each in made]

    def _fewest(self) -> int:
        """The fewest votes that decide if they agree."""
        return next(n for n in range(1, self.votes + 1) if n / self.votes > self.threshold or n == self.votes)

    def _decided(self, votes: Sequence[Vote]) -> bool:
        """Whether the votes still to come cannot change the verdict."""
        yes = sum(vote.verdict is True for vote in votes)
        no = sum(vote.verdict is False for vote in votes)
        left = self.votes - len(votes)
        if yes + no == 0:
            return False
        return yes / (yes + no + left) > self.threshold or (yes + left) / (yes + no + left) <= self.threshold
