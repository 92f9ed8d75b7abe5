"""Upstreams that are broken or hostile: what they send must not fill, freeze or fool the server, nor reach clients."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

from tests.attack.outcome import Outcome, none_of
from tests.attack.target import ATTEMPTS, Reply, Target

# How long an endless answer may keep a request with `max_tokens`; one without may be as long as 65,536 tokens.
ENDS_WITHIN_S: Final = 15.0
UNBOUNDED_ENDS_WITHIN_S: Final = 180.0
_TRUSTS_WITHIN_S: Final = 20.0
_WILD_USAGE: Final[dict[str, Any]] = {
    "negative": {"prompt_tokens": -5, "completion_tokens": -5, "total_tokens": -10},
    "huge": {"prompt_tokens": 10**40, "completion_tokens": 10**40, "total_tokens": 10**40},
    "NaN": {"prompt_tokens": float("nan"), "completion_tokens": float("nan")},
    "infinite": {"prompt_tokens": float("inf"), "completion_tokens": float("-inf")},
    "texts": {"prompt_tokens": "5", "completion_tokens": "7"},
    "nothing": {"prompt_tokens": None, "completion_tokens": None},
    "true": {"prompt_tokens": True, "completion_tokens": True},
    "fractions": {"prompt_tokens": 5.0, "completion_tokens": 7.5},
    "a list": [5, 7],
    "a text": "12",
    "odd details": {"prompt_tokens": 5, "completion_tokens": 7, "prompt_tokens_details": [1]},
}


def _requests(target: Target, text: str, **fields: Any) -> dict[str, Callable[[], Awaitable[Reply]]]:
    """A request to each endpoint that calls an upstream."""
    chat = {"model": "pair", "messages": [{"role": "user", "content": text}], "max_tokens": 20, **fields}
    raw = {"model": "pair", "prompt": text, "max_tokens": 20, **fields}
    return {
        "chat": partial(target.post, "/v1/chat/completions", chat),
        "a streamed chat": partial(target.post, "/v1/chat/completions", {**chat, "stream": True}),
        "an unbounded chat": partial(target.post, "/v1/chat/completions", chat | {"max_tokens": None}),
        "an unbounded stream": partial(
            target.post,
            "/v1/chat/completions",
            chat | {"max_tokens": None, "stream": True},
            within_s=UNBOUNDED_ENDS_WITHIN_S + 10,
        ),
        "a search": partial(target.post, "/v1/chat/completions", {**chat, "refine_budget": 2}),
        "completions": partial(target.post, "/v1/completions", raw),
        "streamed completions": partial(target.post, "/v1/completions", {**raw, "stream": True}),
        "embeddings": partial(target.post, "/v1/embeddings", {"model": "pair", "input": text}),
        "a judgement": partial(target.post, "/v1/judge", {"messages": chat["messages"], "response": "x", "votes": 1}),
        "responses": partial(target.post, "/v1/responses", {"model": "pair", "input": text, "max_output_tokens": 20}),
    }


async def long_answers(target: Target) -> list[Outcome]:
    outcomes, unreached = list[Outcome](), list[str]()
    streamed = ("a streamed chat", "streamed completions")
    whole = ("chat", "a search", "completions", "embeddings", "a judgement")
    for manner, kinds in {
        "gzip bomb": (*whole, *streamed),
        "endless": ("chat", "an unbounded chat", "completions", "embeddings"),
        "endless line": (*streamed, "an unbounded stream"),
        "endless tokens": (*streamed, "an unbounded stream"),
        "endless comments": streamed,
        "endless continue": ("chat", "a streamed chat"),
        "endless head": ("chat", "a streamed chat"),
        "endless error": ("chat", "a streamed chat", "completions"),
        "deep": ("chat", "completions"),
        "many values": ("chat", "an unbounded chat", "completions", "embeddings"),
    }.items():
        for kind in kinds:
            text, lasted = await target.play(manner=manner), list[float]()
            request = _requests(target, text)[kind]

            async def timed(request: Callable[[], Awaitable[Reply]] = request, lasted: list[float] = lasted) -> None:
                began = time.monotonic()
                await request()
                lasted.append(time.monotonic() - began)

            outcomes += await target.measure(f"{manner} to {kind}", timed)
            bar = UNBOUNDED_ENDS_WITHIN_S if "unbounded" in kind else ENDS_WITHIN_S
            while min(lasted) > bar and len(lasted) < ATTEMPTS:
                await timed()
            outcomes.append(Outcome(f"{manner} to {kind}: ended after", min(lasted), "s", bar))
            if not (await target.seen(text))["calls"]:
                unreached.append(f"{manner} to {kind}")
            await _trusted_again(target)
    return [*outcomes, none_of("attacks that did not reach the upstream", unreached)]


async def _trusted_again(target: Target) -> None:
    """Wait until the server calls its upstream again, which it leaves alone for a while after failures."""
    until = time.monotonic() + _TRUSTS_WITHIN_S
    while time.monotonic() < until:
        if (await target.chat("Hi", refine_budget=1)).status == 200:
            return
        await asyncio.sleep(0.1)


async def many_embeddings(target: Target) -> list[Outcome]:
    """As many as a request may ask for; they are longer than anything else that an honest upstream sends."""
    text = await target.play(manner="many numbers")
    body = {"model": "pair", "input": [text] * 2048}
    statuses: list[int] = []

    async def embed() -> None:
        statuses.append((await target.post("/v1/embeddings", body, within_s=240.0)).status)

    _, loop = await target.measure("2,048 embeddings of 3,072 numbers", embed, memory_mb=float("inf"))
    return [loop, none_of("embeddings that were not answered", [str(each) for each in statuses if each != 200])]


async def redirects(target: Target) -> list[Outcome]:
    before = await target.redirected()
    text = await target.play(manner="redirect")
    await asyncio.gather(*(send() for send in _requests(target, text).values()))
    return [Outcome("prompts that followed a redirect elsewhere", await target.redirected() - before, "requests", 0)]


async def wild_usage(target: Target) -> list[Outcome]:
    broken = []
    for name, usage in _WILD_USAGE.items():
        text = await target.play(usage=usage)
        sent = _requests(target, text)
        for kind, reply in zip(sent, await asyncio.gather(*(send() for send in sent.values())), strict=True):
            lost_end = "streamed" in kind and b"[DONE]" not in reply.body and b'"error"' not in reply.body
            if reply.status == 500 or b"internal_error" in reply.body or lost_end:
                broken.append(f"{name} in {kind}: {reply.status} {reply.body[-200:]!r}")
    return [none_of("requests that an upstream's wild usage broke", broken)]


async def odd_numbers(target: Target) -> list[Outcome]:
    """What is no JSON in an upstream's answer breaks nothing, and no client is sent it."""
    broken = []
    for kind in _requests(target, ""):
        text = await target.play(manner="odd numbers")
        reply = await _requests(target, text)[kind]()
        if reply.status == 500 or b"internal_error" in reply.body or b"NaN" in reply.body or b"Infinity" in reply.body:
            broken.append(f"{kind}: {reply.status} {reply.body[-200:]!r}")
        await _trusted_again(target)
    return [none_of("requests that odd numbers of an upstream broke", broken)]


async def leaking_errors(target: Target) -> list[Outcome]:
    """Each error's body holds secrets, which the target looks for in every answer and, at the end, in the log."""
    before = len(target.leaks)
    statuses, unreached = list[str](), list[str]()
    for manner in ("400", "401", "403", "404", "413", "422", "429", "500", "503", "error under 200", "no JSON"):
        for kind in _requests(target, ""):
            text = await target.play(manner=manner)
            reply = await _requests(target, text)[kind]()
            if not (await target.seen(text))["calls"]:
                unreached.append(f"{manner} to {kind}")
            await _trusted_again(target)
            if reply.status == 500 or b"internal_error" in reply.body:
                statuses.append(f"{manner} to {kind}: {reply.status}")
    target.look_into_log()
    leaks, target.leaks[before:] = sorted(set(target.leaks[before:])), []
    return [
        none_of("what an upstream's error told clients or the log", leaks),
        none_of("errors of an upstream that broke the server", statuses),
        none_of("errors that the upstream was not asked for", unreached),
    ]


ATTACKS: Final = (redirects, wild_usage, odd_numbers, many_embeddings, long_answers, leaking_errors)
