"""Probe a server before it is used: is its address, its key or its model's name wrong?

problem = await find_problem("http://gpu:8001", model="my-actor", api_key=None)
# "the address lacks /v1: set it to http://gpu:8001/v1"
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any, Final

import aiohttp

from spar_core.backends.openai.redact import without_password
from spar_core.backends.openai.streaming import read_beginning

_ANSWER_S: Final = 5.0
# Catalogues of hundreds of models are shorter.
_MAX_BYTES: Final = 2**22
_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class _Reply:
    status: int
    body: object

    @property
    def models(self) -> list[str] | None:
        """The names in a list of models; None for any other answer."""
        data = self.body.get("data") if self.status == 200 and isinstance(self.body, dict) else None
        if not isinstance(data, list):
            return None
        return [each["id"] for each in data if isinstance(each, dict) and isinstance(each.get("id"), str)]


async def find_problem(base_url: str, *, model: str, api_key: str | None) -> str | None:
    """What is wrong and how to fix it, in one sentence; None if no problem is visible.

    Requests the server's list of models and, unless that names `model`, one token from it: some servers accept names
    that they do not list, and some have no list.
    """
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    async with aiohttp.ClientSession(headers=headers, cookie_jar=aiohttp.DummyCookieJar()) as session:
        try:
            async with asyncio.timeout(_ANSWER_S):
                return await _problem(session, base_url.rstrip("/"), model)
        except TimeoutError:
            return f"it did not answer within {_ANSWER_S:g} s; it may still be starting, or the address is wrong"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return f"no server answers there ({type(error).__name__}); start it, or correct the address"


async def _problem(session: aiohttp.ClientSession, base_url: str, model: str) -> str | None:
    listed = await _request(session, "GET", f"{base_url}/models")
    if (problem := _refusal(listed.status)) is not None:
        return problem
    if listed.models is not None and {model, f"{model}:latest"} & set(listed.models):
        return None
    if listed.models is None and (await _request(session, "GET", f"{base_url}/v1/models")).models is not None:
        return f"the address lacks /v1: set it to {without_password(base_url)}/v1"
    one_token = {"model": model, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
    answered = await _request(session, "POST", f"{base_url}/chat/completions", one_token)
    if answered.status == 200 and isinstance(answered.body, dict) and answered.body.get("choices"):
        return None
    if listed.models is not None:
        return f"it has no model {model!r}; {_alternatives(listed.models)}"
    return _refusal(answered.status) or (
        f"it does not answer as an OpenAI-compatible server (/models: {listed.status}, /chat/completions: "
        f"{answered.status}); the address usually ends in /v1"
    )


def _refusal(status: int) -> str | None:
    """The problem that a status shows, whatever the request was."""
    if status in (401, 403):
        return f"it refuses the key ({status}); set api_key"
    if 300 <= status < 400:
        return f"it redirects ({status}), which is not followed to another server; set the address that it leads to"
    # A server without the route may say 501.
    if status >= 500 and status != 501:
        return f"it answers {status}: it is broken, or still starting"
    return None


def _alternatives(models: list[str]) -> str:
    if not models:
        return "it lists none"
    more = f" and {len(models) - _SHOWN} more" if len(models) > _SHOWN else ""
    return f"it has {', '.join(name[:80] for name in models[:_SHOWN])}{more}"


async def _request(session: aiohttp.ClientSession, method: str, url: str, body: dict[str, Any] | None = None) -> _Reply:
    async with session.request(method, url, json=body, allow_redirects=False) as response:
        text = await read_beginning(response.content, _MAX_BYTES)
        try:
            return _Reply(response.status, json.loads(text))
        except (ValueError, RecursionError):
            return _Reply(response.status, None)
