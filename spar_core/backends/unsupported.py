"""What a request may ask of an engine in this process. Nothing is dropped in silence."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from spar_core.errors import BackendRejected
from spar_core.types import Sampling

# Values that ask for nothing, whatever the field.
_NOTHING: Final[tuple[object, ...]] = (None, False, 0, "", [], {})
# Values that ask for what every engine does anyway.
_USUAL: Final[dict[str, tuple[object, ...]]] = {
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
# What is on unless it is switched off: False asks for something.
_ON: Final = frozenset({"skip_special_tokens"})
# To name it is to ask for it: an empty object stands for its defaults.
_MEANT: Final = frozenset({"web_search_options"})
# About the caller's bookkeeping, not about the text.
_IGNORED: Final = frozenset({"user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key"})


def refuse_unsupported(sampling: Sampling, *, engine: str, honoured: Collection[str] = ()) -> None:
    """Check a request's parameters; `engine` is what the messages call it, `honoured` the fields that it knows.

    Raises:
        BackendRejected: one asks for what the engine cannot do; the message names it.
    """
    if sampling.max_tokens is not None and sampling.max_tokens < 1:
        raise BackendRejected(
            f"max_tokens is {sampling.max_tokens}; it must be at least 1", status=400, param="max_tokens"
        )
    for name, value in sampling.extra.items():
        if name not in honoured and not _harmless(name, value):
            raise BackendRejected(f"{name} is not supported by {engine}", status=400, param=name)


def _harmless(name: str, value: Any) -> bool:
    if (name in _ON and value is False) or (name in _MEANT and value is not None):
        return False
    return name in _IGNORED or value in _NOTHING or value in _USUAL.get(name, ())
