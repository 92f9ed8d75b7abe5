"""Judge a response by a checklist: code decides what can be verified, votes decide the rest, item by item."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any

from spar_core.backends.base import Backend
from spar_core.budget import Budget, TokensExhausted
from spar_core.checklist.extractors import Extractor, RuleExtractor
from spar_core.checklist.item_verdicts import ItemVerdict, read_items
from spar_core.checklist.items import Checklist, Dropped, Item, add_extracted, complete
from spar_core.checklist.judgement import ChecklistJudgement, DroppedResult, ItemResult, result_of
from spar_core.checklist.memory import Memory
from spar_core.checks import Check, Finding, verify
from spar_core.checks.registry import work_of
from spar_core.errors import BackendError
from spar_core.judge import Judge, Vote
from spar_core.off_loop import unless_little, unless_short
from spar_core.prompts import Templates, load_templates
from spar_core.seeds import derive_seed
from spar_core.types import Completion, Message, Sampling
from spar_core.voting import Electorate


@dataclass(frozen=True, slots=True)
class _Ballot:
    """One vote, and its verdicts by the numbers of the items that were put to it."""

    vote: Vote
    verdicts: Mapping[int, ItemVerdict]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChecklistJudge:
    """A judge that turns the conversation into a checklist once and decides each item on its own.

        judge = ChecklistJudge(backend=backend, extractors=[RuleExtractor(), ModelExtractor(backend=backend)])
        searcher = Searcher.from_backends(actor=backend, refiner=backend, judge=judge)

    The checks of the search and the `requirements` in words come first, then what the `extractors` find, in order.
    Code verifies the checks. A model votes on what is in words, up to `votes` times, with evidence and a verdict for
    each item; without such items no model is called. The first response of a search that is voted on also has the votes
    say whether the extracted checks are asked for: what all of them deny is dropped.

    If nothing at all is on the list, the response is judged as a whole by `Judge`, which `ask_verdict` is for.

    Of many searches that share a judge each has its own checklist.
    """

    backend: Backend
    templates: Templates = field(default_factory=lambda: load_templates("default"))
    extractors: Sequence[Extractor] = (RuleExtractor(),)
    requirements: Sequence[str] = ()
    votes: int = 5
    threshold: float = 0.5
    early_stop: bool = True
    sampling: Sampling = field(default_factory=lambda: Sampling(temperature=0.7, max_tokens=2048))
    ask_verdict: bool = False
    _memory: Memory = field(default_factory=Memory, init=False, repr=False, compare=False)

    @property
    def extra_calls(self) -> int:
        """The most model calls of a search beyond the votes on its responses."""
        extracting = sum(extractor.calls for extractor in self.extractors)
        # If a model's checks are all denied, the draft is voted on again.
        return extracting + self.votes if extracting else 0

    async def judge(
        self,
        conversation: Sequence[Message],
        response: str,
        *,
        checks: Sequence[Check] = (),
        seed: int = 0,
        budget: Budget | None = None,
        on_vote: Callable[[Vote], None] | None = None,
    ) -> ChecklistJudgement:
        """Judge `response` as the answer to `conversation`. A vote whose call fails has no verdict."""
        budget = budget or Budget()
        checklist = (await self.checklist(conversation, checks, budget=budget)).without(self._memory.dropped_by(budget))
        as_a_whole = partial(self._as_a_whole, conversation, response, seed=seed, budget=budget, on_vote=on_vote)
        if checklist.is_everything:
            return await as_a_whole(checklist)
        findings = await self._verify(checklist, response)
        ballots: tuple[_Ballot, ...] = ()
        # A response without the requested format is unusable, whatever the votes.
        if not any(finding.form and not finding.passed for finding in findings):
            poll = partial(self._poll, conversation, response, seed=seed, budget=budget, on_vote=on_vote or _ignore)
            words, asked = checklist.in_words, self._to_confirm(checklist, budget)
            if words or asked:
                ballots = await poll([*(item.requirement for item in words), *map(self._confirmation, asked)])
            if dropped := self._denied(asked, ballots, first=len(words) + 1):
                self._memory.drop(budget, dropped)
                checklist = checklist.without(dropped)
                if checklist.is_everything:
                    return await as_a_whole(checklist)
                findings = await self._verify(checklist, response)
        return self._judgement(checklist, findings, ballots, given=len(checks))

    async def _as_a_whole(
        self,
        conversation: Sequence[Message],
        response: str,
        checklist: Checklist,
        **options: Any,
    ) -> ChecklistJudgement:
        """The holistic judgement, as that of the only item on the list."""
        judge = Judge(
            backend=self.backend,
            templates=self.templates,
            votes=self.votes,
            threshold=self.threshold,
            early_stop=self.early_stop,
            sampling=self.sampling,
            ask_verdict=self.ask_verdict,
        )
        judgement = await judge.judge(conversation, response, **options)
        (item,) = checklist.items
        passed = None if judgement.abstained else judgement.accepted
        evidence = judgement.critique or "no vote on it can be read"
        return ChecklistJudgement(
            votes=judgement.votes,
            threshold=self.threshold,
            report=None if judgement.accepted else judgement.critique,
            items=(result_of(item, passed, evidence, yes=judgement.yes, no=judgement.no),),
            dropped=tuple(map(DroppedResult.of, checklist.dropped)),
            problem=checklist.problem,
        )

    async def checklist(
        self, conversation: Sequence[Message], checks: Sequence[Check] = (), *, budget: Budget | None = None
    ) -> Checklist:
        """The checklist of a conversation; the extractors run once for each."""
        key = (
            tuple((message.role, message.text) for message in conversation),
            tuple((check.id, check.requirement()) for check in checks),
        )
        return await self._memory.checklist(key, partial(self._make, conversation, checks, budget or Budget()))

    async def _make(self, conversation: Sequence[Message], checks: Sequence[Check], budget: Budget) -> Checklist:
        items = [Item.of(check, "request") for check in checks]
        items += [Item(" ".join(words.split()), "request") for words in self.requirements]
        dropped: list[Dropped] = []
        problem: str | None = None
        for extractor in self.extractors:
            extraction = await extractor.extract(conversation, items, budget=budget)
            items, contradicted = add_extracted(items, extraction.items)
            dropped += [*extraction.dropped, *contradicted]
            problem = problem or extraction.problem
        return complete(items, dropped, problem)

    async def _verify(self, checklist: Checklist, response: str) -> tuple[Finding, ...]:
        """The findings of the checks on the list, in its order."""
        checks = [item.check for item in checklist.items if item.check is not None]
        return await unless_little(partial(verify, checks, response), work_of(checks, response))

    def _to_confirm(self, checklist: Checklist, search: Budget) -> tuple[Item, ...]:
        """The extracted checks that this judgement's votes confirm.

        What the rules recognized is confirmed only if a model votes anyway.
        """
        extracted = checklist.extracted
        votes = bool(checklist.in_words) or any(item.source == "model" for item in extracted)
        return extracted if votes and extracted and self._memory.claims_confirmation(search) else ()

    def _confirmation(self, item: Item) -> str:
        return self.templates.is_asked(item.requirement)

    async def _poll(
        self,
        conversation: Sequence[Message],
        response: str,
        requirements: Sequence[str],
        *,
        seed: int,
        budget: Budget,
        on_vote: Callable[[Vote], None],
    ) -> tuple[_Ballot, ...]:
        """Votes on requirements in words, which are numbered from 1."""
        lines = [" ".join(each.split()) for each in requirements]
        messages = await unless_short(partial(self.templates.judge_items, conversation, response, lines), len(response))
        mark = await unless_short(partial(self.templates.item_mark, conversation, response), len(response))
        electorate = Electorate(self.votes, self.threshold, self.early_stop)

        def decided(ballots: Sequence[_Ballot]) -> bool:
            tallies = [_tally(number, ballots) for number in range(1, len(lines) + 1)]
            return all(electorate.decided(yes, no, len(ballots)) for yes, no in tallies)

        async def cast(numbers: range) -> list[_Ballot]:
            samplings = [self.sampling.seeded(derive_seed(seed, "vote", number)) for number in numbers]
            try:
                completions = await budget.complete_many("judge", self.backend, messages, samplings)
            except TokensExhausted:
                return []
            length = sum(len(each.text) for each in completions if isinstance(each, Completion))
            read = partial(_read_ballot, count=len(lines), mark=mark)
            return await unless_short(lambda: [read(each) for each in completions], length)

        return await electorate.poll(cast, decided, lambda ballot: on_vote(ballot.vote))

    def _denied(self, asked: Sequence[Item], ballots: Sequence[_Ballot], *, first: int) -> tuple[Dropped, ...]:
        """The checks that no vote confirms and most votes deny; the first of them has the number `first`."""
        dropped: list[Dropped] = []
        for number, item in enumerate(asked, start=first):
            yes, no = _tally(number, ballots)
            if not yes and 2 * no > len(ballots):
                evidence = _evidence(number, ballots, passed=False)
                dropped.append(Dropped(item, f"the votes on the draft deny that it is asked for: {evidence}"))
        return tuple(dropped)

    def _judgement(
        self, checklist: Checklist, findings: Sequence[Finding], ballots: Sequence[_Ballot], *, given: int
    ) -> ChecklistJudgement:
        """`given` is the number of checks that come from the request; they are first on the list."""
        verified, numbers = iter(findings), count(1)
        results = tuple(
            self._voted(item, next(numbers), ballots)
            if item.check is None
            else result_of(item, (finding := next(verified)).passed, finding.evidence)
            for item in checklist.items
        )
        failures = [
            (number, result.requirement, result.evidence)
            for number, result in enumerate(results, start=1)
            if result.passed is False
        ]
        return ChecklistJudgement(
            votes=tuple(ballot.vote for ballot in ballots),
            threshold=self.threshold,
            findings=tuple(findings[:given]),
            report=self.templates.failed_items(failures) if failures else None,
            items=results,
            dropped=tuple(map(DroppedResult.of, checklist.dropped)),
            problem=checklist.problem,
        )

    def _voted(self, item: Item, number: int, ballots: Sequence[_Ballot]) -> ItemResult:
        yes, no = _tally(number, ballots)
        if not yes + no:
            return result_of(item, None, "no vote on it can be read")
        passed = yes / (yes + no) > self.threshold
        return result_of(item, passed, _evidence(number, ballots, passed=passed), yes=yes, no=no)


def _ignore(vote: Vote) -> None:
    """The default listener."""


def _read_ballot(completion: Completion | BackendError, *, count: int, mark: str) -> _Ballot:
    if isinstance(completion, BackendError):
        return _Ballot(Vote("", None, error=str(completion), status=completion.status), {})
    verdicts = read_items(completion.text, count, mark=mark, finish_reason=completion.finish_reason)
    passed = [verdict.passed for verdict in verdicts.values()]
    verdict = False if not all(passed) else True if len(passed) == count else None
    return _Ballot(Vote(completion.text, verdict, completion.usage), verdicts)


def _tally(number: int, ballots: Sequence[_Ballot]) -> tuple[int, int]:
    """The numbers of Yes and No on an item."""
    passed = [ballot.verdicts[number].passed for ballot in ballots if number in ballot.verdicts]
    return passed.count(True), passed.count(False)


def _evidence(number: int, ballots: Sequence[_Ballot], *, passed: bool) -> str:
    """The evidence of the first vote with this verdict that gives any."""
    verdicts = [ballot.verdicts[number] for ballot in ballots if number in ballot.verdicts]
    given = (verdict.evidence for verdict in verdicts if verdict.passed is passed and verdict.evidence)
    return next(given, "no evidence given")
