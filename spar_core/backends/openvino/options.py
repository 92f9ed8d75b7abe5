"""What a request may ask of this engine beyond temperature and the like, checked and ready to apply."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from spar_core.backends.penalties import PENALTIES, Penalties, read_penalties
from spar_core.errors import BackendRejected

HONOURED: Final = ("response_format", "logprobs", "top_logprobs", "logit_bias", *PENALTIES)
_MOST_LOGPROBS: Final = 20
# JSON has no infinity.
_LEAST_LOGPROB: Final = -9999.0


@dataclass(frozen=True, slots=True)
class Options:
    """`logprobs` is the number of alternatives of each token, None for no log probabilities at all."""

    logprobs: int | None = None
    bias: Mapping[int, float] = field(default_factory=dict)
    penalties: Penalties = field(default_factory=Penalties)

    def apply(self, logits: NDArray[np.float32], generated: Sequence[int]) -> NDArray[np.float32]:
        """The logits as bias and penalties for the answer's tokens make them; the same array where nothing does."""
        penalized = generated and self.penalties
        if not self.bias and not penalized:
            return logits
        logits = logits.copy()
        for token, bias in self.bias.items():
            logits[token] += bias
        if penalized:
            tokens, amounts = self.penalties.deductions(generated)
            logits[tokens] -= np.asarray(amounts, np.float32)
        return logits


def read_options(extra: Mapping[str, Any], *, vocabulary: int) -> Options:
    """The fields of a request that this engine honours.

    Raises:
        BackendRejected: a value is not of its kind; names the field.
    """
    return Options(
        logprobs=_logprobs(extra),
        bias=_bias(extra.get("logit_bias"), vocabulary),
        penalties=read_penalties(extra),
    )


def describe_token(
    logits: NDArray[np.float32], token: int, pieces: Sequence[bytes], alternatives: int
) -> dict[str, Any]:
    """OpenAI's entry of one generated token in `logprobs.content`."""
    shifted = logits - logits.max()
    values = shifted - np.log(np.exp(shifted).sum(dtype=np.float64))
    likeliest = np.argsort(-values, kind="stable")[:alternatives]
    described = [_entry(values, int(each), pieces) for each in likeliest]
    return {**_entry(values, token, pieces), "top_logprobs": described}


def _entry(values: NDArray[Any], token: int, pieces: Sequence[bytes]) -> dict[str, Any]:
    piece = pieces[token]
    return {
        "token": piece.decode("utf-8", "replace"),
        "logprob": max(float(values[token]), _LEAST_LOGPROB),
        "bytes": list(piece),
    }


def _logprobs(extra: Mapping[str, Any]) -> int | None:
    wanted, most = extra.get("logprobs"), extra.get("top_logprobs")
    if wanted is not None and not isinstance(wanted, bool):
        raise _wrong("logprobs", "true or false")
    if most is not None and (isinstance(most, bool) or not isinstance(most, int) or not 0 <= most <= _MOST_LOGPROBS):
        raise _wrong("top_logprobs", f"an integer from 0 to {_MOST_LOGPROBS}")
    if most and not wanted:
        raise BackendRejected("top_logprobs needs logprobs: true", status=400, param="top_logprobs")
    return (most or 0) if wanted else None


def _bias(value: object, vocabulary: int) -> dict[int, float]:
    """OpenAI's: keys are token ids written as text."""
    if not value:
        return {}
    kind = f"an object of numbers by token id from 0 to {vocabulary - 1}"
    if not isinstance(value, Mapping):
        raise _wrong("logit_bias", kind)
    try:
        bias = {int(token): float(number) for token, number in value.items()}
    except (TypeError, ValueError):
        raise _wrong("logit_bias", kind) from None
    if any(not 0 <= token < vocabulary for token in bias):
        raise _wrong("logit_bias", kind)
    return bias


def _wrong(name: str, kind: str) -> BackendRejected:
    return BackendRejected(f"{name} must be {kind}", status=400, param=name)
