"""Problems with a server that the probe finds before it is used."""

from __future__ import annotations

import asyncio
import socket

import pytest
from aiohttp import web

from spar_core.backends.openai import find_problem
from tests.support.loopback import Handler, answer, replying, upstream

MODELS = {"object": "list", "data": [{"id": "m"}, {"id": "other"}]}
NOT_FOUND = replying({"error": {"message": "Not Found"}}, 404)


async def problem(
    chat: Handler, models: Handler, *, path: str = "/v1", model: str = "m", key: str | None = None
) -> str | None:
    async with upstream(chat, routes={"/v1/models": models}) as backend:
        return await find_problem(backend.name.removesuffix("/v1") + path, model=model, api_key=key)


async def test_a_server_that_lists_the_model_is_fine_without_being_asked_for_more() -> None:
    assert await problem(NOT_FOUND, replying(MODELS)) is None
    assert await problem(NOT_FOUND, replying(MODELS), path="/v1/") is None
    assert await problem(NOT_FOUND, replying({"data": [{"id": "m:latest"}]})) is None


async def test_a_server_that_answers_is_fine_whatever_it_lists() -> None:
    for models in (replying({"data": [{"id": "path/to/weights"}]}), NOT_FOUND, replying("<html>")):
        assert await problem(replying(answer()), models) is None


async def test_a_wrong_model_name_is_reported_with_the_available_ones() -> None:
    assert await problem(NOT_FOUND, replying(MODELS), model="n") == "it has no model 'n'; it has m, other"
    many = {"data": [{"id": f"m{number}"} for number in range(9)]}
    assert str(await problem(NOT_FOUND, replying(many))).endswith("it has m0, m1, m2, m3, m4 and 4 more")


async def test_an_address_without_v1_is_reported_with_the_right_one() -> None:
    told = str(await problem(replying(answer()), replying(MODELS), path=""))
    assert told.startswith("the address lacks /v1: set it to http://127.0.0.1:")
    assert told.endswith("/v1")


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_key_is_reported(status: int) -> None:
    assert await problem(NOT_FOUND, replying({}, status)) == f"it refuses the key ({status}); set api_key"


async def test_the_key_is_sent() -> None:
    async def guarded(request: web.Request) -> web.Response:
        known = request.headers.get("Authorization") == "Bearer k"
        return web.json_response(MODELS, status=200 if known else 401)

    assert await problem(NOT_FOUND, guarded, key="k") is None
    assert await problem(NOT_FOUND, guarded) is not None


async def test_a_server_that_is_down_failing_redirecting_or_not_an_openai_one_is_reported() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    dead = await find_problem(f"http://127.0.0.1:{port}/v1", model="m", api_key=None)
    assert "no server answers there" in str(dead)
    assert "it answers 503" in str(await problem(NOT_FOUND, replying("", 503)))
    moved = replying("", 302, {"Location": "http://other.test/"})
    assert "it redirects (302)" in str(await problem(NOT_FOUND, moved))
    assert "does not answer as an OpenAI-compatible server" in str(await problem(NOT_FOUND, NOT_FOUND))
    assert "does not answer as an OpenAI-compatible server" in str(await problem(replying("<html>"), replying("<p>")))


@pytest.mark.parametrize("body", ["[]", "7", '{"data": 5}', '{"data": [1, {"id": 7}]}', "[" * 100_000, ""])
async def test_any_list_of_models_can_be_read(body: str) -> None:
    assert await problem(replying(answer()), replying(body)) is None


async def test_a_server_that_takes_too_long_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spar_core.backends.openai.probe._ANSWER_S", 0.2)

    async def hang(request: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.Response()

    assert "it did not answer within 0.2 s" in str(await problem(NOT_FOUND, hang))
