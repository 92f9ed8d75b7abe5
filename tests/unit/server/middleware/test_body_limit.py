"""Long bodies together: some are read, the others wait until there is room."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.exceptions import HTTPException

from spar_server.errors import ApiError
from spar_server.middleware.body_limit import BodyLimitMiddleware
from spar_server.settings import ApiKey, Limits

MIB = 2**20
ANN, BOB = (ApiKey(name=name, sha256=name[0] * 64) for name in ("aaa", "bbb"))


class Work:
    """An application that reads a body and works on it until the test ends it."""

    def __init__(self) -> None:
        self.read = 0
        self.end = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        self.read += 1
        await self.end.wait()


def limit(work: Work, *, together: int, max_wait_s: float = 30.0, **more: Any) -> BodyLimitMiddleware:
    limits = Limits(max_body_bytes=MIB, max_bodies_bytes=together)
    return BodyLimitMiddleware(work, limits, max_wait_s=max_wait_s, **more)


def request(
    server: BodyLimitMiddleware, size: int, *, key: ApiKey = ANN, announced: bool = True, path: str = "/"
) -> asyncio.Task[None]:
    headers = [(b"content-length", str(size).encode())] if announced else []
    scope = {"type": "http", "path": path, "headers": headers, "state": {"key": key}}
    pieces = [b"x" * 65536] * (size // 65536) + [b"x" * (size % 65536)]
    events = [{"body": piece, "more_body": True} for piece in pieces]
    events[-1]["more_body"] = False

    async def receive() -> Any:
        return events.pop(0)

    async def send(message: Any) -> None:
        """Nothing is answered."""

    return asyncio.create_task(server(scope, receive, send))  # type: ignore[arg-type]


async def settle() -> None:
    """Let everything run that can."""
    for _ in range(100):
        await asyncio.sleep(0)


@asynccontextmanager
async def ending(work: Work, tasks: list[asyncio.Task[None]]) -> AsyncIterator[None]:
    try:
        yield
    finally:
        work.end.set()
        await asyncio.gather(*tasks)


async def test_long_bodies_wait_until_there_is_room() -> None:
    work = Work()
    server = limit(work, together=3 * MIB)
    tasks = [request(server, 900_000) for _ in range(8)]
    async with ending(work, tasks):
        await settle()
        assert work.read == 3
    assert work.read == 8


async def test_a_length_that_is_not_announced_may_be_anything() -> None:
    work = Work()
    server = limit(work, together=3 * MIB)
    tasks = [request(server, 200_000, announced=False) for _ in range(8)]
    async with ending(work, tasks):
        await settle()
        assert work.read == 2


async def test_short_bodies_never_wait() -> None:
    work = Work()
    server = limit(work, together=MIB)
    tasks = [request(server, 900_000), *(request(server, 60_000) for _ in range(50))]
    async with ending(work, tasks):
        await settle()
        assert work.read == 51


async def test_one_keys_bodies_leave_room_for_anothers() -> None:
    work = Work()
    server = limit(work, together=4 * MIB, key_share=0.5)
    tasks = [*(request(server, 900_000) for _ in range(20)), request(server, 900_000, key=BOB)]
    async with ending(work, tasks):
        await settle()
        assert work.read == 3


async def test_a_request_that_waits_too_long_is_refused() -> None:
    work = Work()
    server = limit(work, together=MIB, max_wait_s=0.01)
    tasks = [request(server, 900_000)]
    async with ending(work, tasks):
        await settle()
        with pytest.raises(ApiError) as refused:
            await request(server, 900_000)
        assert refused.value.status == 503


async def test_room_comes_back_from_clients_that_leave() -> None:
    work = Work()
    server = limit(work, together=MIB)
    left = request(server, 900_000)
    await settle()
    left.cancel()
    tasks = [request(server, 900_000)]
    async with ending(work, tasks):
        await settle()
        assert work.read == 2


async def test_a_body_that_is_not_held_as_a_whole_has_its_own_limit_and_takes_no_room() -> None:
    work = Work()
    server = limit(work, together=MIB, streamed={"/files": 4 * MIB})
    tasks = [request(server, size, path="/files") for size in (2 * MIB, 3 * MIB)]
    async with ending(work, tasks):
        await settle()
        assert work.read == 2
        for announced in (True, False):
            with pytest.raises(HTTPException, match="4194304 bytes"):
                await request(server, 5 * MIB, path="/files", announced=announced)
