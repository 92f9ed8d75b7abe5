"""Convert a request's parameters into vLLM's.

Values are type-checked here: vLLM's front end does not check all of them, and its core, which many requests share, dies
of a value that it cannot decode.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from spar_core.backends.unsupported import refuse_unsupported
from spar_core.backends.vllm.errors import translate_errors
from spar_core.errors import BackendRejected
from spar_core.types import Sampling

ENGINE: Final = "vLLM in this process"
_SEEDS: Final = range(-(2**63), 2**63)
_MAX_LOGPROBS: Final = 20

_Check = Callable[[Any], bool]


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value in _SEEDS


def _number(value: Any) -> bool:
    return isinstance(value, float) or _whole(value)


def _switch(value: Any) -> bool:
    return isinstance(value, bool)


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _list_of(check: _Check) -> _Check:
    return lambda value: isinstance(value, list) and all(map(check, value))


def _schema(value: Any) -> bool:
    return isinstance(value, str | dict)


# Fields that vLLM's parameters have under the same name.
_SAME: Final[dict[str, tuple[_Check, str]]] = {
    "presence_penalty": (_number, "a number"),
    "frequency_penalty": (_number, "a number"),
    "repetition_penalty": (_number, "a number"),
    "min_p": (_number, "a number"),
    "top_k": (_whole, "an integer"),
    "min_tokens": (_whole, "an integer"),
    "ignore_eos": (_switch, "true or false"),
    "skip_special_tokens": (_switch, "true or false"),
    "include_stop_str_in_output": (_switch, "true or false"),
    "stop_token_ids": (_list_of(_whole), "a list of token ids"),
    "allowed_token_ids": (_list_of(_whole), "a list of token ids"),
    "bad_words": (_list_of(_text), "a list of texts"),
}
_FORMS: Final[dict[str, tuple[_Check, str]]] = {
    "json": (_schema, "a JSON schema"),
    "regex": (_text, "a regular expression"),
    "choice": (_list_of(_text), "a list of texts"),
    "grammar": (_text, "a grammar"),
    "json_object": (_switch, "true or false"),
    "whitespace_pattern": (_text, "a regular expression"),
    "disable_any_whitespace": (_switch, "true or false"),
}
_OTHERS: Final = (
    "logit_bias", "logprobs", "top_logprobs", "response_format", "structured_outputs", "chat_template_kwargs",
)  # fmt: skip
# Arguments of a tokenizer's `apply_chat_template` that are not variables of the template.
_NOT_VARIABLES: Final = frozenset(
    {
        "add_generation_prompt", "chat_template", "continue_final_message", "conversation", "documents", "max_length",
        "padding", "return_assistant_tokens_mask", "return_dict", "return_tensors", "self", "tokenize",
        "tokenizer_kwargs", "tools", "truncation",
    }
)  # fmt: skip


def sampling_params(sampling: Sampling, *, defaults: Mapping[str, Any], room: int, streamed: bool) -> Any:
    """`vllm.SamplingParams`; `defaults` apply where a request sets nothing, and an answer has at most `room` tokens.

    Raises:
        BackendRejected: a field has the wrong type or is not supported; the message names it.
    """
    refuse_unsupported(sampling, engine=ENGINE, honoured={*_SAME, *_OTHERS})
    if sampling.seed is not None and sampling.seed not in _SEEDS:
        raise _wrong("seed", "a signed 64-bit integer")
    requested = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "seed": sampling.seed,
        "max_tokens": sampling.max_tokens,
        "stop": list(sampling.stop) or None,
        "logit_bias": _logit_bias(sampling.extra.get("logit_bias")),
        "logprobs": _logprobs(sampling.extra),
        **_checked(sampling.extra, _SAME),
    }
    values = {**defaults, **{name: value for name, value in requested.items() if value is not None}}
    values["max_tokens"] = min(room, values.get("max_tokens", room))
    form = _form(sampling.extra)
    with translate_errors():
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

        return SamplingParams(
            **values,
            output_kind=RequestOutputKind.DELTA if streamed else RequestOutputKind.FINAL_ONLY,
            structured_outputs=StructuredOutputsParams(**form) if form else None,
            skip_clone=True,
        )


def _form(extra: Mapping[str, Any]) -> dict[str, Any]:
    """The constraints on an answer's format, as arguments of `StructuredOutputsParams`; empty if there are none."""
    constraints = extra.get("structured_outputs") or {}
    if not isinstance(constraints, dict) or not constraints.keys() <= _FORMS.keys():
        raise _wrong("structured_outputs", f"an object with some of {', '.join(_FORMS)}")
    return _checked(constraints, _FORMS, within="structured_outputs.") | _response_format(extra.get("response_format"))


def template_options(extra: Mapping[str, Any]) -> Mapping[str, Any]:
    """`chat_template_kwargs`: variables of the model's template, such as `enable_thinking`.

    Raises:
        BackendRejected: an option is not a variable of the template.
    """
    options = extra.get("chat_template_kwargs") or {}
    if not isinstance(options, dict) or not all(isinstance(name, str) for name in options):
        raise _wrong("chat_template_kwargs", "an object")
    for name in _NOT_VARIABLES & options.keys():
        raise BackendRejected(
            f"chat_template_kwargs.{name} cannot be set by a request", status=400, param="chat_template_kwargs"
        )
    return options


def _checked(values: Mapping[str, Any], kinds: Mapping[str, tuple[_Check, str]], *, within: str = "") -> dict[str, Any]:
    present = {name: values[name] for name in kinds if values.get(name) is not None}
    for name, value in present.items():
        check, kind = kinds[name]
        if not check(value):
            raise _wrong(f"{within}{name}", kind)
    return present


def _logit_bias(value: Any) -> dict[int, float] | None:
    """OpenAI's `logit_bias`, whose keys are token ids as text."""
    if not value:
        return None
    if not isinstance(value, dict) or not all(map(_number, value.values())):
        raise _wrong("logit_bias", "an object of numbers by token id")
    try:
        return {int(token): float(bias) for token, bias in value.items()}
    except ValueError:
        raise _wrong("logit_bias", "an object of numbers by token id") from None


def _logprobs(extra: Mapping[str, Any]) -> int | None:
    """The number of alternatives per token; None for no log probabilities at all."""
    wanted, top = extra.get("logprobs"), extra.get("top_logprobs")
    if wanted not in (None, True, False):
        raise _wrong("logprobs", "true or false")
    if top is not None and not (_whole(top) and 0 <= top <= _MAX_LOGPROBS):
        raise _wrong("top_logprobs", f"an integer from 0 to {_MAX_LOGPROBS}")
    if top and not wanted:
        raise BackendRejected("top_logprobs needs logprobs: true", status=400, param="top_logprobs")
    return (top or 0) if wanted else None


def _response_format(value: Any) -> dict[str, Any]:
    kind = value.get("type") if isinstance(value, dict) else value
    if kind in (None, "text"):
        return {}
    if kind == "json_object":
        return {"json_object": True}
    schema = value.get("json_schema") if kind == "json_schema" and isinstance(value, dict) else None
    if not isinstance(schema, dict) or not isinstance(schema.get("schema"), dict):
        raise _wrong("response_format", "of type text, json_object or json_schema, the last with json_schema.schema")
    return {"json": schema["schema"]}


def _wrong(name: str, kind: str) -> BackendRejected:
    return BackendRejected(f"{name} must be {kind}", status=400, param=name)
