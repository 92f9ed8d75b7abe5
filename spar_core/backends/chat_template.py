"""Encode chat messages into a prompt's tokens with the model's own chat template."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from spar_core.errors import BackendRejected
from spar_core.types import Message

_NO_OPTIONS: Final[Mapping[str, Any]] = MappingProxyType({})
# Characters of a token, at most, in most prompts; and of a piece that is tokenized in one step.
_ORDINARY_TOKEN: Final = 8
_PIECE: Final = 4096
# Between private-use characters, the number of the message whose content belongs there.
_PLACEHOLDER: Final = re.compile("\ue000(\\d+)\ue001")


def control_tokens(tokenizer: Any) -> list[str]:
    """The texts of a tokenizer's special tokens, such as `<|im_end|>`."""
    return [str(token) for token in tokenizer.added_tokens_decoder.values() if token.special]


def placeholder(number: int) -> str:
    """The content to render for message `number` before `tokenize_with_contents`."""
    return f"\ue000{number}\ue001"


def tokenize_with_contents(tokenizer: Any, rendered: str, contents: Sequence[str]) -> list[int]:
    """The tokens of a rendered template, with each placeholder replaced by the content of its number as plain text.

    A control token that occurs in a content stays text. The template and the contents are tokenized separately, so
    tokens may differ at the seams from those of the text in one piece.
    """
    ids: list[int] = []
    for index, piece in enumerate(_PLACEHOLDER.split(rendered)):
        # Every second piece is the number of a placeholder.
        is_content = index % 2 == 1
        text = contents[int(piece)] if is_content else piece
        ids += tokenizer(text, add_special_tokens=False, split_special_tokens=is_content)["input_ids"]
    return ids


def _with_room(ids: Sequence[int], context: int) -> tuple[int, ...]:
    """The prompt, if there is room for an answer behind it."""
    if len(ids) >= context:
        raise _too_long(context, str(len(ids)))
    return tuple(ids)


def _too_long(context: int, tokens: str) -> BackendRejected:
    return BackendRejected(
        f"this model's maximum context length is {context} tokens; the prompt has {tokens}",
        status=400,
        code="context_length_exceeded",
    )


class PromptEncoder:
    """A tokenizer's chat template. Control tokens that occur in a message are encoded as plain text.

    `engine` is the engine's name in error messages to clients.
    """

    def __init__(self, tokenizer: Any, *, engine: str) -> None:
        self._tokenizer = tokenizer
        self._engine = engine
        self._controls = control_tokens(tokenizer)

    def encode(
        self, messages: Sequence[Message], options: Mapping[str, Any] = _NO_OPTIONS, *, context: int
    ) -> tuple[int, ...]:
        """The prompt up to the start of the assistant's answer, which has room in `context` tokens.

        `options` are variables of the template.

        Raises:
            BackendRejected: a message has parts other than text, the template refuses the messages, or they are too
                long.
        """
        # Imported here because a gateway that only fronts other servers has neither jinja2 nor tokenizers.
        from jinja2 import TemplateError

        turns = [self._turn(message, number) for number, message in enumerate(messages)]
        self._refuse_far_too_long([turn["content"] for turn in turns], context)
        spelled = any(control in turn["content"] for turn in turns for control in self._controls)
        try:
            ids = self._split(turns, options) if spelled else self._whole(turns, options)
        except (TemplateError, TypeError, ValueError) as error:
            message = f"the chat template refuses the messages: {error}"
            raise BackendRejected(message, status=400, param="messages") from error
        return _with_room(ids, context)

    def encode_text(self, text: str, *, context: int) -> tuple[int, ...]:
        """A raw prompt; control tokens in it count as such, because its author writes the whole prompt.

        Raises:
            BackendRejected: it is too long.
        """
        self._refuse_far_too_long([text], context)
        return _with_room([int(token) for token in self._tokenizer(text)["input_ids"]], context)

    def _refuse_far_too_long(self, texts: Sequence[str], context: int) -> None:
        """Count a long prompt's tokens piece by piece, and only until there are too many.

        Tokenizing megabytes takes seconds, in which the engine's other requests stand still.
        """
        if sum(map(len, texts)) <= context * _ORDINARY_TOKEN:
            return
        count = 0
        for text in texts:
            for start in range(0, len(text), _PIECE):
                piece = self._tokenizer(text[start : start + _PIECE], add_special_tokens=False)["input_ids"]
                # Where two pieces meet, one token may have become two.
                count += len(piece) - 1
                if count >= context:
                    raise _too_long(context, f"more than {count}")

    def _whole(self, turns: list[dict[str, Any]], options: Mapping[str, Any]) -> list[int]:
        ids = self._tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False, **options)
        return [int(token) for token in ids]

    def _split(self, turns: list[dict[str, Any]], options: Mapping[str, Any]) -> list[int]:
        """Only for messages that contain a control token: a text that is split may be tokenized differently."""
        marked = [{**turn, "content": placeholder(number)} for number, turn in enumerate(turns)]
        rendered = self._tokenizer.apply_chat_template(marked, add_generation_prompt=True, tokenize=False, **options)
        return tokenize_with_contents(self._tokenizer, rendered, [turn["content"] for turn in turns])

    def _turn(self, message: Message, number: int) -> dict[str, Any]:
        if message.content is not None and not isinstance(message.content, str):
            for part in message.content:
                if part.get("type") != "text":
                    kind, param = part.get("type", "untyped"), f"messages.{number}.content"
                    raise BackendRejected(
                        f"{param}: {kind} parts are not supported by {self._engine}", status=400, param=param
                    )
        # Most templates know OpenAI's `developer` role only by its older name.
        role = "system" if message.role == "developer" else message.role
        return {**message.extra, "role": role, "content": message.text}
