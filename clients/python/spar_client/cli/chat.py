"""`spar chat`: a conversation in the terminal that shows the search behind each answer.

If stdin is not a terminal, all of it is one question. If stdout is none, only the answer is written there.
"""

from __future__ import annotations

import random
import sys
from dataclasses import dataclass, field
from typing import Final

from rich.table import Table
from rich.text import Text

from spar_client.cli.line_input import LineInput, history_file
from spar_client.cli.screen import Screen, open_screen, printable, word_diff
from spar_client.cli.search_view import SearchView, draw_tree, format_usage, print_node, read_node_name
from spar_client.client import Client, Stream
from spar_client.completion import Completion
from spar_client.errors import APIProtocolError, ClientError
from spar_client.events import AnswerEvent, ReasoningEvent
from spar_client.options import ChatOptions

DEFAULT_BUDGET: Final = 8
HELP: Final = """\
/budget 8           spend up to 8 nodes on each answer; 0 shows the actor's own
/trace              draw the search of the last answer; /trace 1.2 shows one node with its votes
/compare            answer the last question with budget 0 and the present one; /compare 2 16 with these
/history            show the conversation
/clear              forget the conversation
/help               show this
/quit               leave, as Ctrl-D does
A line that ends with \\ goes on in the next one, and \"\"\" opens and closes a text of several lines."""


class CommandError(Exception):
    """A slash command that cannot be carried out."""


@dataclass
class Chat:
    """A conversation with a server."""

    client: Client
    model: str
    budget: int
    seed: int | None
    screen: Screen
    turns: list[dict[str, str]] = field(default_factory=list)
    last: Completion | None = None

    def ask(self, question: str) -> None:
        """Ask a question; show the search as it runs, then the answer with its changes to the draft.

        Raises:
            ClientError: there is no answer; the question is then left out of the conversation.
        """
        turns = [*self.turns, {"role": "user", "content": question}]
        with self._open(turns, self.budget, self.seed) as stream:
            completion = self._show_search(stream) if self.budget else self._show_tokens(stream)
        self.screen.answers.print()
        self.screen.note(format_usage(completion), style="dim")
        self.turns, self.last = [*turns, {"role": "assistant", "content": completion.text}], completion

    def compare(self, first: int, second: int) -> None:
        """Answer the last question with two budgets, and show both. The conversation stays as it is."""
        if not self.turns:
            raise CommandError("there is no question yet to compare answers to")
        # The same seed, so that both start from the same draft.
        seed = random.getrandbits(31) if self.seed is None else self.seed
        answers = []
        for budget in (first, second):
            with self.screen.progress.status(f"Answering with budget {budget}"):
                answers.append(self._open(self.turns[:-1], budget, seed).completion())
        before, after = (printable(answer.text) for answer in answers)
        table = Table(f"budget {first}", f"budget {second}", show_lines=True)
        table.add_row(Text(before), word_diff(before, after) if self.screen.shows_changes else Text(after))
        table.add_row(*(Text(printable(format_usage(answer)), style="dim") for answer in answers))
        self.screen.progress.print(table)

    def show_trace(self, name: str | None) -> None:
        tree = self.last.tree if self.last else None
        if tree is None:
            raise CommandError("there is no answer yet whose search could be drawn")
        if name is None:
            self.screen.progress.print(draw_tree(tree))
            return
        path = read_node_name(name)
        node = next((node for node in tree.nodes if node.path == path), None)
        if node is None:
            raise CommandError(f"the search has no node {name}; /trace lists them")
        print_node(self.screen, node)

    def show_history(self) -> None:
        for turn in self.turns:
            self.screen.note(f"{'>' if turn['role'] == 'user' else ' '} {turn['content']}\n")

    def _open(self, turns: list[dict[str, str]], budget: int, seed: int | None) -> Stream:
        options: ChatOptions = {"model": self.model, "refine_budget": budget, "refine": {"trace": "full"}}
        if seed is not None:
            options["seed"] = seed
        return self.client.stream(turns, **options)

    def _show_search(self, stream: Stream) -> Completion:
        view = SearchView(self.screen, self.budget)
        with self.screen.progress.status(view.status) as status:
            for event in stream:
                view.show(event)
                status.update(view.status)
        completion = stream.completion()
        self.screen.progress.rule("answer")
        self.screen.changed_answer(view.draft or completion.text, completion.text)
        return completion

    def _show_tokens(self, stream: Stream) -> Completion:
        for event in stream:
            if isinstance(event, ReasoningEvent):
                self.screen.note(event.text, style="dim", end="")
            elif isinstance(event, AnswerEvent):
                self.screen.answer(event.text)
        return stream.completion()


def _converse(chat: Chat) -> None:
    """Ask questions from the terminal until the input is over. An error ends only its own question."""
    with LineInput(chat.screen, history_file()) as lines:
        while True:
            try:
                line = lines.question().strip()
                if line == "/quit":
                    return
                if line.startswith("/"):
                    _command(chat, line)
                elif line:
                    chat.ask(line)
            except EOFError:
                chat.screen.note()
                return
            except KeyboardInterrupt:
                chat.screen.note("\nstopped", style="dim")
            except (ClientError, CommandError) as error:
                chat.screen.error(error)


def _command(chat: Chat, line: str) -> None:
    name, *words = line.removeprefix("/").split()
    match name, words:
        case "budget", [number]:
            chat.budget = _number(number)
            chat.screen.note(f"Up to {chat.budget} nodes for each answer from now on.", style="dim")
        case "budget", []:
            chat.screen.note(f"The budget is {chat.budget} nodes for each answer.", style="dim")
        case "trace", []:
            chat.show_trace(None)
        case "trace", [node]:
            chat.show_trace(node)
        case "compare", []:
            chat.compare(0, chat.budget or DEFAULT_BUDGET)
        case "compare", [first, second]:
            chat.compare(_number(first), _number(second))
        case "history", []:
            chat.show_history()
        case "clear", []:
            chat.turns, chat.last = [], None
        case _:
            if name != "help":
                chat.screen.error(f"{line}: no such command")
            chat.screen.note(HELP, style="dim")


def _number(word: str) -> int:
    if not word.isascii() or not word.isdecimal():
        raise CommandError(f"{word}: a budget is a whole number of at least 0")
    return int(word)


def run(*, client: Client, budget: int, once: str | None, model: str | None, seed: int | None) -> None:
    """Answer one question, from `once` or a pipe, or hold a conversation.

    Raises:
        ClientError: the server cannot be reached, or refuses the one question.
        ValueError: the pipe has no question.
    """
    screen = open_screen()
    question = once if once is not None or sys.stdin.isatty() else sys.stdin.read()
    if question is not None and not question.strip():
        raise ValueError("there is no question: give --once QUESTION, or text on stdin")
    chat = Chat(client, model or _first_model(client), budget, seed, screen)
    if question is not None:
        chat.ask(question.rstrip("\n"))
        return
    screen.note(f"Talking to {chat.model}. /help lists the commands; Ctrl-D ends the conversation.", style="dim")
    _converse(chat)


def _first_model(client: Client) -> str:
    models = client.models()
    if not models:
        raise APIProtocolError("the server has no model that this key may use")
    return models[0].id
