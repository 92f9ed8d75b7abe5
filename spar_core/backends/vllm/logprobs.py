"""vLLM's log probabilities as OpenAI's `logprobs`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

# JSON has no infinity.
_LEAST: Final = -9999.0


def openai_logprobs(tokens: Sequence[int], found: Sequence[Any], most: int) -> dict[str, Any]:
    """Of each generated token, with its `most` likeliest alternatives. `found` maps token ids to vLLM's `Logprob`."""
    return {"content": [_position(of_token, token, most) for token, of_token in zip(tokens, found, strict=True)]}


def _position(of_token: Any, token: int, most: int) -> dict[str, Any]:
    # vLLM gives the chosen token too, whatever its rank; among the likeliest it stands only where it is one of them.
    likeliest = sorted((one for one in of_token.values() if one.rank <= most), key=lambda one: one.rank)
    return {**_told(of_token[token]), "top_logprobs": [_told(one) for one in likeliest]}


def _told(logprob: Any) -> dict[str, Any]:
    text = logprob.decoded_token or ""
    return {"token": text, "logprob": max(logprob.logprob, _LEAST), "bytes": list(text.encode("utf-8", "replace"))}
