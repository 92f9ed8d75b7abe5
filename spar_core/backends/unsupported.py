"""Refuse request fields that an in-process engine does not support, so that none is ignored silently."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from spar_core.errors import BackendRejected
from spar_core.types import Sampling

# The engine looks for each of them after every token, while its other requests stand still.
_MOST_STOPS: Final = 64
_MOST_STOP_TEXT: Final = 16_384
# Values that have no effect, whatever the field.
_NO_EFFECT: Final[tuple[object, ...]] = (None, False, 0, "", [], {})
# Values that request what every engine does by default.
_DEFAULTS: Final[dict[str, tuple[object, ...]]] = {
    "n": (1,),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "parallel_tool_calls": (True,),
    "tool_choice": ("none", "auto"),
    "function_call": ("none", "auto"),
    "verbosity": ("medium",),
    "repetition_penalty": (1,),
    "top_k": (-1,),
    "skip_special_tokens": (True,),
}
# On by default, so False has an effect.
_ON_BY_DEFAULT: Final = frozenset({"skip_special_tokens"})
# An empty object has an effect: it requests the defaults.
_OBJECTS_WITH_EFFECT: Final = frozenset({"web_search_options"})
# Bookkeeping of the caller, without effect on the text.
_IGNORED: Final = frozenset({"user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key"})


def refuse_unsupported(sampling: Sampling, *, engine: str, honoured: Collection[str] = ()) -> None:
    """Check a request's parameters. `engine` is the engine's name in messages, `honoured` the fields that it supports.

    Raises:
        BackendRejected: the engine does not support a field; the message names it.
    """
    if sampling.max_tokens is not None and sampling.max_tokens < 1:
        raise BackendRejected(
            f"max_tokens is {sampling.max_tokens}; it must be at least 1", status=400, param="max_tokens"
        )
    if len(sampling.stop) > _MOST_STOPS or sum(map(len, sampling.stop)) > _MOST_STOP_TEXT:
        raise BackendRejected(
            f"stop: at most {_MOST_STOPS} strings of {_MOST_STOP_TEXT} characters together", status=400, param="stop"
        )
    for name, value in sampling.extra.items():
        if name not in honoured and not _harmless(name, value):
            raise BackendRejected(f"{name} is not supported by {engine}", status=400, param=name)


def _harmless(name: str, value: Any) -> bool:
    if (name in _ON_BY_DEFAULT and value is False) or (name in _OBJECTS_WITH_EFFECT and value is not None):
        return False
    return name in _IGNORED or value in _NO_EFFECT or value in _DEFAULTS.get(name, ())
