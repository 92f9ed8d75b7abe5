"""Render conversations to tokens with any chat template, and mark the assistant's tokens.

    rendered = Renderer(tokenizer).conversation(row["messages"])
    labels = [token if target else -100 for token, target in zip(rendered.ids, rendered.targets)]

Most templates do not mark the assistant's turns, so they are found by growing the conversation: a turn is the text it
adds to what came before. Prompts get exactly the tokens they get in serving, and answers the tokens that follow. The
end token belongs to the answer, so that a model learns to stop; where a template leaves it to the next turn (GLM-4's
answers end where `<|user|>` begins), the token that would follow is used.

As in serving, the content of a turn is plain text even where it spells a control token.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jinja2

from spar_core.backends.chat_template import control_tokens, placeholder, tokenize_with_contents
from spar_core.errors import DataError

Turn = dict[str, str]


@dataclass(frozen=True)
class Rendered:
    """A conversation's tokens. `targets` marks those of the assistant; `last` is where its last turn begins."""

    ids: list[int]
    targets: list[bool]
    last: int


class Renderer:
    """A tokenizer's chat template. `ends` are the tokens at which the model stops (default: the tokenizer's own)."""

    def __init__(self, tokenizer: Any, *, ends: Sequence[int] = ()) -> None:
        self._tokenizer = tokenizer
        own = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
        self._ends = frozenset(ends or own)
        self._controls = control_tokens(tokenizer)

    def conversation(self, turns: Sequence[Turn]) -> Rendered:
        """All turns, those of the assistant as targets.

        Raises:
            DataError: the template rejects the turns, or renders earlier turns differently once later ones follow.
        """
        chat = self._chat(turns)
        ids: list[int] = []
        targets: list[bool] = []
        text = ""
        last = 0
        open_end = False
        for number, turn in enumerate(turns):
            if turn["role"] != "assistant":
                continue
            before = chat.text(number, prompt=True)
            if not before.startswith(text):
                raise DataError(
                    "the chat template renders earlier turns differently once later ones follow, so a row can have "
                    "only one answer; split the row, or use a template that only appends"
                )
            prompt_ids = chat.appended(ids, before[len(text) :], before)
            # An end token that the template leaves to the next turn is the first that this turn adds.
            targets += [open_end and index == 0 and token in self._ends for index, token in enumerate(prompt_ids)]
            ids += prompt_ids
            answer = self._answer_text(chat, number, before)
            text = before + answer
            answer_ids = chat.appended(ids, answer, text)
            last = len(ids)
            end = self._end(answer_ids)
            open_end = end is None
            targets += [end is None or index <= end for index in range(len(answer_ids))]
            ids += answer_ids
        if open_end:
            ids.append(self._closing_token)
            targets.append(True)
        return Rendered(ids, targets, last)

    def prompt(self, turns: Sequence[Turn]) -> list[int]:
        """The tokens that a server makes of these turns, up to where the answer begins.

        Raises:
            DataError: the template rejects the turns.
        """
        chat = self._chat(turns)
        return chat.tokens(chat.text(len(turns), prompt=True))

    def answer(self, turns: Sequence[Turn], content: str) -> list[int]:
        """The tokens of the assistant's answer to a prompt, ending in the end token.

        Raises:
            DataError: the template rejects the turns.
        """
        chat = self._chat([*turns, {"role": "assistant", "content": content}])
        before = chat.text(len(turns), prompt=True)
        answer = self._answer_text(chat, len(turns), before)
        ids = chat.appended(chat.tokens(before), answer, before + answer)
        end = self._end(ids)
        return [*ids, self._closing_token] if end is None else ids[: end + 1]

    def _chat(self, turns: Sequence[Turn]) -> _Chat:
        spelled = any(control in turn["content"] for turn in turns for control in self._controls)
        return _Chat(self._tokenizer, turns, placeholders=spelled)

    def _answer_text(self, chat: _Chat, number: int, before: str) -> str:
        """The text that the assistant's turn of that number adds."""
        after = chat.text(number + 1)
        if after.startswith(before):
            return after[len(before) :]
        # Mistral's template omits the system message where the last turn is an answer. The prompt stays as in serving,
        # and the answer is rendered as it is after any other prompt.
        alone = chat.alone(number)
        before, after = alone.text(1, prompt=True), alone.text(2)
        if not after.startswith(before):
            raise DataError("the chat template renders a prompt differently once it is answered; use another template")
        return after[len(before) :]

    def _end(self, answer: Sequence[int]) -> int | None:
        """The index of an answer's end token; templates may write a line break after it."""
        return next((index for index in reversed(range(len(answer))) if answer[index] in self._ends), None)

    @cached_property
    def _closing_token(self) -> int:
        """The end of an answer that the template leaves open: the first token of a user's turn if the model stops
        there, else the end-of-sequence token.
        """
        turns = [{"role": role, "content": "a"} for role in ("user", "assistant", "user")]
        chat = self._chat(turns)
        answered, continued = chat.text(2), chat.text(3)
        following = chat.tokens(continued[len(answered) :]) if continued.startswith(answered) else []
        if following and following[0] in self._ends:
            return following[0]
        if self._tokenizer.eos_token_id is None:
            raise DataError("the tokenizer has no end-of-sequence token, so a model would never learn to stop; set one")
        return int(self._tokenizer.eos_token_id)


class _Chat:
    """A conversation in the template. With `placeholders`, contents are tokenized apart from the template, so that
    control tokens spelled in them stay text.
    """

    def __init__(self, tokenizer: Any, turns: Sequence[Turn], *, placeholders: bool) -> None:
        self._tokenizer = tokenizer
        self._contents = [turn["content"] for turn in turns] if placeholders else None
        self._turns = [
            {"role": turn["role"], "content": placeholder(number) if placeholders else turn["content"]}
            for number, turn in enumerate(turns)
        ]

    def text(self, count: int, *, prompt: bool = False) -> str:
        """The first `count` turns; with `prompt`, up to where the assistant's answer begins."""
        try:
            return str(
                self._tokenizer.apply_chat_template(self._turns[:count], tokenize=False, add_generation_prompt=prompt)
            )
        except jinja2.TemplateError as error:
            raise DataError(f"the chat template rejects the turns: {error}") from error

    def tokens(self, text: str) -> list[int]:
        if self._contents is None:
            # The template has written the special tokens; the tokenizer must not add a second beginning.
            return list(self._tokenizer.encode(text, add_special_tokens=False))
        return tokenize_with_contents(self._tokenizer, text, self._contents)

    def alone(self, number: int) -> _Chat:
        """A chat of one user's turn and the answer of that number."""
        other = copy(self)
        other._turns = [{"role": "user", "content": "a"}, self._turns[number]]
        return other

    def appended(self, ids: list[int], added: str, whole: str) -> list[int]:
        """The tokens of `added`, the end of `whole`; `ids` are the tokens before it."""
        tokens = self.tokens(whole)
        # Where tokens would merge across the boundary, `added` is tokenized by itself: an answer is generated after the
        # prompt's tokens, which no longer change.
        return tokens[len(ids) :] if tokens[: len(ids)] == ids else self.tokens(added)
