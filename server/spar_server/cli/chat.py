"""`spar chat`: a conversation in the terminal that shows the search behind each answer.

If stdout is not a terminal, only the answers are written there, verbatim, and everything else to stderr.
"""

from __future__ import annotations

import asyncio
import difflib
import json
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
from rich.console import Console
from rich.markup import escape
from rich.text import Text
from yarl import URL

from spar_core.backends.openai.streaming import data_lines
from spar_core.errors import BackendError, BackendRejected, BackendUnavailable, ConfigError

# In bytes; the last event contains the whole tree.
_MAX_EVENT: Final = 2**26


# Characters that can control a terminal: control characters, which start escape sequences, and bidi overrides.
_TERMINAL_CONTROLS: Final = {
    code: None
    for code in (*range(32), *range(127, 160), *range(0x202A, 0x202F), *range(0x2066, 0x206A))
    if chr(code) not in "\n\t"
}


def printable(text: str) -> str:
    """Remove what can control a terminal from text that a server or a model wrote.

    >>> printable("a\\x1b[31m b")
    'a[31m b'
    """
    return text.translate(_TERMINAL_CONTROLS)


@dataclass(frozen=True)
class Screen:
    """Output of the command: one console for answers and one for everything else."""

    answers: Console
    progress: Console

    @property
    def shows_changes(self) -> bool:
        """Whether the terminal can show struck-through text."""
        return self.answers.is_terminal and self.answers.color_system is not None

    def answer(self, text: str) -> None:
        """Show a piece of an answer. Into a pipe it is written verbatim, because a `Console` expands tabs."""
        if self.answers.is_terminal:
            self.answers.print(Text(printable(text)), end="")
        else:
            self.answers.file.write(printable(text))
            self.answers.file.flush()

    def print_error(self, error: Exception) -> None:
        self.progress.print(Text(str(error), style="red"))


def screen() -> Screen:
    """The screen of this process."""
    answers = Console(highlight=False, soft_wrap=True)
    return Screen(answers, answers if answers.is_terminal else Console(stderr=True, highlight=False, soft_wrap=True))


@dataclass
class Chat:
    """A conversation with a server."""

    session: aiohttp.ClientSession
    model: str
    budget: int
    seed: int | None
    screen: Screen
    turns: list[dict[str, str]] = field(default_factory=list)

    async def ask(self, question: str) -> None:
        """Ask a question; show the search as it runs, then the answer with its changes to the draft.

        Raises:
            BackendError: there is no answer; the question is then left out of the conversation.
        """
        turns = [*self.turns, {"role": "user", "content": question}]
        answer, usage, draft = "", None, None
        async with aclosing(self._chunks(turns)) as chunks:
            async for chunk in chunks:
                usage = chunk.get("usage") or usage
                tree = (chunk.get("spar") or {}).get("tree")
                draft = tree["nodes"][0]["text"] if tree else draft
                for choice in chunk.get("choices", ()):
                    answer += self._show(choice["delta"])
        if self.budget:
            self.screen.progress.rule("answer")
            self._show_answer(answer, draft)
        self.screen.answers.print()
        if usage:
            self.screen.progress.print(Text(_format_usage(usage), style="dim"))
        self.turns = [*turns, {"role": "assistant", "content": answer}]

    def _show_answer(self, answer: str, draft: str | None) -> None:
        if draft in (None, answer) or not self.screen.shows_changes:
            self.screen.answer(answer)
        else:
            self.screen.answers.print(word_diff(printable(draft), printable(answer)), end="")

    def _show(self, delta: dict[str, Any]) -> str:
        """Print the reasoning, and the content unless a search is running; return the content."""
        if reasoning := delta.get("reasoning_content"):
            self.screen.progress.print(Text(printable(reasoning), style="dim"), end="")
        text: str = delta.get("content") or ""
        if self.budget == 0:
            self.screen.answer(text)
        return text

    async def _chunks(self, turns: list[dict[str, str]]) -> AsyncGenerator[dict[str, Any], None]:
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
                raise BackendError(printable(_error_message(await response.text())))
            async for data in data_lines(response.content.iter_any(), _MAX_EVENT):
                if data == b"[DONE]":
                    return
                chunk: dict[str, Any] = json.loads(data)
                if "error" in chunk:
                    raise BackendError(printable(chunk["error"]["message"]))
                yield chunk
        raise BackendUnavailable("the server closed its stream before the end")


def word_diff(draft: str, answer: str) -> Text:
    """Return `answer` with the words removed from `draft` struck through and the added ones in bold.

    Without the struck-through words the text is exactly the answer.
    """
    before, after = _split_words(draft), _split_words(answer)
    text = Text()
    for kind, i, j, k, m in difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if kind == "equal":
            text.append("".join(after[k:m]))
            continue
        text.append("".join(before[i:j]), style="red strike")
        text.append("".join(after[k:m]), style="bold green")
    return text


def _split_words(text: str) -> list[str]:
    """Split into words, each with the whitespace after it; joined, they are the text."""
    return re.findall(r"\S+\s*|\s+", text)


def _format_usage(usage: dict[str, Any]) -> str:
    refinement, tokens = usage.get("refinement", {}), usage["completion_tokens"]
    return printable(
        f"{refinement.get('stop_reason')} · {refinement.get('nodes')} of {refinement.get('budget')} nodes · "
        f"{'?' if tokens is None else tokens} tokens · {refinement.get('duration_ms', 0) / 1000:.1f} s"
    )


def _error_message(body: str) -> str:
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return body[:200]


async def _open(url: str, api_key: str | None) -> aiohttp.ClientSession:
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    # Other clients take the address with /v1.
    base = url.rstrip("/").removesuffix("/v1")
    try:
        address = URL(base)
        if address.scheme not in ("http", "https") or not address.host:
            raise ValueError("it lacks http:// or a host")
    except ValueError as error:
        raise ConfigError(f"--url {url}: must be an address such as http://127.0.0.1:8000 ({error})") from error
    return aiohttp.ClientSession(address, headers=headers, timeout=aiohttp.ClientTimeout(total=None, sock_connect=5))


async def _first_model(session: aiohttp.ClientSession, url: str) -> str:
    async with session.get("/v1/models") as response:
        body = printable(await response.text())
        if response.status in (401, 403):
            raise BackendRejected(f"{url}: {_error_message(body)}; give --api-key, or set OPENAI_API_KEY")
        try:
            return str(json.loads(body)["data"][0]["id"])
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise BackendError(f"{url} is not a SPaR Server: {_error_message(body)}") from error


def _converse(runner: asyncio.Runner, chat: Chat) -> None:
    """Ask questions from the terminal until an empty one. An error ends only its own question.

    The terminal is read outside the event loop, so that Ctrl-C interrupts the reading at once.
    """
    while question := chat.screen.progress.input("[bold]> [/bold]").strip():
        try:
            runner.run(chat.ask(question))
        except KeyboardInterrupt:
            chat.screen.progress.print("\n[dim]stopped[/dim]")
        except BackendError as error:
            chat.screen.print_error(error)


def run(*, url: str, budget: int, once: str | None, model: str | None, seed: int | None, api_key: str | None) -> None:
    """Run the conversation.

    Raises:
        ConfigError: `url` is not a valid address.
        BackendError: the server cannot be reached, or refuses the one question.
    """
    shown = screen()
    with asyncio.Runner() as runner:
        session = runner.run(_open(url, api_key))
        try:
            chat = Chat(session, model or runner.run(_first_model(session, url)), budget, seed, shown)
            if once is not None:
                runner.run(chat.ask(once))
                return
            shown.progress.print(f"Talking to {escape(printable(chat.model))} at {escape(url)}. An empty line ends it.")
            _converse(runner, chat)
        except aiohttp.ClientError as error:
            raise BackendUnavailable(f"no server at {url} ({error}); start one with `spar serve`") from error
        except (KeyboardInterrupt, EOFError):
            shown.progress.print()
        finally:
            runner.run(session.close())
