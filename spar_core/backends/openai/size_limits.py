"""How large an upstream's answer may be, once unpacked: an answer's length has a bound, and so has what it is sent in.

The bounds are generous, so that no honest answer meets them: several times what any tokenizer and any server's framing
need. They keep a broken or hostile server from filling this process.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

_BASE: Final = 2**20
_MOST: Final = 2**28
# Of a request that does not bound its answer: more than models write in one go.
_UNBOUNDED_TOKENS: Final = 65_536
# A token's text, escaped; and the chunk that brings it in a stream.
_TOKEN: Final = 128
_CHUNK: Final = 1024
# One alternative of a token: its text, its bytes and their log probability.
_LOGPROB: Final = 256
# Base64 of uncompressed speech, for each token of it.
_AUDIO: Final = 4096
# 8,192 numbers as text.
_EMBEDDING: Final = 2**18
# Lists, objects and their entries: of an answer besides its tokens, of a token's text, and of one alternative to it.
_BASE_VALUES: Final = 50_000
_TOKEN_VALUES: Final = 4
_LOGPROB_VALUES: Final = 16
# Numbers of embeddings are many, and quick to read.
_UNCOUNTED: Final = _MOST
# Of an error: enough for its message.
ERROR_BYTES: Final = 2**16


@dataclass(frozen=True, slots=True)
class SizeLimit:
    """Bytes: of an answer in one piece, which also bounds a stream's longest event, and of a whole stream.

    `values` is how many brackets, braces and commas an answer or an event may have: each takes as long to read as
    hundreds of letters.
    """

    whole: int
    stream: int
    values: int


def size_limit(path: str, body: Mapping[str, Any], sent: int) -> SizeLimit:
    """The bounds of the answer to `body`, a request of `sent` bytes to `path`."""
    if path == "/embeddings":
        whole = _BASE + _inputs(body.get("input")) * _EMBEDDING
        return SizeLimit(min(whole, _MOST), min(whole, _MOST), _UNCOUNTED)
    alternatives = _alternatives(body)
    token = _TOKEN + alternatives * _LOGPROB + (_AUDIO if body.get("audio") else 0)
    answers = _inputs(body.get("prompt")) * max(_number(body.get("n"), 1), _number(body.get("best_of"), 1))
    lengths = (_number(body.get(name), _UNBOUNDED_TOKENS) for name in ("max_tokens", "max_completion_tokens"))
    tokens = answers * min(lengths)
    # A server may repeat the prompt, with log probabilities too.
    repeated = sent * answers * (2 + (alternatives * _LOGPROB if path == "/completions" else 0))
    base = _BASE + repeated
    values = _BASE_VALUES + tokens * (_TOKEN_VALUES + alternatives * _LOGPROB_VALUES) + repeated
    return SizeLimit(min(base + tokens * token, _MOST), min(base + tokens * (token + _CHUNK), _MOST), values)


def _alternatives(body: Mapping[str, Any]) -> int:
    """How many log probabilities a token comes with."""
    asked = [body.get(name) for name in ("logprobs", "top_logprobs", "prompt_logprobs")]
    if not any(value is not None and value is not False for value in asked):
        return 0
    return 1 + max(_number(value, 0) for value in asked)


def _inputs(value: object) -> int:
    """Texts, or lists of tokens, in a prompt or an input."""
    several = isinstance(value, list) and value and isinstance(value[0], str | list)
    return len(value) if isinstance(value, list) and several else 1


def _number(value: object, default: int) -> int:
    """What is no number is for the server to refuse."""
    return min(value, _MOST) if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else default
