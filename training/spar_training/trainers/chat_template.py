"""Conversations as tokens, by any chat template, and which of these tokens the assistant said.

Most templates do not mark what the assistant says, so it is found by growing the conversation: what a turn adds to the
text before it is that turn. A prompt gets the very tokens that it gets when it is served, and an answer those that
come after them. An answer's end mark is part of it, so that a model learns to stop; where a template leaves it to the
next turn (GLM-4's answers end where `<|user|>` begins), the mark that would follow is taken.

What a turn says is text, as it is when it is served, also where it spells a control token.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import jinja2

from spar_core.errors import DataError

Turn = dict[str, str]
# Private-use characters: where what a turn says stood in a rendered template.
_PLACE: Final = re.compile("\ue000(\\d+)\ue001")


@dataclass(frozen=True)
class Rendered:
    """A conversation's tokens. `targets` marks what the assistant says; `last` is where its last turn begins."""

    ids: list[int]
    targets: list[bool]
    last: int


class Renderer:
    """One tokenizer's chat template. `ends` are the tokens at which the model stops."""

    def __init__(self, tokenizer: Any, *, ends: Sequence[int] = ()) -> None:
        self._tokenizer = tokenizer
        own = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
        self._ends = frozenset(ends or own)
        self._controls = [str(token) for token in tokenizer.added_tokens_decoder.values() if token.special]

    def conversation(self, turns: Sequence[Turn]) -> Rendered:
        """All turns; each of the assistant's is a target.

        Raises:
            DataError: the template refuses the turns, or renders earlier ones otherwise once later ones follow.
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
                    "the chat template renders earlier turns otherwise once later ones follow, so a row can have only "
                    "one answer; split it, or use a template that only appends"
                )
            asked = chat.grown(ids, before[len(text) :], before)
            # An end mark that the template leaves to the next turn is the first of what that turn adds.
            targets += [open_end and place == 0 and token in self._ends for place, token in enumerate(asked)]
            ids += asked
            answer = self._answer_text(chat, number, before)
            text = before + answer
            said = chat.grown(ids, answer, text)
            last = len(ids)
            end = self._end(said)
            open_end = end is None
            targets += [end is None or place <= end for place in range(len(said))]
            ids += said
        if open_end:
            ids.append(self._closing_token)
            targets.append(True)
        return Rendered(ids, targets, last)

    def prompt(self, turns: Sequence[Turn]) -> list[int]:
        """The tokens that a server makes of these turns, up to where the answer begins.

        Raises:
            DataError: the template refuses the turns.
        """
        chat = self._chat(turns)
        return chat.tokens(chat.text(len(turns), prompt=True))

    def answer(self, turns: Sequence[Turn], content: str) -> list[int]:
        """The tokens of the assistant's answer to a prompt, its end mark last.

        Raises:
            DataError: the template refuses the turns.
        """
        chat = self._chat([*turns, {"role": "assistant", "content": content}])
        before = chat.text(len(turns), prompt=True)
        answer = self._answer_text(chat, len(turns), before)
        said = chat.grown(chat.tokens(before), answer, before + answer)
        end = self._end(said)
        return [*said, self._closing_token] if end is None else said[: end + 1]

    def _chat(self, turns: Sequence[Turn]) -> _Chat:
        spelled = any(control in turn["content"] for turn in turns for control in self._controls)
        return _Chat(self._tokenizer, turns, apart=spelled)

    def _answer_text(self, chat: _Chat, number: int, before: str) -> str:
        """What the assistant's turn of that number adds to the text before it."""
        after = chat.text(number + 1)
        if after.startswith(before):
            return after[len(before) :]
        # Mistral's template leaves a system text out where the last turn is an answer: the prompt stays what is
        # served, and the answer is written as it is after any other.
        alone = chat.alone(number)
        before, after = alone.text(1, prompt=True), alone.text(2)
        if not after.startswith(before):
            raise DataError("the chat template renders a prompt otherwise once it is answered; use another")
        return after[len(before) :]

    def _end(self, said: Sequence[int]) -> int | None:
        """Where an answer's end mark stands; templates may write a line break after it."""
        return next((place for place in reversed(range(len(said))) if said[place] in self._ends), None)

    @cached_property
    def _closing_token(self) -> int:
        """What ends an answer that the template does not end: what a user's next turn begins with, if that stops."""
        turns = [{"role": role, "content": "a"} for role in ("user", "assistant", "user")]
        chat = self._chat(turns)
        said, more = chat.text(2), chat.text(3)
        following = chat.tokens(more[len(said) :]) if more.startswith(said) else []
        if following and following[0] in self._ends:
            return following[0]
        if self._tokenizer.eos_token_id is None:
            raise DataError("the tokenizer has no end-of-sequence token, so a model would never learn to stop; set one")
        return int(self._tokenizer.eos_token_id)


class _Chat:
    """One conversation by the template. `apart` renders places for what the turns say and tokenizes that apart, so
    that control tokens that are spelled in it stay text.
    """

    def __init__(self, tokenizer: Any, turns: Sequence[Turn], *, apart: bool) -> None:
        self._tokenizer = tokenizer
        self._said = [turn["content"] for turn in turns] if apart else None
        self._turns = [
            {"role": turn["role"], "content": f"\ue000{number}\ue001" if apart else turn["content"]}
            for number, turn in enumerate(turns)
        ]

    def text(self, count: int, *, prompt: bool = False) -> str:
        """The first `count` turns; `prompt` goes on up to where the assistant's answer begins."""
        try:
            return str(
                self._tokenizer.apply_chat_template(self._turns[:count], tokenize=False, add_generation_prompt=prompt)
            )
        except jinja2.TemplateError as error:
            raise DataError(f"the chat template refuses the turns: {error}") from error

    def tokens(self, text: str) -> list[int]:
        # The template has written the special tokens already; the tokenizer must not add a second beginning.
        if self._said is None:
            return list(self._tokenizer.encode(text, add_special_tokens=False))
        ids: list[int] = []
        for index, piece in enumerate(_PLACE.split(text)):
            # Every second piece is the number of the turn that stood there.
            said = index % 2 == 1
            content = self._said[int(piece)] if said else piece
            ids += self._tokenizer(content, add_special_tokens=False, split_special_tokens=said)["input_ids"]
        return ids

    def alone(self, number: int) -> _Chat:
        """A chat of one user's turn with the answer of that number."""
        other = copy(self)
        other._turns = [{"role": "user", "content": "a"}, self._turns[number]]
        return other

    def grown(self, ids: list[int], added: str, whole: str) -> list[int]:
        """The tokens of `added`, the end of `whole`; `ids` are those of what stands before it."""
        tokens = self.tokens(whole)
        # Where tokens would merge across the border the addition is tokenized by itself: an answer is generated after
        # the prompt's tokens, and these do not change any more.
        return tokens[len(ids) :] if tokens[: len(ids)] == ids else self.tokens(added)
