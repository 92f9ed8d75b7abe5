"""From chat messages to the tokens of a prompt, by the model's own chat template."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from spar_core.errors import BackendRejected
from spar_core.types import Message

_NO_OPTIONS: Final[Mapping[str, Any]] = MappingProxyType({})
# Private-use characters: where a message's content stood in a rendered template.
_PLACE: Final = re.compile("\ue000(\\d+)\ue001")


class PromptEncoder:
    """A tokenizer's chat template. What a message says is text, also where it spells a control token.

    `engine` is what messages to clients call the engine.
    """

    def __init__(self, tokenizer: Any, *, engine: str) -> None:
        self._tokenizer = tokenizer
        self._engine = engine
        self._controls = [str(token) for token in tokenizer.added_tokens_decoder.values() if token.special]

    def encode(self, messages: Sequence[Message], options: Mapping[str, Any] = _NO_OPTIONS) -> tuple[int, ...]:
        """The prompt up to where the assistant's answer begins; `options` are variables of the template.

        Raises:
            BackendRejected: a message has parts that are no text, or the template refuses the messages.
        """
        # It comes with the tokenizer that renders it; a gateway that fronts other servers has neither.
        from jinja2 import TemplateError

        turns = [self._turn(message, number) for number, message in enumerate(messages)]
        spelled = any(control in turn["content"] for turn in turns for control in self._controls)
        try:
            ids = self._split(turns, options) if spelled else self._whole(turns, options)
        except (TemplateError, TypeError, ValueError) as error:
            message = f"the chat template refuses the messages: {error}"
            raise BackendRejected(message, status=400, param="messages") from error
        return tuple(ids)

    def encode_text(self, text: str) -> tuple[int, ...]:
        """A text to continue, as it stands: whoever writes a raw prompt writes its control tokens too."""
        return tuple(int(token) for token in self._tokenizer(text)["input_ids"])

    def _whole(self, turns: list[dict[str, Any]], options: Mapping[str, Any]) -> list[int]:
        ids = self._tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False, **options)
        return [int(token) for token in ids]

    def _split(self, turns: list[dict[str, Any]], options: Mapping[str, Any]) -> list[int]:
        """Tokenize the template's text and the messages' texts apart.

        Only for messages that spell a control token: cut at the seams, a text may fall into other
        tokens than in one piece.
        """
        marked = [{**turn, "content": f"\ue000{number}\ue001"} for number, turn in enumerate(turns)]
        rendered = self._tokenizer.apply_chat_template(marked, add_generation_prompt=True, tokenize=False, **options)
        ids: list[int] = []
        for index, piece in enumerate(_PLACE.split(rendered)):
            # Every second piece is the number of the message that stood there.
            said = index % 2 == 1
            text = turns[int(piece)]["content"] if said else piece
            ids += self._tokenizer(text, add_special_tokens=False, split_special_tokens=said)["input_ids"]
        return ids

    def _turn(self, message: Message, number: int) -> dict[str, Any]:
        if message.content is not None and not isinstance(message.content, str):
            for part in message.content:
                if part.get("type") != "text":
                    kind, place = part.get("type", "untyped"), f"messages.{number}.content"
                    raise BackendRejected(
                        f"{place}: {kind} parts are not supported by {self._engine}", status=400, param=place
                    )
        # Most templates know `developer`, OpenAI's newer word, by its older one.
        role = "system" if message.role == "developer" else message.role
        return {**message.extra, "role": role, "content": message.text}
