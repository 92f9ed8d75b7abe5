"""Holding an answer to a form, token by token, by llguidance."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from spar_core.errors import BackendRejected

_PARAM: Final = "response_format"
_ANY_OBJECT: Final[dict[str, Any]] = {"type": "object"}


class Guide:
    """The form of one answer. Ask for the allowed tokens, then say which was taken."""

    def __init__(self, matcher: Any, vocabulary: int) -> None:
        from llguidance.numpy import allocate_token_bitmask

        self._matcher = matcher
        self._bits: NDArray[np.int32] = allocate_token_bitmask(1, vocabulary)
        self._vocabulary = vocabulary

    def mask(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """The logits with what the form does not allow at minus infinity."""
        from llguidance.numpy import fill_next_token_bitmask

        fill_next_token_bitmask(self._matcher, self._bits)
        allowed = np.unpackbits(self._bits.view(np.uint8)[0], bitorder="little")[: self._vocabulary].astype(bool)
        return np.where(allowed, logits[: self._vocabulary], np.float32(-np.inf))

    def take(self, token: int) -> bool:
        """Go on by a token; whether the answer may not be continued."""
        self._matcher.consume_token(token)
        return bool(self._matcher.is_stopped())


class Guides:
    """Makes guides for one tokenizer."""

    def __init__(self, tokenizer: str, *, vocabulary: int, end_tokens: tuple[int, ...]) -> None:
        self._content = tokenizer
        self._vocabulary = vocabulary
        self._ends = end_tokens

    def make(self, form: object) -> Guide | None:
        """The guide to an OpenAI `response_format`; None where it leaves the form open.

        Raises:
            BackendRejected: it is none, or its schema asks for what cannot be guided.
        """
        schema = _schema(form)
        if schema is None:
            return None
        from llguidance import LLMatcher

        try:
            grammar = LLMatcher.grammar_from_json_schema(json.dumps(schema))
            matcher = LLMatcher(self._tokenizer, grammar, log_level=0)
            problem = matcher.get_error() if matcher.is_error() else None
        except (TypeError, ValueError) as error:
            problem = str(error)
        if problem:
            first = " ".join(problem.split())[:300]
            raise BackendRejected(f"{_PARAM}: the schema cannot be used: {first}", status=400, param=_PARAM)
        return Guide(matcher, self._vocabulary)

    @cached_property
    def _tokenizer(self) -> Any:
        from llguidance import LLTokenizer

        return LLTokenizer(self._content, n_vocab=self._vocabulary, eos_token=list(self._ends))


def _schema(form: object) -> Mapping[str, Any] | bool | None:
    kind = form.get("type") if isinstance(form, Mapping) else form
    if kind in (None, "text"):
        return None
    if kind == "json_object":
        return _ANY_OBJECT
    if kind == "json_schema" and isinstance(form, Mapping):
        described = form.get("json_schema")
        schema = described.get("schema") if isinstance(described, Mapping) else None
        if isinstance(schema, Mapping | bool):
            return schema
    raise BackendRejected(
        f"{_PARAM} must be of type text, json_object or json_schema, the last with json_schema.schema",
        status=400,
        param=_PARAM,
    )
