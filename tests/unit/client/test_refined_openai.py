"""`with_refinement`: an openai client with a budget, typed parameters and typed results."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest

from spar_client import Refinement
from spar_client.refined_openai import RefinedOpenAI, with_refinement

HELLO: list[openai.types.chat.ChatCompletionMessageParam] = [{"role": "user", "content": "Hi"}]


@pytest.fixture
def plain(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
def client(plain: openai.OpenAI) -> RefinedOpenAI:
    return with_refinement(plain, budget=3)


def test_every_answer_has_the_clients_budget(client: RefinedOpenAI) -> None:
    completion = client.chat.completions.create(model="pair", messages=HELLO)
    assert completion.choices[0].message.content == "better answer"
    assert isinstance(completion.refinement, Refinement)
    assert (completion.refinement.budget, completion.refinement.improved) == (3, True)


def test_a_request_names_its_own_budget_and_options(client: RefinedOpenAI) -> None:
    create = client.chat.completions.create
    assert create(model="pair", messages=HELLO, refine_budget=0).refinement.stop_reason == "pass_through"
    iterative = create(model="pair", messages=HELLO, refine={"algorithm": "iterative"}, extra_body={"seed": 1})
    assert (iterative.refinement.algorithm, iterative.refinement.budget) == ("iterative", 3)


def test_the_last_chunk_of_a_stream_has_the_refinement(client: RefinedOpenAI) -> None:
    chunks = list(client.chat.completions.create(model="pair", messages=HELLO, stream=True))
    assert "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices) == "better answer"
    assert [chunk.refinement is not None for chunk in chunks] == [*[False] * (len(chunks) - 1), True]
    assert chunks[-1].refinement is not None
    assert chunks[-1].refinement.budget == 3


def test_openais_own_helpers_get_the_budget_too(client: RefinedOpenAI) -> None:
    with client.chat.completions.stream(model="pair", messages=HELLO) as stream:
        assert stream.get_final_completion().choices[0].message.content == "better answer"
    assert client.responses.create(model="pair", input="Hi").output_text == "better answer"
    raw = client.chat.completions.with_raw_response.create(model="pair", messages=HELLO)
    assert raw.parse().choices[0].message.content == "better answer"


def test_it_is_an_openai_client_still(client: RefinedOpenAI) -> None:
    assert isinstance(client, openai.OpenAI)
    assert [model.id for model in client.models.list()] == ["pair"]
    other = client.with_options(max_retries=1)
    assert other.chat.completions.create(model="pair", messages=HELLO).refinement.budget == 3
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model="pair", messages=HELLO, refine_budget=999)


def test_the_client_that_it_was_made_from_stays_as_it_was(plain: openai.OpenAI, client: RefinedOpenAI) -> None:
    client.chat.completions.create(model="pair", messages=HELLO)
    assert type(plain) is openai.OpenAI
    assert plain.chat.completions.create(model="pair", messages=HELLO).choices[0].message.content == "a plain draft"


async def test_the_asynchronous_client_has_all_of_it(url: str) -> None:
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none") as plain:
        client = with_refinement(plain, budget=2)
        completion = await client.chat.completions.create(model="pair", messages=HELLO)
        assert (completion.refinement.budget, completion.choices[0].message.content) == (2, "better answer")
        stream = await client.chat.completions.create(model="pair", messages=HELLO, stream=True, refine_budget=1)
        chunks = [chunk async for chunk in stream]
        assert chunks[-1].refinement is not None
        assert chunks[-1].refinement.budget == 1


def test_another_kind_of_client_is_refused() -> None:
    azure = openai.AzureOpenAI(azure_endpoint="http://127.0.0.1:9", api_key="x", api_version="1")
    with pytest.raises(TypeError, match="not AzureOpenAI"):
        with_refinement(azure)
