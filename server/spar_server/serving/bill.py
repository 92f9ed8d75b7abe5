"""Response headers that say what an answer took: `x-spar-nodes`, `x-spar-latency-ms` and so on.

Only requests that may use several model calls have them; an answer that is passed through has only its trace id. A
figure that is not known is left out.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

from starlette.requests import Request

from spar_core.errors import BackendError
from spar_core.types import Usage
from spar_server.errors import api_error
from spar_server.http.headers import add_error_headers
from spar_server.serving.plan import Outcome, Plan
from spar_server.serving.usage import generated_usage, token_counts

TRACE_ID_HEADER: Final = "x-spar-trace-id"
BILL_HEADERS: Final = (
    *(f"x-spar-{name}" for name in ("algorithm", "nodes", "depth", "stop-reason", "latency-ms")),
    *("x-spar-prompt-tokens", "x-spar-completion-tokens", TRACE_ID_HEADER),
)


def head_headers(plan: Plan) -> dict[str, str]:
    """What is known before the first token, which is all that a stream's head can say."""
    headers = {TRACE_ID_HEADER: plan.trace_id}
    if plan.refines(plan.config.budget):
        headers["x-spar-algorithm"] = plan.config.algorithm
    return headers


def answer_headers(outcome: Outcome, started: float) -> dict[str, str]:
    """The headers of a complete answer; `started` is when its request came, by `time.monotonic`."""
    plan, answers = outcome.plan, outcome.answers
    if not plan.refines(outcome.budget):
        return {TRACE_ID_HEADER: plan.trace_id}
    prompt = answers.results[0].draft.usage
    return {
        **head_headers(plan),
        **_search_headers(answers.expanded, answers.nodes[0].depth, answers.stop_reason),
        **spent_headers(started, prompt, generated_usage(answers)),
    }


def spent_headers(started: float, prompt: Usage, generated: Usage) -> dict[str, str]:
    """The time and the tokens of a request: the prompt of one usage, and the output of another."""
    counts = token_counts(prompt, generated)
    known = {name: counts[f"{name}_tokens"] for name in ("prompt", "completion")}
    return {
        **_latency_header(started),
        **{f"x-spar-{name}-tokens": str(count) for name, count in known.items() if count is not None},
    }


def bill_failure(error: BackendError, plan: Plan, request: Request, budget: int, started: float) -> None:
    """Add the headers to the error response of a search that failed.

    A search fails only without a draft, so no node was expanded, and no call has reported its tokens.
    """
    if plan.refines(budget):
        reason = "deadline" if api_error(error).status == 504 else "upstream"
        bill = {**head_headers(plan), **_search_headers(0, 0, reason), **_latency_header(started)}
        add_error_headers(request.scope, bill)


def _search_headers(nodes: int, depth: int, stop_reason: str) -> Mapping[str, str]:
    return {"x-spar-nodes": str(nodes), "x-spar-depth": str(depth), "x-spar-stop-reason": stop_reason}


def _latency_header(started: float) -> Mapping[str, str]:
    return {"x-spar-latency-ms": str(round((time.monotonic() - started) * 1000))}
