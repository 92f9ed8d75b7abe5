"""Work for a client ends with the client, and with nobody else's wish mistaken for the client's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from spar_core.backends.scripted import ScriptedBackend, always
from spar_core.types import Completion, Message, Sampling
from spar_server.app import create_app
from spar_server.errors import ClientGoneError
from spar_server.http.disconnect import Disconnect, until_disconnect
from spar_server.settings import Settings
from tests.support.pairs import scripted_pair

Receive = Callable[[], Awaitable[Any]]


def receiving(*, gone: asyncio.Event) -> Receive:
    async def receive() -> dict[str, str]:
        await gone.wait()
        return {"type": "http.disconnect"}

    return receive


async def test_work_that_ends_first_is_returned_and_its_error_raised() -> None:
    async def work() -> int:
        await asyncio.sleep(0)
        return 7

    async def broken() -> int:
        await asyncio.sleep(0)
        raise ValueError("broken")

    receive = receiving(gone=asyncio.Event())
    assert await until_disconnect({}, receive, work()) == 7
    with pytest.raises(ValueError, match="broken"):
        await until_disconnect({}, receive, broken())
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_client_that_goes_cancels_the_work_which_is_waited_for() -> None:
    gone, ended = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        gone.set()
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.01)
            ended.set()

    with pytest.raises(ClientGoneError):
        await until_disconnect({}, receiving(gone=gone), work())
    assert ended.is_set()
    task = asyncio.current_task()
    assert task is not None
    # Nothing of the cancelling is left over for what the task does next.
    assert task.cancelling() == 0
    await asyncio.sleep(0)


class Flow:
    """A connection's flow control; notes whether it is read."""

    reading = False

    def resume_reading(self) -> None:
        self.reading = True


async def test_a_connection_reports_its_client_once_however_often_it_learns_that_it_is_gone() -> None:
    scope: dict[str, Any] = {}
    flow = Flow()
    disconnect = Disconnect.of(scope, flow)

    async def work() -> None:
        assert flow.reading
        disconnect.notify()
        disconnect.notify()
        await asyncio.sleep(60)

    for _ in range(2):
        # The second work begins when the client is gone already.
        with pytest.raises(ClientGoneError):
            await until_disconnect(scope, receiving(gone=asyncio.Event()), work())
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
    await asyncio.sleep(0)


async def test_a_task_that_is_cancelled_by_someone_else_is_cancelled_also_when_the_client_goes_with_it() -> None:
    gone, started = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        started.set()
        await asyncio.sleep(60)

    for both in (False, True):
        task = asyncio.create_task(until_disconnect({}, receiving(gone=gone), work()))
        await started.wait()
        if both:
            gone.set()
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        started.clear()


async def test_a_surrounding_timeout_stays_a_timeout() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await until_disconnect({}, receiving(gone=asyncio.Event()), asyncio.sleep(60))


@pytest.mark.parametrize("stream", [True, False])
async def test_a_search_ends_with_its_client_in_whichever_step_of_the_loop_it_goes(stream: bool) -> None:
    body = {"model": "pair", "messages": [{"role": "user", "content": "Hi"}], "refine_budget": 1, "stream": stream}

    class Silent(ScriptedBackend):
        """Never judges."""

        async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
            await asyncio.Event().wait()
            raise AssertionError

    app = create_app(Settings(), replace(scripted_pair(), refiner=Silent(always(""))))
    scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions", "query_string": b"", "headers": [
        (b"content-type", b"application/json"), (b"host", b"localhost")], "client": ("127.0.0.1", 1)}  # fmt: skip

    async def ignore(message: Any) -> None: ...

    def leaving(*, after: int) -> Receive:
        messages = iter([{"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}])

        async def receive() -> dict[str, Any]:
            if (message := next(messages, None)) is not None:
                return message
            for _ in range(after):
                await asyncio.sleep(0)
            return {"type": "http.disconnect"}

        return receive

    for steps in range(60):
        # A request whose cancellation got lost would wait for the judge for ever.
        await asyncio.wait_for(app(dict(scope), leaving(after=steps), ignore), 60)
