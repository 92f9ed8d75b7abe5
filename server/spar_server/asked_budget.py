"""How much refinement a request asks for, and where it says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from spar_core.errors import RequestError
from spar_server.errors import ApiError
from spar_server.schemas import ChatRequest
from spar_server.settings import RefineDefaults

BUDGET_HEADER: Final = b"x-refine-budget"
_EFFORTS: Final[Mapping[str, int]] = {"none": 0, "minimal": 0, "low": 2, "medium": 6, "high": 15, "xhigh": 15}


@dataclass(frozen=True, slots=True)
class AskedBudget:
    """`nodes` is the most nodes to expand.

    `named` says that the client named the number itself; an effort or a default is a wish of the deployment, which
    gives way where a refined answer cannot be had.
    """

    nodes: int
    named: bool


def asked_budget(request: ChatRequest, header: str | None, *, model: str, defaults: RefineDefaults) -> AskedBudget:
    """Body, header, model suffix, reasoning effort, the server's default: the first that is there.

    `header` is the value of X-Refine-Budget; `model` is the name under which the pair is served.

    Raises:
        ApiError: the model is unknown.
        RequestError: the budget is no number, or over the server's limit; names where it stands.
    """
    suffix = _suffix(request.model, model)
    if request.refine_budget is not None:
        source, budget = "refine_budget", request.refine_budget
    elif header is not None:
        source, budget = "X-Refine-Budget", _number(header, "X-Refine-Budget")
    elif suffix is not None:
        source, budget = "model", _number(suffix, "model")
    elif request.reasoning_effort is not None and defaults.effort_budgets:
        return AskedBudget(min(_EFFORTS[request.reasoning_effort], defaults.max_refine_budget), named=False)
    else:
        return AskedBudget(min(defaults.refine_budget, defaults.max_refine_budget), named=False)
    return AskedBudget(_allowed(budget, source, defaults), named=True)


def named_budget(asked: str, *, model: str, defaults: RefineDefaults) -> int:
    """The budget that a model's name alone asks for. Raises as `asked_budget` does."""
    suffix = _suffix(asked, model)
    return 0 if suffix is None else _allowed(_number(suffix, "model"), "model", defaults)


def _allowed(budget: int, source: str, defaults: RefineDefaults) -> int:
    if budget > defaults.max_refine_budget:
        raise RequestError(f"{source}: {budget} is over the limit of {defaults.max_refine_budget}", param=source)
    return budget


def _suffix(asked: str, model: str) -> str | None:
    """N of `model@N`, None where there is none. A name that holds an @ of its own stays a name."""
    if asked == model:
        return None
    name, at, suffix = asked.rpartition("@")
    if at and name == model:
        return suffix
    raise ApiError(
        404,
        f"the model {asked[:80]!r} does not exist; this server has {model!r} (and {model}@N for a budget of N)",
        param="model",
        code="model_not_found",
    )


def _number(text: str, source: str) -> int:
    digits = text.strip()
    # More digits than any budget has: int() of a long string takes time.
    if not digits.isascii() or not digits.isdigit() or len(digits) > 9:
        raise RequestError(
            f"{source}: the budget must be a whole number of at least 0, not {text[:40]!r}", param=source
        )
    return int(digits)
