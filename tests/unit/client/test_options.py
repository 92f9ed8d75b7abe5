"""The typed parameters are those of the server."""

from __future__ import annotations

from spar_client import ChatOptions, Client, JudgeOptions, RefineOptions
from spar_server.api.judge import JudgeRequest
from spar_server.schemas import ChatRequest
from spar_server.schemas import RefineOptions as ServerOptions

OF_REQUESTS = {"model", "extra_body", "timeout"}


def test_every_option_of_a_search_is_typed() -> None:
    # A client's streams always have the events instead of the progress in words.
    assert set(RefineOptions.__annotations__) == set(ServerOptions.model_fields) - {"progress", "events"}


def test_every_option_of_a_judgement_is_typed() -> None:
    assert set(JudgeOptions.__annotations__) - OF_REQUESTS == set(JudgeRequest.model_fields) - {
        "model",
        "messages",
        "response",
    }


def test_every_parameter_of_a_chat_is_the_servers(client: Client) -> None:
    forwarded = {"tools", "tool_choice"}
    assert set(ChatOptions.__annotations__) - OF_REQUESTS - forwarded <= set(ChatRequest.model_fields)


def test_a_checklist_judges_item_by_item(client: Client) -> None:
    judgement = client.judge("Hi", "mine", judge="checklist", checks=[{"id": "punctuation:no_comma"}])
    assert judgement.checklist is not None
    assert [item.passed for item in judgement.checklist.items if item.decided_by == "code"] == [True]
    refine: RefineOptions = {"judge": "checklist", "trace": "full", "checks": [{"id": "punctuation:no_comma"}]}
    tree = client.chat("Hi", refine_budget=1, refine=refine).tree
    assert tree is not None
    assert tree.draft.judgement is not None
    assert tree.draft.judgement.checklist is not None
    assert tree.draft.judgement.accepted == all(item.passed for item in tree.draft.judgement.checklist.items)
