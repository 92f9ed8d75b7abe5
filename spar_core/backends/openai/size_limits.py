"""Bound the size of an upstream's answer, decompressed, by what the request allows.

The bounds are several times what any tokenizer and any server's framing need, so that no honest answer reaches them.
They keep a broken or hostile server from filling this process.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

_BASE: Final = 2**20
_MAX: Final = 2**28
# For requests without a bound: more than models write in one answer.
_UNBOUNDED_TOKENS: Final = 65_536
# A token's escaped text, and its chunk in a stream.
_TOKEN: Final = 128
_CHUNK: Final = 1024
# One alternative of a token: its text, its bytes and their log probability.
_LOGPROB: Final = 256
_COUNTS: Final = frozenset({"n", "best_of"})
_LOGPROB_FIELDS: Final = frozenset({"logprobs", "top_logprobs", "prompt_logprobs"})
# Base64 of uncompressed speech, per token.
_AUDIO: Final = 4096
# 8,192 numbers as text.
_EMBEDDING: Final = 2**18
# Lists, objects and their entries: of an answer without its tokens, of a token, and of one alternative to it.
_BASE_VALUES: Final = 50_000
_TOKEN_VALUES: Final = 4
_LOGPROB_VALUES: Final = 16
# Of an embedding, without its numbers.
_EMBEDDING_VALUES: Final = 64
# Read of an error's body: enough for its message.
ERROR_BYTES: Final = 2**16


class SizeLimit(NamedTuple):
    """Limits in bytes: `whole` of an answer that is not streamed and of any one event, `stream` of a whole stream.

    `values` is the most brackets, braces and commas of an answer or an event: each takes as long to parse as hundreds
    of letters. The numbers of embeddings are parsed apart and do not count.
    """

    whole: int
    stream: int
    values: int


def size_limit(path: str, body: Mapping[str, Any], sent: int) -> SizeLimit:
    """The limits of the answer to `body`, a request of `sent` bytes to `path`."""
    if path == "/embeddings":
        inputs = _inputs(body.get("input"))
        whole = min(_BASE + inputs * _EMBEDDING, _MAX)
        return SizeLimit(whole, whole, _BASE_VALUES + inputs * _EMBEDDING_VALUES)
    alternatives = 0 if _LOGPROB_FIELDS.isdisjoint(body) else _alternatives(body)
    token = _TOKEN + alternatives * _LOGPROB + (_AUDIO if body.get("audio") else 0)
    answers = 1 if _COUNTS.isdisjoint(body) else max(_number(body.get("n"), 1), _number(body.get("best_of"), 1))
    if "prompt" in body:
        answers *= _inputs(body["prompt"])
    length = _number(body.get("max_tokens"), _UNBOUNDED_TOKENS)
    if "max_completion_tokens" in body:
        length = min(length, _number(body["max_completion_tokens"], _UNBOUNDED_TOKENS))
    tokens = answers * length
    # A server may repeat the prompt, with log probabilities too.
    repeated = sent * answers * (2 + (alternatives * _LOGPROB if path == "/completions" else 0))
    base = _BASE + repeated
    values = _BASE_VALUES + tokens * (_TOKEN_VALUES + alternatives * _LOGPROB_VALUES) + repeated
    return SizeLimit(min(base + tokens * token, _MAX), min(base + tokens * (token + _CHUNK), _MAX), values)


def _alternatives(body: Mapping[str, Any]) -> int:
    """The number of log probabilities per token."""
    values = [body[name] for name in body.keys() & _LOGPROB_FIELDS]
    if not any(value is not None and value is not False for value in values):
        return 0
    return 1 + max(_number(value, 0) for value in values)


def _inputs(value: object) -> int:
    """The number of texts, or lists of tokens, in a prompt or an input."""
    several = isinstance(value, list) and value and isinstance(value[0], str | list)
    return len(value) if isinstance(value, list) and several else 1


def _number(value: object, default: int) -> int:
    """The number, or the default: the server refuses anything that is not a number."""
    return min(value, _MAX) if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else default
