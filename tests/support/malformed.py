"""Malformed request bodies, none of which may break the server."""

from __future__ import annotations

import json
from typing import Any, Final

# A valid body of each endpoint.
SOUND: Final[dict[str, dict[str, Any]]] = {
    "/v1/chat/completions": {"model": "pair", "messages": [{"role": "user", "content": "Hi"}]},
    "/v1/responses": {"model": "pair", "input": "Hi"},
    "/v1/messages": {"model": "pair", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]},
    "/v1/judge": {"messages": [{"role": "user", "content": "Hi"}], "response": "x"},
    "/v1/reward": {"prompt": "Hi", "response": "x", "label": None},
    "/get_reward": {"query": ["Hi x"], "prompts": ["Hi"], "labels": [None]},
    "/v1/refine": {"model": "pair", "messages": [{"role": "user", "content": "Hi"}], "response": "x"},
    "/v1/completions": {"model": "pair", "prompt": "Hi"},
    "/v1/embeddings": {"model": "pair", "input": "Hi"},
}

# Complete bodies, for any endpoint.
BROKEN: Final[dict[str, bytes]] = {
    "empty": b"",
    "blank": b" \n",
    "no object": b"[]",
    "null": b"null",
    "a number": b"7",
    "a string": b'"model"',
    "NaN": b"NaN",
    "cut off": b'{"model": "pa',
    "trailing comma": b'{"model": "pair",}',
    "two values": b'{"model": "pair"} {"model": "pair"}',
    "single quotes": b"{'model': 'pair'}",
    "invalid UTF-8": b'{"model": "\xff\xfe"}',
    "UTF-16": '{"model": "pair"}'.encode("utf-16"),
    "a byte order mark": b'\xef\xbb\xbf{"model": "pair"}',
    "NUL bytes": b'{"model": "pair\x00"}\x00',
    "a raw control character": b'{"model": "pa\nir"}',
    "deep lists": b"[" * 100_000,
    "deep objects": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    "a very long number": b'{"model": ' + b"9" * 10_000 + b"}",
    "a form": b"model=pair&messages=Hi",
}

# Replacements for the value of a field, or additional fields.
ODD_VALUES: Final[tuple[bytes, ...]] = (
    b"null", b"true", b"-1", b"0", b"1.5", b"1e308", b"1e999", b"NaN", b"9" * 25, b"9" * 400, b"1" + b"0" * 4400,
    b'""', b'"\\u0000"', b'"\\ud800"', b'"\xf0\x9f\x98\x80"', b"[]", b"[null]", b'[""]', b'["\\ud83d"]', b"[1]",
    b"{}", b'{"": {}}', b'{"\\ud800": 1}', b'{"type": 5}', b'[{"type": "text"}]', b'[{"type": [], "text": {}}]',
    b'{"type": "json_schema", "json_schema": null}', b"[" * 90 + b"]" * 90,
)  # fmt: skip

_MESSAGES: Final = (
    "messages messages.0 messages.0.role messages.0.content messages.0.content.0 messages.0.name messages.0.tool_calls"
)
_SAMPLED: Final = "model stream stream_options temperature top_p seed stop tools metadata user odd"
_REFINED: Final = (
    "refine_budget refine refine.checks refine.votes refine.threshold refine.deadline_s refine.max_search_tokens "
    "refine.algorithm refine.brunch"
)
_CHAT: Final = (
    f"{_MESSAGES} {_SAMPLED} {_REFINED} max_tokens max_completion_tokens n logprobs top_logprobs logit_bias "
    "response_format response_format.type modalities audio functions reasoning_effort"
)
_RESPONSES: Final = (
    f"{_SAMPLED} {_REFINED} input input.0 input.0.role input.0.content input.0.content.0 input.0.content.0.text "
    "instructions max_output_tokens text text.format reasoning reasoning.effort store tool_choice include "
    "previous_response_id"
)
_CONTENT: Final = "messages.0.content.0"
_ANTHROPIC: Final = (
    f"messages messages.0 messages.0.role messages.0.content {_CONTENT} {_CONTENT}.type {_CONTENT}.text "
    f"{_CONTENT}.source {_CONTENT}.content model stream temperature top_p top_k tools tools.0 tools.0.input_schema "
    f"tool_choice tool_choice.type tool_choice.name metadata metadata.user_id system system.0 stop_sequences thinking "
    f"thinking.type output_config output_config.effort output_config.format output_config.format.schema max_tokens odd "
    f"{_REFINED}"
)
_JUDGE: Final = (
    f"{_MESSAGES} model response votes threshold early_vote_stop seed checks checks.0 checks.0.id checks.0.kwargs "
    "checks.0.kwargs.keywords"
)
FIELDS: Final[dict[str, list[str]]] = {
    "/v1/chat/completions": _CHAT.split(),
    "/v1/responses": _RESPONSES.split(),
    "/v1/messages": _ANTHROPIC.split(),
    "/v1/judge": _JUDGE.split(),
    "/v1/reward": "prompt prompt.0 prompt.0.role prompt.0.content response label label.checks label.checks.0.id "
    "label.requirements label.requirements.0 odd".split(),
    "/get_reward": "query query.0 prompts prompts.0 labels labels.0 labels.0.checks labels.0.requirements odd".split(),
    "/v1/refine": [*_MESSAGES.split(), *_REFINED.split(), "response", "critique", "n", "stream", "tools", "logprobs"],
    "/v1/completions": [*_SAMPLED.split(), "prompt", "prompt.0", "max_tokens", "refine_budget", "refine"],
    "/v1/embeddings": ["model", "input", "input.0", "refine_budget", "odd"],
}


def spoilt(path: str, field: str, value: bytes, **more: Any) -> bytes:
    """The endpoint's valid body with `more`, and with `value` at `field`; missing parents are created."""
    return json.dumps(_put(SOUND[path] | more, field.split("."))).encode().replace(b'"\\ue000"', value)


def _put(place: Any, way: list[str]) -> Any:
    if not way:
        return "\ue000"
    name, *rest = way
    if name == "0":
        first, *others = place if isinstance(place, list) and place else [None]
        return [_put(first, rest), *others]
    inner = place if isinstance(place, dict) else {}
    return {**inner, name: _put(inner.get(name), rest)}
