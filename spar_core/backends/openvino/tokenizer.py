"""A model's tokenizer and chat template without transformers, which takes seconds to import.

It has of a transformers tokenizer what `PromptEncoder` and `TextStream` use.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any, Final, NoReturn

from tokenizers import AddedToken, Tokenizer

from spar_core.errors import ConfigError


def _byte_alphabet() -> dict[str, int]:
    """The characters that byte-level tokenizers write bytes by: printable ones as they are, others from 256 on."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in shown]
    return {chr(byte): byte for byte in shown} | {chr(256 + place): byte for place, byte in enumerate(others)}


_BYTES: Final = _byte_alphabet()


class ChatTokenizer:
    """`content` is what tokenizer.json holds; `tokens` are the special tokens that the template may name."""

    def __init__(self, content: str, *, template: str | None, tokens: Mapping[str, str]) -> None:
        self._tokenizer = Tokenizer.from_str(content)
        # What a message says is text, also where it spells a control token: a second one for such texts.
        self._plain = Tokenizer.from_str(content)
        self._plain.encode_special_tokens = True
        self._template = template
        self._tokens = dict(tokens)

    @property
    def added_tokens_decoder(self) -> dict[int, AddedToken]:
        """The tokens that are no pieces of text, by number."""
        return self._tokenizer.get_added_tokens_decoder()

    def __call__(
        self, text: str, *, add_special_tokens: bool = True, split_special_tokens: bool = False
    ) -> dict[str, list[int]]:
        tokenizer = self._plain if split_special_tokens else self._tokenizer
        return {"input_ids": tokenizer.encode(text, add_special_tokens=add_special_tokens).ids}

    def apply_chat_template(
        self, turns: Sequence[Mapping[str, Any]], *, add_generation_prompt: bool, tokenize: bool = True, **options: Any
    ) -> Any:
        """The chat as one text, or as its tokens. `return_dict` and the like change nothing."""
        options.pop("return_dict", None)
        text = self._compiled.render(
            messages=turns, add_generation_prompt=add_generation_prompt, **self._tokens, **options
        )
        return self(text, add_special_tokens=False)["input_ids"] if tokenize else text

    def decode(self, tokens: Sequence[int], *, skip_special_tokens: bool = True) -> str:
        """The text of some tokens."""
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=skip_special_tokens))

    def pieces(self, count: int) -> list[bytes]:
        """What each of the first `count` tokens stands for. Of a byte-level tokenizer, also where that is no text."""
        special = self.added_tokens_decoder
        return [self._piece(token, special=token in special) for token in range(count)]

    def _piece(self, token: int, *, special: bool) -> bytes:
        name = self._tokenizer.id_to_token(token) or ""
        if special or any(character not in _BYTES for character in name):
            return name.encode()
        return bytes(_BYTES[character] for character in name)

    @cached_property
    def _compiled(self) -> Any:
        from jinja2.exceptions import TemplateError
        from jinja2.ext import loopcontrols
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        if self._template is None:
            raise ValueError("the model has none; use a model that was made for chats")

        def refuse(message: str) -> NoReturn:
            raise TemplateError(message)

        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
        environment.filters["tojson"] = lambda value, indent=None: json.dumps(value, ensure_ascii=False, indent=indent)
        environment.globals["raise_exception"] = refuse
        environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
        try:
            return environment.from_string(self._template)
        except TemplateError as error:
            raise ConfigError(f"the model's chat template is not valid: {error}") from error
