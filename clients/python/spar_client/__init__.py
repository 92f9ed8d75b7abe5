"""Typed client for SPaR Server.

    from spar_client import Client

    with Client() as client:
        answer = client.chat("Tell me about the river without commas.", refine_budget=8)
        print(answer.text, answer.refinement.stop_reason)

`AsyncClient` has the same methods as coroutines. `with_refinement` in `spar_client.refined_openai` gives an `openai`
client a default budget and typed results. Importing this loads nothing: a name loads its module when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from spar_client.catalog import Algorithm as Algorithm
    from spar_client.catalog import CheckType as CheckType
    from spar_client.catalog import Model as Model
    from spar_client.client import AsyncClient as AsyncClient
    from spar_client.client import AsyncStream as AsyncStream
    from spar_client.client import Client as Client
    from spar_client.client import Stream as Stream
    from spar_client.completion import Completion as Completion
    from spar_client.completion import Refinement as Refinement
    from spar_client.completion import Usage as Usage
    from spar_client.errors import APIConnectionError as APIConnectionError
    from spar_client.errors import APIProtocolError as APIProtocolError
    from spar_client.errors import APIStatusError as APIStatusError
    from spar_client.errors import APITimeoutError as APITimeoutError
    from spar_client.errors import AuthenticationError as AuthenticationError
    from spar_client.errors import BadRequestError as BadRequestError
    from spar_client.errors import ClientError as ClientError
    from spar_client.errors import DeadlineError as DeadlineError
    from spar_client.errors import InternalServerError as InternalServerError
    from spar_client.errors import NotFoundError as NotFoundError
    from spar_client.errors import OverloadedError as OverloadedError
    from spar_client.errors import PermissionDeniedError as PermissionDeniedError
    from spar_client.errors import RateLimitError as RateLimitError
    from spar_client.errors import RequestTooLargeError as RequestTooLargeError
    from spar_client.errors import UpstreamError as UpstreamError
    from spar_client.events import AnswerEvent as AnswerEvent
    from spar_client.events import CallEvent as CallEvent
    from spar_client.events import DoneEvent as DoneEvent
    from spar_client.events import DraftEvent as DraftEvent
    from spar_client.events import FinishEvent as FinishEvent
    from spar_client.events import JudgementEvent as JudgementEvent
    from spar_client.events import NodeEvent as NodeEvent
    from spar_client.events import ReasoningEvent as ReasoningEvent
    from spar_client.events import RefinementEvent as RefinementEvent
    from spar_client.events import StreamEvent as StreamEvent
    from spar_client.events import VoteEvent as VoteEvent
    from spar_client.judgement import Judgement as Judgement
    from spar_client.judgement import Vote as Vote
    from spar_client.options import ChatOptions as ChatOptions
    from spar_client.options import Check as Check
    from spar_client.options import JudgeOptions as JudgeOptions
    from spar_client.options import RefineOptions as RefineOptions
    from spar_client.traces import Trace as Trace
    from spar_client.traces import TraceSummary as TraceSummary
    from spar_client.tree import SearchTree as SearchTree
    from spar_client.tree import TreeNode as TreeNode

_EXPORTS: Final = {
    "catalog": ("Algorithm", "CheckType", "Model"),
    "client": ("AsyncClient", "AsyncStream", "Client", "Stream"),
    "completion": ("Completion", "Refinement", "Usage"),
    "errors": (
        "APIConnectionError",
        "APIProtocolError",
        "APIStatusError",
        "APITimeoutError",
        "AuthenticationError",
        "BadRequestError",
        "ClientError",
        "DeadlineError",
        "InternalServerError",
        "NotFoundError",
        "OverloadedError",
        "PermissionDeniedError",
        "RateLimitError",
        "RequestTooLargeError",
        "UpstreamError",
    ),
    "events": (
        "AnswerEvent",
        "CallEvent",
        "DoneEvent",
        "DraftEvent",
        "FinishEvent",
        "JudgementEvent",
        "NodeEvent",
        "ReasoningEvent",
        "RefinementEvent",
        "StreamEvent",
        "VoteEvent",
    ),
    "judgement": ("Judgement", "Vote"),
    "options": ("ChatOptions", "Check", "JudgeOptions", "RefineOptions"),
    "traces": ("Trace", "TraceSummary"),
    "tree": ("SearchTree", "TreeNode"),
}
_MODULES: Final = {name: module for module, names in _EXPORTS.items() for name in names}
__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
