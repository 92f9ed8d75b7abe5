"""Judging: sample several votes on a response and take the strict majority of those that have a verdict."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final, Literal, Protocol

from spar_core.backends.base import Backend
from spar_core.budget import Budget, TokensExhausted
from spar_core.checks.base import Check, Finding
from spar_core.checks.registry import verify, work_of
from spar_core.errors import BackendError, ConfigError
from spar_core.frozen import frozen
from spar_core.off_loop import unless_little, unless_short
from spar_core.prompts import Templates, load_templates
from spar_core.seeds import derive_seed
from spar_core.types import Completion, Message, Sampling, Usage
from spar_core.verdict import VerdictReader
from spar_core.voting import Electorate

# The judges that a server offers: votes on the whole response, or on each item of a checklist.
JudgeName = Literal["holistic", "checklist"]

# The constrained form of a verdict, with room for white space around it.
_VERDICTS: Final = {'"Yes"': True, '"No"': False}
_VERDICT_ALONE: Final = Sampling(
    temperature=0.7,
    max_tokens=16,
    extra={
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "verdict", "schema": {"enum": ["Yes", "No"]}},
        }
    },
)


@frozen
class Vote:
    """One sampled judgement. `verdict` is None if it could not be parsed.

    `error` says why a call failed, and `status` is its HTTP status if there was one. Engines count the votes of one
    request together: `usage` is with the first of them.
    """

    text: str
    verdict: bool | None
    usage: Usage = field(default_factory=Usage)
    error: str | None = None
    status: int | None = None


@frozen
class Judgement:
    """The votes on one response, and the findings of the checks, if any.

    A failed check makes the verdict No without a vote. `critique` is what a refiner is shown: the first vote that
    agrees with the majority, or the report of the failed checks; None if the judgement abstained.
    """

    votes: tuple[Vote, ...]
    threshold: float = 0.5
    findings: tuple[Finding, ...] = ()
    report: str | None = None
    # Counted once, because a search reads them many times.
    yes: int = field(init=False, repr=False, compare=False)
    no: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        verdicts = [vote.verdict for vote in self.votes]
        object.__setattr__(self, "yes", verdicts.count(True))
        object.__setattr__(self, "no", verdicts.count(False))

    @property
    def value(self) -> float | None:
        """Yes / (Yes + No) over the votes with a verdict; 0 if a check failed; None if there is no verdict."""
        if self.report is not None:
            return 0.0
        return self.yes / total if (total := self.yes + self.no) else None

    @property
    def abstained(self) -> bool:
        return self.value is None

    @property
    def accepted(self) -> bool:
        return (value := self.value) is not None and value > self.threshold

    @property
    def failed(self) -> bool:
        """Whether there were votes and every call failed."""
        return bool(self.votes) and all(vote.error is not None for vote in self.votes)

    @property
    def tally(self) -> str:
        """What decided, in a few words: `3 yes, 2 no`."""
        return f"{self.yes} yes, {self.no} no" if self.votes else "a check failed"

    @property
    def keeps_format(self) -> bool | None:
        """Whether the response has the requested format; None if no format was requested."""
        formats = [finding.passed for finding in self.findings if finding.form]
        return all(formats) if formats else None

    @property
    def critique(self) -> str | None:
        if self.report is not None:
            return self.report
        return next((vote.text for vote in self.votes if vote.verdict is self.accepted), None)


class ResponseJudge(Protocol):
    """What a search needs of a judge.

    `Judge` samples votes of a model on the whole response, `ChecklistJudge` decides item by item, and `CheckJudge`
    relies on the checks alone.
    """

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
        """Judge `response` as the answer to `conversation`; model calls are made through `budget`."""
        ...


def _read_vote(completion: Completion | BackendError, reader: VerdictReader) -> Vote:
    if isinstance(completion, BackendError):
        return Vote("", None, error=str(completion), status=completion.status)
    return Vote(completion.text, reader.read(completion.text, completion.finish_reason), completion.usage)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """A judge that samples up to `votes` votes of a model.

        judge = Judge(backend=backend, templates=load_templates("default"))
        judgement = await judge.judge([Message("user", "Name a river.")], "The Nile.")
        judgement.accepted, judgement.value, judgement.critique

    With `early_stop` votes that cannot change the verdict are not sampled (`Electorate`).

    With `ask_verdict`, a judgement that ended without a readable verdict is continued by one more call: the backend,
    which must be `constrains`, then answers nothing but Yes or No. It is not asked where the response itself claims a
    verdict, because a judge that it has convinced would repeat it.
    """

    backend: Backend
    templates: Templates
    votes: int = 5
    threshold: float = 0.5
    early_stop: bool = True
    sampling: Sampling = field(default_factory=lambda: Sampling(temperature=0.7, max_tokens=2048))
    ask_verdict: bool = False

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
        """Judge `response` as the answer to `conversation`. A vote whose call fails has no verdict."""
        findings = await unless_little(partial(verify, checks, response), work_of(checks, response))
        if not all(finding.passed for finding in findings):
            report = self.templates.failed_checks(checks, findings)
            return Judgement((), self.threshold, findings, report)
        budget = budget or Budget()
        messages = await unless_short(partial(self.templates.judge, conversation, response), len(response))
        reader = await unless_short(
            lambda: VerdictReader.of(response, self.templates.mark(conversation, response)), len(response)
        )
        electorate = Electorate(self.votes, self.threshold, self.early_stop)

        def decided(votes: Sequence[Vote]) -> bool:
            verdicts = [vote.verdict for vote in votes]
            return electorate.decided(verdicts.count(True), verdicts.count(False), len(votes))

        votes = await electorate.poll(partial(self._round, budget, messages, reader, seed), decided, on_vote)
        return Judgement(votes, self.threshold, findings)

    async def _round(
        self, budget: Budget, messages: Sequence[Message], reader: VerdictReader, seed: int, numbers: range
    ) -> list[Vote]:
        """The votes of one round, in order; fewer if the token budget ran out."""
        samplings = [self.sampling.seeded(derive_seed(seed, "vote", number)) for number in numbers]
        try:
            completions = await budget.complete_many("judge", self.backend, messages, samplings)
        except TokensExhausted:
            return []
        length = sum(len(each.text) for each in completions if isinstance(each, Completion))
        votes = await unless_short(lambda: [_read_vote(each, reader) for each in completions], length)
        if not self.ask_verdict or reader.claimed:
            return votes
        open_votes = [
            index
            for index, each in enumerate(completions)
            if isinstance(each, Completion) and each.finish_reason == "stop" and votes[index].verdict is None
        ]
        async with asyncio.TaskGroup() as group:
            asked = {
                index: group.create_task(
                    self._with_verdict(
                        budget, messages, votes[index], derive_seed(seed, "verdict", numbers[index]), len(open_votes)
                    )
                )
                for index in open_votes
            }
        return [asked[index].result() if index in asked else vote for index, vote in enumerate(votes)]

    async def _with_verdict(
        self, budget: Budget, messages: Sequence[Message], vote: Vote, seed: int, shares: int
    ) -> Vote:
        """The vote with the verdict that its judge gives when asked for nothing else; unchanged if the call fails."""
        chat = await unless_short(partial(self.templates.ask_verdict, messages, vote.text), len(vote.text))
        try:
            completion = await budget.complete("judge", self.backend, chat, _VERDICT_ALONE.seeded(seed), shares=shares)
        except (BackendError, TokensExhausted):
            return vote
        usage, verdict = vote.usage + completion.usage, _VERDICTS.get(completion.text.strip())
        if verdict is None:
            return replace(vote, usage=usage)
        text = f"{vote.text.rstrip()}\nFinal Judgement: {'Yes' if verdict else 'No'}"
        return replace(vote, text=text, verdict=verdict, usage=usage)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckJudge:
    """A judge without a model: a response is accepted if it passes every check.

        searcher = Searcher.from_backends(actor=backend, refiner=backend, judge=CheckJudge(), checks=[check])

    The critique of a rejected response is the report of its failed checks.
    """

    templates: Templates = field(default_factory=lambda: load_templates("default"))

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
        """Run the checks on `response`.

        Raises:
            ConfigError: there are no checks, so nothing could ever be rejected.
        """
        if not checks:
            raise ConfigError("CheckJudge: there are no checks; give the searcher one, or a Judge with a model")
        findings = await unless_little(partial(verify, checks, response), work_of(checks, response))
        if not all(finding.passed for finding in findings):
            return Judgement((), findings=findings, report=self.templates.failed_checks(checks, findings))
        vote = Vote("Every check passed.", True)
        if on_vote:
            on_vote(vote)
        return Judgement((vote,), findings=findings)
