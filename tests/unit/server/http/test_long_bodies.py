"""However a body is shaped, reading it neither fills the memory nor holds up who else is served."""

from __future__ import annotations

import asyncio
import json
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spar_core.errors import RequestError
from spar_core.off_loop import SHORT
from spar_server.admission.long_work import LongWork
from spar_server.auth.keyring import sha256_of
from spar_server.http.json_limits import check_work
from spar_server.http.json_route import read_json
from spar_server.settings import ApiKey, Settings
from tests.support.pairs import scripted_pair

Serving = Callable[..., AbstractContextManager[str]]
ALL_OF_IT = 10**9
CHAT = "/v1/chat/completions"
REFINE = {"model": "pair", "response": "x" * 60_000, "refine_budget": 1}
KEYS = b",".join(b'"%d":1' % number for number in range(300_000))


def key(name: str) -> ApiKey:
    return ApiKey(name=name, sha256=sha256_of(name))


def work_of(raw: bytes) -> int:
    """The least limit that lets a body pass."""
    low, high = 0, ALL_OF_IT
    while low < high:
        middle = (low + high) // 2
        try:
            check_work(raw, middle)
            high = middle
        except RequestError:
            low = middle + 1
    return low


# What is refused before it is read


def test_the_content_of_texts_does_not_affect_the_cost() -> None:
    plain = work_of(json.dumps(["x"] * 3).encode())
    for text in (",[]{}:" * 1000, '"' * 999, "\\" * 1001, '\\"' * 500, "\n\té😀" * 300):
        for each in (json.dumps([text] * 3), json.dumps([text] * 3, ensure_ascii=False)):
            assert work_of(each.encode()) == plain


@given(st.recursive(st.integers(0, 9) | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_the_more_a_body_holds_the_more_it_costs(value: Any) -> None:
    raw = json.dumps(value).encode()
    assert work_of(b"[%b,%b]" % (raw, raw)) >= 2 * work_of(raw)


def test_a_text_that_is_longer_than_a_piece_is_one_text_wherever_its_escapes_fall() -> None:
    for shift in range(4):
        text = "x" * shift + '\\"' * 400_000
        assert work_of(json.dumps([text, 1]).encode()) == work_of(b'["x",1]')


def test_a_number_of_thousands_of_digits_is_refused() -> None:
    check_work(b"[" + b"1" * 400 + b"]", ALL_OF_IT)
    for number in (b"1" * 401, b"9" * 10**6, b"0." + b"3" * 401, b"-1e" + b"7" * 500):
        with pytest.raises(RequestError, match="400 digits"):
            check_work(b"[" + number + b"]", ALL_OF_IT)


@pytest.fixture(scope="module")
def client(serving: Serving) -> Iterator[httpx.Client]:
    with serving(scripted_pair(), Settings()) as url, httpx.Client(base_url=url, timeout=60) as client:
        yield client


def with_field(field: bytes, value: bytes) -> bytes:
    return b'{"model":"pair","messages":[{"role":"user","content":"hi"}],"%b":%b}' % (field, value)


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (with_field(b"odd", b"[" + b"[]," * 1_000_000 + b"1]"), "too many values"),
        (
            with_field(b"odd", b"{" + b",".join(b'"%d":1' % number for number in range(300_000)) + b"}"),
            "too many values",
        ),
        (with_field(b"odd", b"[" * 200_000 + b"]" * 200_000), "too many values"),
        (with_field(b"odd", b"[" * 50_000 + b"]" * 50_000), "deeper than"),
        (with_field(b"odd", b"1" * 1_000_000), "400 digits"),
        (with_field(b"stop", b"[" + b"1," * 100_000 + b"1]"), "stop: 100001 entries"),
        (with_field(b"refine", b"{" + b",".join(b'"%d":1' % each for each in range(20_000)) + b"}"), "refine: 20000"),
        (b'{"messages":[' + b"1," * 100_000 + b"1]}", "messages: 100001"),
        (b'{"messages":[{"role":"user","content":[' + b"1," * 100_000 + b"1]}]}", "messages: 100001 content parts"),
        (b"{" + b",".join(b'"%d":1' % number for number in range(20_000)) + b"}", "20000 fields"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_more_than_can_be_looked_at_is_refused_with_its_reason(
    client: httpx.Client, body: bytes, complaint: str
) -> None:
    response = client.post(CHAT, content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 400
    assert complaint in response.json()["error"]["message"]


def test_what_models_can_read_is_not_refused(client: httpx.Client) -> None:
    chat = {"model": "pair", "messages": [{"role": "user", "content": "lamp, [river]: {run}\n" * 100_000}]}
    many = {"model": "pair", "messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}] * 4000}
    tokens = {"model": "pair", "messages": chat["messages"], "logit_bias": {str(token): 1 for token in range(5000)}}
    for body in (chat, many, tokens):
        assert client.post(CHAT, json=body).status_code == 200


def test_the_location_of_an_error_is_found_without_building_every_path() -> None:
    raw = b'{"odd":{"' + b"k" * 300_000 + b'":[' + b"1," * 2000 + b"NaN]}}"
    tracemalloc.start()
    with pytest.raises(RequestError, match="finite") as refused:
        read_json(raw)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20 * len(raw)
    assert refused.value.param is not None
    assert refused.value.param.startswith("odd.kkk")
    assert len(refused.value.param) < 1000


def test_judged_text_has_a_maximum_length(serving: Serving) -> None:
    settings = Settings(limits={"max_response": 100_000, "max_judged_text": 200_000})  # type: ignore[arg-type]
    ask = [{"role": "user", "content": "x" * 150_000}]
    with serving(scripted_pair(), settings) as url, httpx.Client(base_url=url, timeout=60) as client:
        for path, body, param in (
            ("/v1/judge", {"messages": ask[:1], "response": "x" * 100_001}, "response"),
            ("/v1/judge", {"messages": ask, "response": "x" * 60_000}, "messages"),
            (
                "/v1/refine",
                {"model": "pair", "messages": ask, "response": "x" * 60_000, "refine_budget": 1},
                "messages",
            ),
            (CHAT, {"model": "pair", "messages": ask * 2, "refine_budget": 1}, "messages"),
        ):
            response = client.post(path, json=body)
            assert (response.status_code, response.json()["error"]["param"]) == (400, param)
        assert client.post(CHAT, json={"model": "pair", "messages": ask * 2}).status_code == 200
        assert client.post("/v1/judge", json={"messages": ask, "response": "x"}).status_code == 200


# What is done beside the event loop


async def test_the_loop_runs_on_while_long_work_is_done() -> None:
    work, done = LongWork(max_wait_s=60), threading.Event()
    task = asyncio.create_task(work.read(lambda: done.wait(60), key=key("a"), size=SHORT + 1))
    await asyncio.sleep(0)
    # Only a loop that runs on gets here.
    done.set()
    assert await task


async def test_one_keys_long_bodies_do_not_hold_up_anothers() -> None:
    work, first = LongWork(max_wait_s=3600, key_share=0.5), threading.Event()
    order: list[str] = []

    def read(name: str) -> None:
        order.append(name)
        first.wait(60)

    async def send(name: str, size: int) -> None:
        await work.read(lambda: read(name), key=key(name), size=size)

    async with asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(send("flood", 2**24))
        await asyncio.sleep(0)
        group.create_task(send("other", 2**17))
        await asyncio.sleep(0)
        first.set()
    # One that runs, and no more of the others than fill the flood's share.
    assert order.index("other") <= 2


async def test_what_long_work_raises_is_raised() -> None:
    def fail() -> None:
        raise RequestError("no")

    with pytest.raises(RequestError):
        await LongWork(max_wait_s=60).read(fail, key=key("a"), size=1)
