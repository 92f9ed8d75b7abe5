"""`spar chat`: a conversation in the terminal that shows how each answer was made."""

from __future__ import annotations

import asyncio
import difflib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from rich.console import Console
from rich.markup import escape
from rich.text import Text

from spar_core.backends.openai.sse import data_lines
from spar_core.errors import BackendError, BackendUnavailable


@dataclass
class Chat:
    """One conversation with one server."""

    session: aiohttp.ClientSession
    model: str
    budget: int
    seed: int | None
    console: Console
    turns: list[dict[str, str]] = field(default_factory=list)

    async def ask(self, question: str) -> None:
        """Ask, show the search as it runs and the answer with what it changed in the draft."""
        turns = [*self.turns, {"role": "user", "content": question}]
        answer, usage, draft = "", None, None
        async for chunk in self._chunks(turns):
            usage = chunk.get("usage") or usage
            tree = (chunk.get("spar") or {}).get("tree")
            draft = tree["nodes"][0]["text"] if tree else draft
            for choice in chunk.get("choices", ()):
                delta = choice["delta"]
                if thought := delta.get("reasoning_content"):
                    self.console.print(Text(thought, style="dim"), end="")
                answer += delta.get("content") or ""
                if self.budget == 0:
                    self.console.print(Text(delta.get("content") or ""), end="")
        if self.budget:
            self.console.rule("answer")
            self.console.print(Text(answer) if draft in (None, answer) else changes(draft, answer))
        self.console.print()
        if usage:
            self.console.print(Text(_account(usage), style="dim"))
        self.turns = [*turns, {"role": "assistant", "content": answer}]

    async def _chunks(self, turns: list[dict[str, str]]) -> AsyncIterator[dict[str, Any]]:
        body = {
            "model": self.model,
            "messages": turns,
            "stream": True,
            "stream_options": {"include_usage": True},
            "refine_budget": self.budget,
            "refine": {"trace": "full"},
        }
        if self.seed is not None:
            body["seed"] = self.seed
        async with self.session.post("/v1/chat/completions", json=body) as response:
            if response.status != 200:
                raise BackendError(_complaint(await response.text()))
            async for data in data_lines(response.content.iter_any()):
                if data == "[DONE]":
                    return
                chunk: dict[str, Any] = json.loads(data)
                if "error" in chunk:
                    raise BackendError(chunk["error"]["message"])
                yield chunk
        raise BackendUnavailable("the server ended its stream too early")


def changes(draft: str, answer: str) -> Text:
    """The answer with what the refinement took out of the draft and put in, word by word."""
    before, after = _words(draft), _words(answer)
    text = Text()
    for kind, i, j, k, m in difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if kind == "equal":
            text.append("".join(after[k:m]))
            continue
        text.append("".join(before[i:j]), style="red strike")
        text.append("".join(after[k:m]), style="bold green")
    return text


def _words(text: str) -> list[str]:
    words = text.replace("\n", " \n ").split(" ")
    return [word if word == "\n" else f"{word} " for word in words if word]


def _account(usage: dict[str, Any]) -> str:
    refinement = usage.get("refinement", {})
    return (
        f"{refinement.get('stop_reason')} · {refinement.get('nodes')} of {refinement.get('budget')} nodes · "
        f"{usage['completion_tokens']} tokens · {refinement.get('duration_ms', 0) / 1000:.1f} s"
    )


def _complaint(body: str) -> str:
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return body[:200]


async def _converse(
    url: str, budget: int, once: str | None, model: str | None, seed: int | None, api_key: str | None
) -> None:
    console = Console(highlight=False)
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=5)
    async with aiohttp.ClientSession(url, headers=headers, timeout=timeout) as session:
        try:
            if model is None:
                async with session.get("/v1/models") as response:
                    model = (await response.json())["data"][0]["id"]
            conversation = Chat(session, model or "", budget, seed, console)
            if once is not None:
                await conversation.ask(once)
                return
            console.print(f"Talking to {escape(conversation.model)} at {escape(url)}. An empty line ends it.")
            while question := (await asyncio.to_thread(console.input, "[bold]> [/bold]")).strip():
                await conversation.ask(question)
        except aiohttp.ClientError as error:
            raise BackendUnavailable(f"no server at {url} ({error}); start one with `spar serve`") from error


def run(*, url: str, budget: int, once: str | None, model: str | None, seed: int | None, api_key: str | None) -> None:
    """Run the conversation.

    Raises:
        BackendError: the server cannot be reached or refuses.
    """
    try:
        asyncio.run(_converse(url, budget, once, model, seed, api_key))
    except (KeyboardInterrupt, EOFError):
        return
