"""The runner of batches: several servers, and what ends a batch from outside."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import select

from spar_core.types import Message, Sampling
from spar_server.auth.keyring import sha256_of
from spar_server.batches.service import _Server
from spar_server.settings import ApiKey, TraceSettings
from spar_server.traces.database import open_database
from spar_server.traces.migrations import downgrade
from spar_server.traces.schema import BATCHES
from tests.support.batch_server import BatchClient, Running, answer_of, batch_app, line
from tests.support.pairs import scripted_pair
from tests.support.postgres import Postgres
from tests.support.spar_serve import wait_until


@pytest.fixture
def postgresql(postgres: Postgres) -> Iterator[TraceSettings]:
    """The settings of an empty PostgreSQL database."""
    settings = TraceSettings(url=SecretStr(postgres.url))
    yield settings

    async def empty() -> None:
        database = open_database(settings)
        async with database.writing() as connection:
            await connection.run_sync(downgrade, "base")
        await database.aclose()

    asyncio.run(empty())


def run_on_two_servers(running: Running, folder: Path, traces: TraceSettings | None) -> None:
    """Each of two servers sees all batches, and each request is made by one of them."""
    keys = tuple(ApiKey(name=name, sha256=sha256_of(name)) for name in ("ann", "bob"))
    pairs = [scripted_pair(), scripted_pair()]
    with ExitStack() as stack:
        urls = [stack.enter_context(running(batch_app(folder, pair, traces=traces, keys=keys))) for pair in pairs]
        clients = [BatchClient(url, key) for url in urls for key in ("ann", "bob")]
        batches = [each.create([line(f"{n}", f"{place}-{n}") for n in range(10)]) for place, each in enumerate(clients)]
        for place, batch in enumerate(batches):
            # Asked of the other server.
            client = clients[(place + 2) % 4]
            ended = client.until(batch)
            assert ended.status == "completed"
            results = client.results(ended.output_file_id)
            assert {id: answer_of(each) for id, each in results.items()} == {f"{n}": "a plain draft" for n in range(10)}
    asked = [messages[-1].text for pair in pairs for messages, _ in pair.actor.calls]  # type: ignore[attr-defined]
    assert sorted(asked) == sorted(f"{place}-{n}" for place in range(4) for n in range(10))


def test_two_servers_share_batches_in_sqlite(running: Running, tmp_path: Path) -> None:
    run_on_two_servers(running, tmp_path, None)


def test_two_servers_share_batches_in_postgresql(running: Running, tmp_path: Path, postgresql: TraceSettings) -> None:
    run_on_two_servers(running, tmp_path, postgresql)


def test_a_batch_goes_on_where_a_server_has_stopped(running: Running, tmp_path: Path) -> None:
    pair = scripted_pair(latency_s=0.2)
    with running(batch_app(tmp_path, pair, concurrency=1)) as url:
        batch = BatchClient(url).create([line(f"{n}", f"{n}") for n in range(12)])
        while (BatchClient(url).until(batch, "in_progress").request_counts or batch).completed < 2:  # type: ignore[union-attr]
            pass
    before = len(pair.actor.calls)  # type: ignore[attr-defined]
    assert before < 12
    pair = scripted_pair()
    with running(batch_app(tmp_path, pair)) as url:
        client = BatchClient(url)
        ended = client.until(batch)
        assert (ended.request_counts or batch).completed == 12  # type: ignore[union-attr]
        assert len(client.results(ended.output_file_id)) == 12
    # One more at most: the request that the first server broke off is made again.
    assert len(pair.actor.calls) <= 12 - before + 1  # type: ignore[attr-defined]


def test_a_batch_that_expires_says_so_of_each_request(
    running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spar_server.batches.store.WINDOW_S", 0.0)
    with running(batch_app(tmp_path)) as url:
        client = BatchClient(url)
        batch = client.run([line("a"), line("b")])
        assert batch.status == "expired"
        assert batch.expired_at is not None
        assert batch.output_file_id is None
        errors = client.results(batch.error_file_id)
        assert {id: each["error"]["code"] for id, each in errors.items()} == dict.fromkeys("ab", "batch_expired")


def test_a_batch_that_is_running_expires(running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spar_server.batches.store.WINDOW_S", 2.0)
    monkeypatch.setattr("spar_server.batches.runner._RENEW_S", 0.05)
    with running(batch_app(tmp_path, scripted_pair(latency_s=3600))) as url:
        assert BatchClient(url).run([line("a")]).status == "expired"


def test_a_batch_whose_key_is_gone_fails(running: Running, tmp_path: Path) -> None:
    keys = tuple(ApiKey(name=name, sha256=sha256_of(name)) for name in ("ann", "bob"))
    with running(batch_app(tmp_path, scripted_pair(latency_s=3600), keys=keys)) as url:
        batch = BatchClient(url, "ann").create([line("a")])
        BatchClient(url, "ann").until(batch, "in_progress")
    renamed = ApiKey(name="ann-2", sha256=sha256_of("ann"))
    with running(batch_app(tmp_path, keys=(renamed, keys[1]))):
        # Nobody can ask for it any more, so the database is asked.
        wait_until(lambda: asyncio.run(stored_status(tmp_path, batch.id)) == "failed")


async def stored_status(folder: Path, id: str) -> str:
    database = open_database(TraceSettings(path=folder / "batches.sqlite"))
    async with database.reading() as connection:
        status = await connection.scalar(select(BATCHES.c.status).where(BATCHES.c.id == id))
    await database.aclose()
    return str(status)


def test_metrics_count_batches_and_their_requests(running: Running, tmp_path: Path) -> None:
    def samples(url: str) -> dict[str, str]:
        lines = httpx.get(f"{url}/metrics").text.splitlines()
        return dict(each.rsplit(" ", 1) for each in lines if each.startswith("spar_batch"))

    with running(batch_app(tmp_path)) as url:
        client = BatchClient(url)
        client.run([line("a"), line("b"), line("wrong", n=0)])
        client.run(["no JSON"])
        # A batch has ended a moment before it is counted.
        wait_until(lambda: samples(url)['spar_batches_ended_total{status="failed"}'] == "1.0")
        wait_until(lambda: samples(url)["spar_batches_running"] == "0.0")
        found = samples(url)
    assert found['spar_batch_requests_total{outcome="completed"}'] == "2.0"
    assert found['spar_batch_requests_total{outcome="failed"}'] == "1.0"
    assert found['spar_batches_ended_total{status="completed"}'] == "1.0"
    assert found["spar_batch_store_up"] == "1.0"


def test_requests_with_a_long_body_are_made_as_they_are(running: Running, tmp_path: Path) -> None:
    text = "long " * 100_000
    pair = scripted_pair()
    with running(batch_app(tmp_path, pair)) as url:
        batch = BatchClient(url).run([line("a"), line("long", text), line("b", "\u00e9\U0001f600")])
        assert (batch.request_counts or batch).completed == 3  # type: ignore[union-attr]
    texts = {messages[-1].text for messages, _ in pair.actor.calls}  # type: ignore[attr-defined]
    assert texts == {"Hi", text, "\u00e9\U0001f600"}


def test_other_requests_go_first(running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def is_busy(server: object) -> bool:
        seen.append("busy" if len(seen) < 3 else "free")
        return seen[-1] == "busy"

    def answer(messages: Sequence[Message], sampling: Sampling) -> str:
        seen.append("asked")
        return "fine"

    monkeypatch.setattr("spar_server.batches.service._Server.is_busy", property(is_busy))
    with running(batch_app(tmp_path, scripted_pair(answer))) as url:
        assert BatchClient(url).run([line("a")]).status == "completed"
    assert seen == ["busy", "busy", "busy", "free", "asked"]


def test_a_server_is_busy_while_a_request_waits(tmp_path: Path) -> None:
    app = batch_app(tmp_path)
    server = _Server(app)
    assert not server.is_busy

    async def wait() -> None:
        lane = app.state.gate.passed_through
        await lane.acquire("ann", lane.capacity, weight=1.0, wait_s=1)
        waiting = asyncio.create_task(lane.acquire("bob", 1, weight=1.0, wait_s=1))
        await asyncio.sleep(0)
        assert server.is_busy
        waiting.cancel()

    asyncio.run(wait())
