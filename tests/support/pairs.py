"""Scripted pairs for tests of the gateway."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

from spar_core.backends.scripted import Script, ScriptedBackend, always
from spar_core.prompts import load_templates
from spar_core.types import Message, Sampling
from spar_server.models.pair import ServedPair


def refiner_script(messages: Sequence[Message], sampling: Sampling) -> str:
    """Accepts only the refined answer, and refines everything to it."""
    if messages[-1].text == "Refine the response.":
        return "[[start]]\nbetter answer\n[[end]]"
    good = messages[0].text.endswith("Response: better answer")
    return f"1. be better -> {'yes' if good else 'no'}\nFinal Judgement: {'Yes' if good else 'No'}"


class RawScripted(ScriptedBackend):
    """A scripted backend that also passes requests through, and records them."""

    async def forward(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        json.dumps(body, allow_nan=False).encode()
        await asyncio.sleep(self.latency_s)
        return {"object": "list", "data": []}

    async def forward_stream(self, path: str, body: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        yield await self.forward(path, body)


def scripted_pair(actor: Script | None = None, refiner: Script = refiner_script, latency_s: float = 0.0) -> ServedPair:
    return ServedPair(
        name="pair",
        actor=ScriptedBackend(actor or always("a plain draft"), latency_s=latency_s),
        refiner=ScriptedBackend(refiner, latency_s=latency_s),
        templates=load_templates("compact"),
        actor_sampling=Sampling(temperature=None, top_p=None),
        judge_sampling=Sampling(temperature=0.7, max_tokens=64),
        refine_sampling=Sampling(temperature=0.7, max_tokens=64),
    )
