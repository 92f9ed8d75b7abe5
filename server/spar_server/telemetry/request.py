"""One request as it is observed: the trace that it belongs to, its model calls, and what its search found."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from spar_core.backends.context import call_trace, continue_trace
from spar_core.judge import Judgement
from spar_core.search import SearchResult
from spar_core.search.events import Event
from spar_core.types import Message, ModelRole, Sampling
from spar_server.serving.plan import Outcome, Plan
from spar_server.telemetry import names
from spar_server.telemetry.call import MAX_TEXT, Call, input_messages, output_messages
from spar_server.telemetry.records import Row, line_of
from spar_server.telemetry.trace_context import TraceContext, new_span_id


class ObservedRequest:
    """A request from its arrival to its answer; also the `Recording` of its search. `keeps_texts` of what is said."""

    plan: Plan | None = None
    outcome: Outcome | None = None
    judgement: Judgement | None = None
    finished = 0
    end = 0
    key = ""
    request_id: str | None = None
    error: str | None = None
    _span: str | None = None

    def __init__(self, operation: str, context: TraceContext, keeps_texts: bool) -> None:
        self.operation = operation
        self.context = context
        self.keeps_texts = keeps_texts
        self.calls: list[Call] = []
        self.start = time.time_ns()

    @property
    def span(self) -> str:
        """The id of the request's own span, which not every request has."""
        if self._span is None:
            self._span = new_span_id()
        return self._span

    def on_event(self, event: Event) -> None:
        """The calls and the outcome say everything that is sent."""

    def finish(self, outcome: Outcome) -> None:
        self.finished = time.time_ns()
        self.outcome = outcome

    def judged(self, plan: Plan, judgement: Judgement) -> None:
        """Note the judgement of a request that asks for no more."""
        self.plan, self.judgement = plan, judgement

    def close(self, *, key: str, request_id: str | None, error: str | None) -> None:
        """End the request."""
        self.end, self.key, self.request_id, self.error = time.time_ns(), key, request_id, error

    def line(self) -> bytes:
        """The request as it is sent, once it is closed."""
        return line_of(self._row())

    def _row(self) -> Row:
        """The values of its `RequestRecord`. Only a request with a single call and no search has no span of its own."""
        end = self.end
        plan, context, calls = self.plan, self.context, self.calls
        # Before the calls are written, because it notes what the search found about them.
        scores = [] if plan is None else self._scores(plan, end)
        return (
            self.operation if plan is None else names.INVOKE_WORKFLOW,
            context.trace_id,
            context.parent,
            context.sampled,
            None if plan is None and len(calls) <= 1 else self.span,
            self.start,
            end,
            # When the answer's first token could be sent: a search's answer is sent as a whole.
            self.finished or min([call.first_chunk for call in calls if call.first_chunk], default=0),
            self.key,
            self.request_id,
            self.error,
            {} if plan is None else self._found(plan),
            [call.row(end) for call in calls],
            scores,
        )

    def _found(self, plan: Plan) -> dict[str, Any]:
        """The attributes of a search or a judgement."""
        outcome = self.outcome
        found: dict[str, Any] = {
            names.SPAR_TRACE_ID: plan.trace_id,
            names.SPAR_ALGORITHM: plan.config.algorithm,
            names.SPAR_JUDGE: plan.judge_name,
        }
        if self.judgement is not None:
            found |= {names.SPAR_VALUE: self.judgement.value, names.SPAR_ACCEPTED: self.judgement.accepted}
        if outcome is not None:
            answers, first = outcome.answers, outcome.answers.nodes[0]
            found |= {
                names.SPAR_BUDGET: outcome.budget,
                names.SPAR_NODES: answers.expanded,
                names.SPAR_DEPTH: first.depth,
                names.SPAR_STOP_REASON: answers.stop_reason,
                names.SPAR_ACCEPTED: first.accepted,
                names.SPAR_IMPROVED: first.depth > 0,
                names.SPAR_DEGRADED: outcome.degraded,
                names.SPAR_VALUE: first.value,
                names.SPAR_DRAFT_VALUE: answers.draft_value,
            }
        if self.keeps_texts and plan.may_store:
            found[names.INPUT_MESSAGES] = input_messages(plan.conversation)
            found[names.INPUT_VALUE] = plan.conversation[-1].text[:MAX_TEXT]
            if outcome is not None:
                found[names.OUTPUT_MESSAGES] = output_messages(outcome.answers.completions)
                found[names.OUTPUT_VALUE] = outcome.answers.completions[0].text[:MAX_TEXT]
        return found

    def _scores(self, plan: Plan, end: int) -> list[Row]:
        """The verdicts, each on the call that wrote what was judged, and what they say about that call's node."""
        explains = self.keeps_texts and plan.may_store
        if self.judgement is not None:
            _note_votes(self.calls, self.judgement)
            return [_score(plan, self.span, end, self.judgement, explains=explains)]
        scores: list[Row] = []
        for choice, result in self._results():
            by_node: dict[tuple[int, ...], list[Call]] = {}
            for call in self.calls:
                if call.choice == choice:
                    by_node.setdefault(call.node, []).append(call)
            for node in result.tree:
                calls = by_node.get(node.path, ())
                wrote = next((call for call in calls if call.role != "judge"), None)
                if wrote is not None:
                    judged = node.judgement is not None
                    wrote.found = (node.outcome, *((node.value, node.accepted) if judged else (None, None)))
                # A duplicate shares the judgement of its original.
                if node.judgement is None or node.outcome == "duplicate":
                    continue
                votes = [call for call in calls if call.role == "judge"]
                _note_votes(votes, node.judgement)
                at = max((call.end for call in votes if call.end), default=end)
                span = self.span if wrote is None else wrote.span
                scores.append(_score(plan, span, at, node.judgement, explains=explains))
        return scores

    def _results(self) -> Iterator[tuple[int, SearchResult]]:
        """Each search with the number of its answer: one whose draft failed has no result."""
        if self.outcome is None:
            return
        choices = {id(each): call.choice for call in self.calls for each in call.completions}
        for number, result in enumerate(self.outcome.answers.results):
            yield choices.get(id(result.draft), number), result


def _note_votes(calls: Iterable[Call], judgement: Judgement) -> None:
    """Note on each call the verdicts that were read from it."""
    verdicts = {vote.text: vote.verdict for vote in judgement.votes if vote.error is None}
    for call in calls:
        read = [verdicts[each.text] for each in call.completions if each.text in verdicts]
        if read:
            call.votes = [_VOTES[verdict] for verdict in read]


_VOTES = {True: "yes", False: "no", None: "abstained"}


def _score(plan: Plan, span: str, at: int, judgement: Judgement, *, explains: bool) -> Row:
    """The values of the judgement's `ScoreRecord`."""
    label = "accepted" if judgement.accepted else "abstained" if judgement.abstained else "rejected"
    critique = judgement.critique if explains else None
    return span, at, f"spar.{plan.judge_name}", judgement.value, label, critique and critique[:MAX_TEXT]


def observed_request() -> ObservedRequest | None:
    """The request that this task works for."""
    request: ObservedRequest | None = call_trace().request
    return request


def begin_call(role: ModelRole, sampling: Sampling, messages: Sequence[Message] | None = None) -> Call | None:
    """Note that a call begins, and continue the trace in its headers; None outside of an observed request."""
    where = call_trace()
    request: ObservedRequest | None = where.request
    if request is None:
        return None
    span = new_span_id()
    call = Call(role, span, where.node, where.choice, sampling)
    if request.keeps_texts and not where.private:
        call.messages = messages
    request.calls.append(call)
    continue_trace(where, request.context.headers(span))
    return call
