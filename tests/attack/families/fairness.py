"""One key against the others: what it may run at once, and what its flood does to another key's answers."""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from tests.attack.outcome import Outcome
from tests.attack.server import KEYS
from tests.attack.target import ATTEMPTS, Target

SLOWER_BY: Final = 1.5
# How long the upstream takes for every answer.
_DELAY_S: Final = 0.5
_SAMPLES: Final = 9


async def concurrent_searches(target: Target) -> list[Outcome]:
    """A key that may have one search at a time has one, whatever kind of request it sends."""
    outcomes = []
    message = {"role": "user", "content": ""}
    for name, path, body in (
        ("searches", "/v1/chat/completions", {"model": "pair", "refine_budget": 2}),
        ("judgements of 25 votes", "/v1/judge", {"response": "x", "votes": 25}),
        ("refinements", "/v1/refine", {"model": "pair", "response": "x"}),
        ("chats of 128 choices", "/v1/chat/completions", {"model": "pair", "n": 128}),
        ("completions of 100 prompts", "/v1/completions", {"model": "pair"}),
    ):
        text = await target.play(delay_s=_DELAY_S)
        if path == "/v1/completions":
            sent: dict[str, Any] = {**body, "prompt": [text] * 100}
        else:
            sent = {**body, "messages": [message | {"content": text}]}
        replies = await asyncio.gather(*(target.post(path, sent, key="single") for _ in range(8)))
        answered = sum(reply.status == 200 for reply in replies)
        outcomes.append(Outcome(f"{name} of a key that may have one: at once", answered, "answers", 1))
    return outcomes


async def floods(target: Target) -> list[Outcome]:
    """Another key's median while one key floods, against its median in the calm just before."""
    text = await target.play(delay_s=_DELAY_S)
    chat = {"model": "pair", "messages": [{"role": "user", "content": text}]}
    values = b'{"model": "pair", "x": [' + b"[]," * 3_000_000 + b"[]]}"
    long = json.dumps(chat | {"messages": [{"role": "user", "content": f"{text} {'word ' * 4_000_000}"}]}).encode()
    outcomes = []
    for name, path, body, at_once in (
        ("chats of 128 choices", "/v1/chat/completions", {**chat, "n": 128}, 4),
        ("searches of 128 choices and 25 votes", "/v1/chat/completions",
         {**chat, "n": 128, "refine_budget": 8, "refine": {"votes": 25, "early_vote_stop": False}}, 4),
        ("chats", "/v1/chat/completions", chat, 64),
        ("judgements", "/v1/judge", {"messages": chat["messages"], "response": "x", "votes": 25}, 32),
        ("completions of 128 prompts", "/v1/completions", {"model": "pair", "prompt": [text] * 128}, 8),
        ("bodies of 9 MB of lists", "/v1/chat/completions", values, 4),
        ("bodies of 20 MB of text", "/v1/chat/completions", long, 4),
    ):  # fmt: skip
        outcomes.append(await _slowed(target, text, f"another key's median beside {name}", path, body, at_once))
    return outcomes


async def _slowed(target: Target, text: str, name: str, path: str, body: Any, at_once: int) -> Outcome:
    """Measured again where it is over the bar, as every figure is, and each time before an upstream twice as slow.

    A key that waits for another's calls waits longer then, while what a busy machine adds remains the same.
    """
    for attempt in range(ATTEMPTS):
        delay_s = _DELAY_S * 2**attempt
        await target.rehearse(text, delay_s=delay_s)
        calm = await _median(target, delay_s)
        async with _flooding(target, path, body, at_once):
            flooded = await _median(target, delay_s)
        detail = f"{calm:.3f} s in the calm, {flooded:.3f} s in the flood"
        outcome = Outcome(name, flooded / calm, "x", SLOWER_BY, detail)
        if outcome.passed:
            break
    return outcome


@asynccontextmanager
async def _flooding(target: Target, path: str, body: Any, at_once: int) -> AsyncIterator[None]:
    """Flood from a process of its own, so that what is slow is the server and not who measures it."""
    flood = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.attack.flood", f"{target.server.url}{path}", KEYS["mallory"], str(at_once)),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert flood.stdin is not None
    assert flood.stdout is not None
    flood.stdin.write(body if isinstance(body, bytes) else json.dumps(body).encode())
    flood.stdin.close()
    await flood.stdout.readline()
    # The first wave has reached the server by then.
    await asyncio.sleep(0.3)
    try:
        yield
    finally:
        flood.kill()
        await flood.wait()


async def _median(target: Target, delay_s: float) -> float:
    """Of answers that come one after the other, three at a time."""
    text = await target.play(delay_s=delay_s)

    async def once() -> float:
        began = time.monotonic()
        reply = await target.chat(text, key="bob")
        assert reply.status == 200, reply
        return time.monotonic() - began

    seconds: list[float] = []
    for _ in range(_SAMPLES // 3):
        seconds += await asyncio.gather(*(once() for _ in range(3)))
    return statistics.median(seconds)


ATTACKS: Final = (concurrent_searches, floods)
