"""What an attack is given: the server, its upstream, clients with keys, and instruments."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
from yarl import URL

from tests.attack.outcome import Outcome
from tests.attack.poller import ADDRESS, processor_seconds
from tests.attack.server import KEYS, UPSTREAM_KEY, Server, Setup, running_server
from tests.attack.upstream import LEAKS

SECRETS: Final = (*KEYS.values(), UPSTREAM_KEY, *LEAKS)
# The most that the server's memory may grow by, and the longest that one request may hold its loop.
MEMORY_MB: Final = 64.0
BLOCKED_MS: Final = 100.0
# A figure over its bar is measured again: a defect shows each time, an accident of a busy machine does not.
ATTEMPTS: Final = 3
# The processor time that the poller makes a server spend in a tenth of a second, and as much again.
_IDLE_S: Final = 0.04
# What Python prints of an error that nobody handles, up to the line that names it.
_TRACEBACK: Final = re.compile(r"^Traceback \(most recent call last\):\n(?:[ \t].*\n)+(.+)", re.MULTILINE)
# No figure: a busy machine takes its time.
ANSWERS_WITHIN_S: Final = 300.0
# A server that has not answered /health for so long is not going to.
_GIVES_UP_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer as a client has it; status 0 is none, and `body` says whether it was lost or took too long."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def data(self) -> Any:
        return json.loads(self.body)


@dataclass
class Target:
    """A server under attack. `leaks` are the secrets that were seen where they must not be."""

    server: Server
    upstream: str
    client: aiohttp.ClientSession
    leaks: list[str] = field(default_factory=list)
    calm_mb: float = 0.0
    calm_blocked_ms: float = 0.0
    _names: Any = field(default_factory=lambda: itertools.count(1))

    async def play(self, **play: Any) -> str:
        """Have the upstream act a new play; the value is its name, for a prompt to hold."""
        name = f"play-n{next(self._names)}x"
        await self.rehearse(name, **play)
        return name

    async def rehearse(self, name: str, **play: Any) -> None:
        """Have the upstream act another play under the same name."""
        async with self.client.put(f"{self.upstream}/plays/{name[5:]}", json=play) as response:
            response.raise_for_status()

    async def seen(self, name: str) -> dict[str, Any]:
        """What the upstream was asked for under a play's name."""
        async with self.client.get(f"{self.upstream}/plays/{name[5:]}") as response:
            return dict(await response.json())

    async def called(self, name: str, within_s: float) -> bool:
        """Whether the upstream is called under a play's name in time."""
        until = time.monotonic() + within_s
        while True:
            if (await self.seen(name))["calls"]:
                return True
            if time.monotonic() > until:
                return False
            await asyncio.sleep(0.2)

    async def redirected(self) -> int:
        async with self.client.get(f"{self.upstream}/elsewhere") as response:
            return int(await response.json())

    async def post(
        self, path: str, body: Any, *, key: str | None = "mallory", within_s: float = ANSWERS_WITHIN_S, **headers: str
    ) -> Reply:
        """Send `body` (bytes as they are, else as JSON) and read the answer; any secret in it is noted."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.request("POST", path, data, key=key, within_s=within_s, headers=headers)

    async def get(self, path: str, *, key: str | None = None, **headers: str) -> Reply:
        return await self.request("GET", path, None, key=key, within_s=ANSWERS_WITHIN_S, headers=headers)

    async def request(
        self, method: str, path: str, data: bytes | None, *, key: str | None, within_s: float, headers: dict[str, str]
    ) -> Reply:
        bearer = {"Authorization": f"Bearer {KEYS[key]}"} if key else {}
        sent = {**bearer, "Content-Type": "application/json", **headers}
        timeout = aiohttp.ClientTimeout(total=within_s)
        # As it is written: an attacker's client does not tidy paths up.
        url = URL(f"{self.server.url}{path}", encoded=True)
        try:
            async with self.client.request(
                method, url, data=data, headers=sent, timeout=timeout, allow_redirects=False
            ) as response:
                reply = Reply(response.status, await response.read(), dict(response.headers))
        except (aiohttp.ClientError, ConnectionError, TimeoutError) as error:
            return Reply(0, repr(error).encode())
        self._look_for_secrets(path, reply)
        return reply

    def _look_for_secrets(self, path: str, reply: Reply) -> None:
        shown = reply.body + repr(reply.headers).encode()
        seen = [secret for secret in SECRETS if secret.encode() in shown]
        self.leaks += [f"{secret} in an answer of {path} ({reply.status})" for secret in seen]

    def look_into_log(self) -> None:
        """Note the secrets that the server has logged."""
        log = self.server.log.read_text(errors="replace")
        self.leaks += [f"{secret} in the log" for secret in SECRETS if secret in log]

    def unexpected_errors(self) -> list[str]:
        """The last line of every traceback that the server has logged."""
        log = self.server.log.read_text(errors="replace")
        return [match[1] for match in _TRACEBACK.finditer(log)]

    async def chat(self, text: str, *, key: str = "mallory", **fields: Any) -> Reply:
        body = {"model": "pair", "messages": [{"role": "user", "content": text}], **fields}
        return await self.post("/v1/chat/completions", body, key=key)

    async def measure(
        self,
        attack: str,
        run: Callable[[], Awaitable[Any]],
        *,
        memory_mb: float = MEMORY_MB,
        blocked_ms: float = BLOCKED_MS,
        from_calm: bool = False,
    ) -> list[Outcome]:
        """Run an attack; by how much the server's memory grew at most, and how long its loop was held at most.

        `from_calm` counts what earlier attacks left behind as growth too.
        """
        grown, blocked = float("inf"), float("inf")
        bar_ms = blocked_ms + self.calm_blocked_ms
        for _ in range(ATTEMPTS):
            await self.until_idle()
            before, began = self.calm_mb if from_calm else self.server.resident_mb(), time.monotonic()
            self.server.forget_peak()
            await run()
            grown = min(grown, self.server.peak_mb() - before)
            blocked = min(blocked, await self._blocked_ms(began))
            if grown <= memory_mb and blocked <= bar_ms:
                break
        return [
            Outcome(f"{attack}: memory", max(0.0, grown), "MB", memory_mb),
            Outcome(f"{attack}: loop", blocked, "ms", bar_ms),
        ]

    async def caught_up(self) -> None:
        """Wait until the server has accepted and read all that was sent to it before.

        Connections are accepted in the order in which they came: an answer on a new one comes after all others.
        """
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(_GIVES_UP_S):
                for _ in range(2):
                    reader, writer = await asyncio.open_connection(
                        "127.0.0.1", self.server.port, local_addr=(ADDRESS, 0)
                    )
                    writer.write(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
                    await reader.read()
                    writer.close()

    async def until_idle(self) -> None:
        """Wait until the server has done what earlier attacks left it to do, so that it is not counted to the next."""
        await self.caught_up()
        for _ in range(100):
            used = processor_seconds(self.server.pid)
            await asyncio.sleep(0.1)
            if processor_seconds(self.server.pid) - used < _IDLE_S:
                return

    async def _blocked_ms(self, began: float) -> float:
        """The longest that the loop was held since then, once a poll that began after the attack has been answered."""
        ended = time.monotonic()
        while not self.server.samples or self.server.samples[-1].began < ended:
            if time.monotonic() > ended + _GIVES_UP_S:
                return (time.monotonic() - began) * 1000
            await asyncio.sleep(0.01)
        during = [sample for sample in self.server.samples if sample.began + sample.wall_s > began]
        return max(sample.blocked_s for sample in during) * 1000

    async def settled_files(self, most: int, within_s: float) -> int:
        """The server's open files, once they are no more than `most` or the time is over."""
        until = time.monotonic() + within_s
        while True:
            now = self.server.open_files()
            if now <= most or time.monotonic() > until:
                return now
            await asyncio.sleep(0.1)

    async def warm_up(self) -> None:
        """Use everything once, so that what is loaded at first use is no growth, and measure the calm server's loop."""
        for stream in (False, True):
            reply = await self.chat("Hi", stream=stream, refine_budget=2)
            assert reply.status == 200, reply
            await self.chat("Hi", stream=stream)
            await self.post("/v1/responses", {"model": "pair", "input": "Hi", "stream": stream})
        await self.post("/v1/judge", {"messages": [{"role": "user", "content": "Hi"}], "response": "x"})
        await self.post("/v1/completions", {"model": "pair", "prompt": "Hi"})
        await self.get("/openapi.json")
        await asyncio.sleep(0.5)
        began = time.monotonic()
        await asyncio.sleep(0.5)
        self.calm_blocked_ms = await self._blocked_ms(began)
        self.calm_mb = self.server.resident_mb()


@asynccontextmanager
async def running_upstream() -> AsyncIterator[str]:
    """The hostile upstream in a process of its own; the value is its address."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.attack.upstream", stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        yield (await process.stdout.readline()).decode().strip()
    finally:
        process.kill()
        await process.wait()


@asynccontextmanager
async def target_at(folder: Path, upstream: str, setup: Setup) -> AsyncIterator[Target]:
    """A fresh server before the upstream, warmed up."""
    connector = aiohttp.TCPConnector(limit=0)
    async with (
        running_server(folder, f"{upstream}/v1", setup) as server,
        aiohttp.ClientSession(connector=connector) as client,
    ):
        target = Target(server, upstream, client)
        await target.warm_up()
        yield target
