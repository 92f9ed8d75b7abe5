"""Conversations as tokens, by any chat template, and which of these tokens the assistant said.

Most templates do not mark what the assistant says, so it is found by growing the conversation: what a turn adds to the
text before it is that turn. A prompt gets the very tokens that it gets when it is served, and an answer those that
come after them. An answer's end mark is part of it, so that a model learns to stop; where a template leaves it to the
next turn (GLM-4's answers end where `<|user|>` begins), the mark that would follow is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jinja2

from spar_core.errors import DataError

Turn = dict[str, str]


@dataclass(frozen=True)
class Rendered:
    """A conversation's tokens. `targets` marks what the assistant says; `last` is where its last turn begins."""

    ids: list[int]
    targets: list[bool]
    last: int


class Renderer:
    """One tokenizer's chat template. `ends` are the tokens at which the model stops."""

    def __init__(self, tokenizer: Any, *, ends: Sequence[int] = ()) -> None:
        self.tokenizer = tokenizer
        self._ends = frozenset(ends) or frozenset(
            [tokenizer.eos_token_id] if tokenizer.eos_token_id is not None else []
        )

    def conversation(self, turns: Sequence[Turn]) -> Rendered:
        """All turns; each of the assistant's is a target.

        Raises:
            DataError: the template refuses the turns, or renders earlier ones otherwise once later ones follow.
        """
        ids: list[int] = []
        targets: list[bool] = []
        text = ""
        last = 0
        open_end = False
        for number, turn in enumerate(turns):
            if turn["role"] != "assistant":
                continue
            before = self._text(turns[:number], prompt=True)
            asked = self._grown(ids, text, before)
            # The mark that ends the turn before is the first of what comes next.
            targets += [open_end and place == 0 and token in self._ends for place, token in enumerate(asked)]
            ids += asked
            text = self._text(turns[: number + 1])
            said = self._grown(ids, before, text)
            last = len(ids)
            stops = [place for place, token in enumerate(said) if token in self._ends]
            open_end = not stops
            targets += [open_end or place <= stops[-1] for place in range(len(said))]
            ids += said
        if open_end:
            ids.append(self._closing_token)
            targets.append(True)
        return Rendered(ids, targets, last)

    def prompt(self, turns: Sequence[Turn]) -> list[int]:
        """The tokens that a server makes of these turns, up to where the answer begins."""
        return self._tokens(self._text(turns, prompt=True))

    def answer(self, turns: Sequence[Turn], content: str) -> list[int]:
        """The tokens of the assistant's answer to a prompt, its end mark last.

        Raises:
            DataError: the template refuses the turns, or renders the prompt otherwise once it is answered.
        """
        before = self._text(turns, prompt=True)
        after = self._text([*turns, {"role": "assistant", "content": content}])
        said = self._grown(self._tokens(before), before, after)
        stops = [place for place, token in enumerate(said) if token in self._ends]
        return said[: stops[-1] + 1] if stops else [*said, self._closing_token]

    def _grown(self, ids: list[int], before: str, after: str) -> list[int]:
        """What `after` adds to `before`, whose tokens are `ids`."""
        if not after.startswith(before):
            raise DataError(
                "the chat template renders earlier turns otherwise once later ones follow, so what the assistant "
                "said cannot be told apart; use single-turn rows, or a template that only appends"
            )
        whole = self._tokens(after)
        # Where tokens would merge across the border the answer is tokenized by itself: it is generated after the
        # prompt's tokens, and these do not change any more.
        return whole[len(ids) :] if whole[: len(ids)] == ids else self._tokens(after[len(before) :])

    @cached_property
    def _closing_token(self) -> int:
        """What ends an answer that the template does not end: what a user's next turn begins with, if that stops."""
        turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
        said = self._text(turns)
        more = self._text([*turns, {"role": "user", "content": "c"}])
        following = self._tokens(more[len(said) :]) if more.startswith(said) else []
        if following and following[0] in self._ends:
            return following[0]
        if self.tokenizer.eos_token_id is None:
            raise DataError("the tokenizer has no end-of-sequence token, so a model would never learn to stop; set one")
        return int(self.tokenizer.eos_token_id)

    def _tokens(self, text: str) -> list[int]:
        # The template has written the special tokens already; the tokenizer must not add a second beginning.
        return list(self.tokenizer.encode(text, add_special_tokens=False))

    def _text(self, turns: Sequence[Turn], *, prompt: bool = False) -> str:
        try:
            return str(self.tokenizer.apply_chat_template(list(turns), tokenize=False, add_generation_prompt=prompt))
        except jinja2.TemplateError as error:
            raise DataError(f"the chat template refuses the turns: {error}") from error
