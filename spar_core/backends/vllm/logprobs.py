"""vLLM's log probabilities as OpenAI's `logprobs`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

# JSON has no infinity.
_MIN_LOGPROB: Final = -9999.0


def openai_logprobs(tokens: Sequence[int], positions: Sequence[Any], top: int) -> dict[str, Any]:
    """The log probability of each token and of its `top` most likely alternatives.

    Each of `positions` maps token ids to vLLM's `Logprob`.
    """
    return {"content": [_position(candidates, token, top) for token, candidates in zip(tokens, positions, strict=True)]}


def _position(candidates: Any, token: int, top: int) -> dict[str, Any]:
    # vLLM always includes the chosen token, whatever its rank.
    likeliest = sorted((each for each in candidates.values() if each.rank <= top), key=lambda each: each.rank)
    return {**_format_logprob(candidates[token]), "top_logprobs": [_format_logprob(each) for each in likeliest]}


def _format_logprob(logprob: Any) -> dict[str, Any]:
    text = logprob.decoded_token or ""
    return {
        "token": text,
        "logprob": max(logprob.logprob, _MIN_LOGPROB),
        "bytes": list(text.encode("utf-8", "replace")),
    }
