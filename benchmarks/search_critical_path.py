"""Duration of a full breadth-first search over HTTP, compared with the same search with serial calls.

An upstream on loopback takes half a second per call. Every vote is No, so the search expands all of the paper's 15
nodes. A judgement has a single vote, since the paper's judge requests all five at once: 15 refinements and 15
judgements are 30 calls, 6 of them on the critical path.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import AsyncGenerator, Sequence

from aiohttp import web

from spar_core.backends.openai import OpenAIBackend
from spar_core.judge import Judge, Judgement, Vote
from spar_core.prompts import load_templates
from spar_core.refiner import Refiner
from spar_core.search import Models, SearchConfig, Searcher, SearchResult
from spar_core.types import Completion, Delta, Message, Sampling, Usage

CALL_S = 0.5


class Serial:
    """A backend that makes one call at a time."""

    def __init__(self, backend: OpenAIBackend) -> None:
        self._backend = backend
        self._turn = asyncio.Lock()
        self.model = backend.model

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        async with self._turn:
            return await self._backend.complete(messages, sampling)

    def stream(self, messages: Sequence[Message], sampling: Sampling) -> AsyncGenerator[Delta, None]:
        return self._backend.stream(messages, sampling)

    async def aclose(self) -> None:
        await self._backend.aclose()


async def serve() -> tuple[web.AppRunner, str]:
    numbers = itertools.count()

    async def answer(request: web.Request) -> web.Response:
        asked = json.loads(await request.text())["messages"]
        await asyncio.sleep(CALL_S)
        text = f"[[start]]\nanswer {next(numbers)}\n[[end]]" if len(asked) > 1 else "Final Judgement: No"
        choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        return web.json_response({"choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": 1}})

    app = web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    return runner, f"{site.name.rsplit(':', 1)[0]}:{runner.addresses[0][1]}/v1"


async def search(backend: OpenAIBackend | Serial) -> tuple[SearchResult, float]:
    templates = load_templates("default")
    began = time.perf_counter()
    models = Models(
        actor=backend,
        judge=Judge(backend=backend, templates=templates, votes=1),
        refiner=Refiner(backend=backend, templates=templates),
    )
    result = await Searcher(models, SearchConfig(votes=1)).run(
        [Message("user", "Write.")],
        draft=Completion("draft", "stop", Usage()),
        draft_judgement=Judgement((Vote("bad.\nFinal Judgement: No", False),)),
    )
    return result, time.perf_counter() - began


async def main() -> None:
    runner, url = await serve()
    backend = OpenAIBackend(base_url=url, model="m")
    concurrent, fast = await search(backend)
    serial, slow = await search(Serial(backend))
    await backend.aclose()
    await runner.cleanup()
    calls = sum(concurrent.calls.values())
    print(f"nodes {concurrent.nodes} (serial {serial.nodes}), calls {calls} at {CALL_S} s each")
    print(f"ours {fast:.2f} s, serial {slow:.2f} s, ratio {slow / fast:.2f}")
    print(f"critical path {fast / CALL_S:.1f} calls; bar: at most 3.3 s: {'met' if fast <= 3.3 else 'MISSED'}")


if __name__ == "__main__":
    asyncio.run(main())
