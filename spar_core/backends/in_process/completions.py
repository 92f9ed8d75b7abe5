"""OpenAI's older `/completions` for the embedded engine: one raw prompt, no chat template, continued as text."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

from spar_core.errors import BackendRejected
from spar_core.types import Delta, Sampling, Usage

# OpenAI's own.
_USUAL_TOKENS: Final = 16
_READ: Final = ("model", "prompt", "stream", "stream_options", "max_tokens", "temperature", "top_p", "stop", "seed")


@dataclass(frozen=True, slots=True)
class CompletionCall:
    """A request's body, read; and the bodies that answer it."""

    prompt: str
    sampling: Sampling
    include_usage: bool
    model: str
    id: str
    created: int

    def chunk(self, delta: Delta) -> dict[str, Any]:
        """One piece of the text; of a whole answer, all of it."""
        choice = {"index": 0, "text": delta.text, "finish_reason": delta.finish_reason, "logprobs": None}
        return {**self._head(), "choices": [choice]}

    def whole(self, delta: Delta) -> dict[str, Any]:
        return {**self.chunk(delta), "usage": _usage(delta.usage or Usage())}

    def usage_chunk(self, usage: Usage) -> dict[str, Any]:
        return {**self._head(), "choices": [], "usage": _usage(usage)}

    def _head(self) -> dict[str, Any]:
        return {"id": self.id, "object": "text_completion", "created": self.created, "model": self.model}


def read_completion(body: Mapping[str, Any], model: str) -> CompletionCall:
    """What a body asks for.

    Raises:
        BackendRejected: a field is wrong, or no single text is to be continued; names it.
    """
    prompt = body.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if not isinstance(prompt, str) or not prompt:
        raise _wrong("prompt", "the embedded engine takes one text that is not empty")
    options = body.get("stream_options")
    if options is not None and not body.get("stream"):
        raise _wrong("stream_options", "only allowed with stream: true")
    # Here 0 asks for the chosen tokens' own.
    if (logprobs := body.get("logprobs")) is not None and logprobs is not False:
        raise _wrong("logprobs", "the embedded engine has them for chats alone")
    return CompletionCall(
        prompt=prompt,
        sampling=Sampling(
            temperature=_number(body, "temperature", 0, 2),
            top_p=_number(body, "top_p", 0, 1),
            max_tokens=_whole(body, "max_tokens") or _USUAL_TOKENS,
            stop=_stops(body.get("stop")),
            seed=_whole(body, "seed"),
            extra={name: value for name, value in body.items() if name not in _READ},
        ),
        include_usage=isinstance(options, Mapping) and options.get("include_usage") is True,
        model=model,
        id=f"cmpl-{uuid4().hex}",
        created=int(time.time()),
    )


def _number(body: Mapping[str, Any], name: str, least: float, most: float) -> float:
    """A number in the range; 1, as everywhere in OpenAI's API, where there is none."""
    value = body.get(name)
    if value is None:
        return 1.0
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise _wrong(name, f"must be a number from {least} to {most}")
    return float(value)


def _whole(body: Mapping[str, Any], name: str) -> int | None:
    value = body.get(name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise _wrong(name, "must be a whole number")
    return value


def _stops(stop: object) -> tuple[str, ...]:
    stops = [stop] if isinstance(stop, str) else [] if stop is None else stop
    if not isinstance(stops, list) or not all(isinstance(each, str) for each in stops):
        raise _wrong("stop", "must be a string or a list of strings")
    return tuple(stops)


def _usage(usage: Usage) -> dict[str, int]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }


def _wrong(name: str, message: str) -> BackendRejected:
    return BackendRejected(f"{name}: {message}", status=400, param=name)
