"""`Client` and `AsyncClient`: chat, judge, refine, models, and where the server is found."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import httpx
import pytest

from spar_client import AsyncClient, AuthenticationError, Client
from spar_server.auth.keyring import sha256_of
from spar_server.settings import ApiKey, Settings
from tests.clients.obedient import WEATHER
from tests.support.pairs import scripted_pair


def test_a_question_is_answered_by_the_servers_first_model(client: Client) -> None:
    answer = client.chat("Hi there")
    assert (answer.text, answer.model) == ("a plain draft", "pair")
    assert answer.refinement.stop_reason == "pass_through"


def test_a_budget_refines_the_answer_and_says_what_it_cost(client: Client) -> None:
    answer = client.chat("Hi there", refine_budget=8)
    assert answer.text == "better answer"
    assert (answer.refinement.budget, answer.refinement.improved) == (8, True)
    assert answer.refinement.calls["actor"] == 1
    assert answer.refinement.tokens["actor"].completion == 3
    assert answer.usage is not None
    assert answer.usage.completion_tokens_details is not None
    assert answer.usage.completion_tokens_details.reasoning_tokens > 0  # type: ignore[operator]


def test_a_trace_is_a_tree(client: Client) -> None:
    answer = client.chat("Hi", refine_budget=2, refine={"trace": "full", "algorithm": "iterative"})
    tree = answer.tree
    assert tree is not None
    assert (tree.draft.text, tree.best.text) == ("a plain draft", "better answer")
    assert tree.children(()) == [tree.best]
    assert tree.draft.judgement is not None
    assert not tree.draft.judgement.accepted
    assert "Final Judgement: No" in (tree.draft.judgement.critique or "")
    assert tree.best.judgement is not None
    assert tree.best.judgement.accepted


def test_a_summary_has_the_tree_without_its_texts(client: Client) -> None:
    tree = client.chat("Hi", refine_budget=2, refine={"trace": "summary"}).tree
    assert tree is not None
    assert tree.draft.text is None


def test_n_answers_share_a_budget(client: Client) -> None:
    answer = client.chat("Hi", n=2, refine_budget=4)
    assert (len(answer.choices), answer.text) == (2, "better answer")
    assert len(answer.refinement.stop_reasons) == 2


def test_a_conversation_and_its_tools_are_passed_on(client: Client) -> None:
    called = client.chat([{"role": "user", "content": "weather in Paris?"}], tools=[WEATHER])
    assert called.text == ""
    assert called.choices[0].message.tool_calls is not None
    assert called.choices[0].message.tool_calls[0]["function"]["name"] == "weather"


def test_further_fields_go_into_the_body(client: Client) -> None:
    assert client.chat("Hi", extra_body={"refine_budget": 3}).refinement.budget == 3


def test_an_answer_is_judged(client: Client) -> None:
    judgement = client.judge("Hi", "my answer", votes=5, checks=[{"id": "punctuation:no_comma"}])
    assert (judgement.accepted, judgement.value, judgement.no) == (False, 0.0, 3)
    assert {vote.verdict for vote in judgement.votes} == {"no"}
    assert judgement.checks[0].passed
    whole = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "better answer"}]
    assert client.judge(whole).accepted


def test_an_answer_is_refined(client: Client) -> None:
    refined = client.refine("Hi", "my answer", critique="It is not better.", refine_budget=2)
    assert (refined.text, refined.refinement.calls["actor"]) == ("better answer", 0)


def test_the_models_are_listed(client: Client) -> None:
    [model] = client.models()
    assert (model.id, model.owned_by) == ("pair", "spar-server")


def test_the_algorithms_and_checks_are_listed_for_use_in_requests(client: Client) -> None:
    assert "bfs" in [algorithm.id for algorithm in client.algorithms()]
    [sentences] = [check for check in client.checks() if check.id == "length_constraints:number_sentences"]
    assert sentences.kwargs["num_sentences"]["type"] == "integer"
    assert sentences.requirement is not None
    used = {"id": sentences.id, "kwargs": sentences.example}
    assert client.judge("Hi", "my answer", checks=[used]).checks[0].id == sentences.id


async def test_the_asynchronous_client_has_the_same_methods(url: str) -> None:
    async with AsyncClient(url) as client:
        assert (await client.chat("Hi", refine_budget=2)).text == "better answer"
        assert not (await client.judge("Hi", "my answer")).accepted
        assert (await client.refine("Hi", "my answer")).text == "better answer"
        assert [model.id for model in await client.models()] == ["pair"]
        assert {type(each).__name__ for each in await client.algorithms()} == {"Algorithm"}
        assert {type(each).__name__ for each in await client.checks()} == {"CheckType"}


def test_the_server_is_found_with_and_without_v1(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for address in (url, f"{url}/", f"{url}/v1", f"{url}/v1/"):
        with Client(address) as client:
            assert client.models()
    monkeypatch.setenv("SPAR_URL", url)
    with Client() as client:
        assert client.models()


@pytest.mark.parametrize("address", ["127.0.0.1:8000", "ftp://x", "http://", "http://127.0.0.1:99999"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="must be an address such as"):
        Client(address)


def test_a_key_is_sent(serving: Callable[..., AbstractContextManager[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(keys=(ApiKey(name="client", sha256=sha256_of("secret")),))
    monkeypatch.delenv("SPAR_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with serving(scripted_pair(), settings) as url:
        with Client(url) as client, pytest.raises(AuthenticationError):
            client.models()
        with Client(url, api_key="secret") as client:
            assert client.models()
        monkeypatch.setenv("OPENAI_API_KEY", "wrong")
        monkeypatch.setenv("SPAR_API_KEY", "secret")
        with Client(url) as client:
            assert client.models()


def test_connections_can_be_the_callers_own(url: str) -> None:
    seen: list[str] = []
    hooks = {"request": [lambda request: seen.append(request.url.path)]}
    with Client(url, http_client=httpx.Client(event_hooks=hooks)) as client:
        client.models()
    assert seen == ["/v1/models"]
