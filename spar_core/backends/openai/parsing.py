"""Convert an upstream's answers into this project's types; an answer that is not OpenAI's is a BackendProtocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast, get_args

from spar_core.errors import BackendProtocol
from spar_core.types import UNCOUNTED, Completion, Delta, FinishReason, Usage

_MAX_TOKENS: Final = 10**12
_NOTHING: Final = Usage()
_FINISHES: Final = frozenset(get_args(FinishReason))
_REASONING: Final = ("reasoning_content", "reasoning")
_PLAIN: Final = frozenset({"role", "content"})


def completion_of(data: Mapping[str, Any]) -> Completion:
    """The completion of an answer that is not streamed."""
    return _completion(first_choice(data), usage_of(data))


def completions_of(data: Mapping[str, Any]) -> list[Completion]:
    """All choices of an answer that is not streamed; the first has the usage of all together.

    Malformed choices are left out; if all are malformed, the last problem is raised.
    """
    completions, problem = list[Completion](), BackendProtocol("upstream's answer has no choices")
    for choice in _choices(data):
        try:
            completions.append(_completion(_object(choice, "choice"), _NOTHING if completions else usage_of(data)))
        except BackendProtocol as error:
            problem = error
    if not completions:
        raise problem
    return completions


def _completion(choice: Mapping[str, Any] | None, usage: Usage) -> Completion:
    if choice is None or choice.get("message") is None:
        raise BackendProtocol("upstream's answer has no choices")
    text, extra = _split(_object(choice["message"], "message"))
    if choice.get("logprobs"):
        extra["logprobs"] = choice["logprobs"]
    return Completion(text, finish_of(choice) or "stop", usage, extra)


def single_delta(completion: Completion) -> Delta:
    """A complete answer as the only delta of a stream, with the tool calls numbered."""
    extra = dict(completion.extra)
    if calls := extra.get("tool_calls"):
        extra["tool_calls"] = [{"index": number} | call for number, call in enumerate(calls)]
    return Delta(completion.text, completion.finish_reason, completion.usage, extra)


def plain_text(chunk: Mapping[str, Any]) -> str | None:
    """The text of a chunk that has a piece of text and nothing else, as nearly all have; None for any other chunk."""
    try:
        choice = chunk["choices"][0]
        if choice.get("finish_reason") is not None or choice.get("logprobs") or chunk.get("usage"):
            return None
        delta = choice["delta"]
        text = delta["content"]
    except (LookupError, TypeError, AttributeError):
        return None
    return text if delta.keys() <= _PLAIN and isinstance(text, str) else None


def delta_of(choice: Mapping[str, Any]) -> Delta | None:
    """The delta of a chunk's choice; None if it is empty."""
    delta = _object(choice.get("delta") or {}, "delta")
    text, extra = _split(delta)
    if choice.get("logprobs"):
        extra["logprobs"] = choice["logprobs"]
    return Delta(text, extra=extra) if text or extra else None


def first_choice(data: Mapping[str, Any]) -> dict[str, Any] | None:
    """The first choice, if any; requests here are for one."""
    choices = _choices(data)
    return _object(choices[0], "choice") if choices else None


def _choices(data: Mapping[str, Any]) -> list[Any]:
    choices = data.get("choices") or []
    if not isinstance(choices, list):
        raise BackendProtocol("the upstream's choices are not a list")
    return choices


def finish_of(choice: Mapping[str, Any]) -> FinishReason | None:
    """The finish reason; one that is not OpenAI's counts as `stop`."""
    reason = choice.get("finish_reason")
    if reason is None:
        return None
    return cast(FinishReason, reason if isinstance(reason, str) and reason in _FINISHES else "stop")


def usage_of(data: Mapping[str, Any]) -> Usage:
    """The usage; what a server does not count is not estimated."""
    usage = data.get("usage")
    if not usage:
        return UNCOUNTED
    usage = _object(usage, "usage")
    sent_prompt, sent_completion = usage.get("prompt_tokens"), usage.get("completion_tokens")
    prompt, completion = _count(sent_prompt), _count(sent_completion)
    if prompt is None or completion is None:
        raise BackendProtocol("the upstream's usage is not numeric")
    return Usage(
        prompt,
        completion,
        _detail(usage.get("prompt_tokens_details"), "cached_tokens"),
        _detail(usage.get("completion_tokens_details"), "reasoning_tokens"),
        sent_prompt is not None,
        sent_completion is not None,
    )


def _detail(details: object, name: str) -> int:
    """A part of the prompt's or the completion's tokens; 0 if the server reports it in another form."""
    return _count(details.get(name)) or 0 if isinstance(details, dict) else 0


def _count(value: object) -> int | None:
    """A number of tokens, also if written as 7.0 and at least 0; None for anything but a number."""
    if value is None:
        return 0
    if not isinstance(value, int | float) or value != value:
        return None
    return int(min(max(value, 0), _MAX_TOKENS))


def _split(message: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The answer's text, and everything else; reasoning is not part of the text."""
    if message.keys() <= _PLAIN and isinstance(text := message.get("content"), str):
        # Fast path for nearly all answers.
        return text, {}
    extra = {name: value for name, value in message.items() if name not in ("role", "content", *_REASONING) and value}
    reasoning = next((message[name] for name in _REASONING if message.get(name)), None)
    if reasoning:
        extra["reasoning"] = reasoning
    calls = message.get("tool_calls") or []
    if not isinstance(calls, list) or not all(isinstance(call, dict) for call in calls):
        raise BackendProtocol("the upstream's tool_calls are not a list of objects")
    text = message.get("content") or ""
    if not isinstance(text, str):
        raise BackendProtocol("the upstream's content is not a string")
    return text, extra


def _object(value: object, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BackendProtocol(f"the upstream's {name} is not an object")
    return value
