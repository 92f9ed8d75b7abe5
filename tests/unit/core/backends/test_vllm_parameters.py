"""Values that must never reach vLLM's core: many requests share it, and it dies of a value that it cannot decode."""

from __future__ import annotations

from typing import Any

import pytest

from spar_core.backends.vllm.parameters import sampling_params, template_options
from spar_core.errors import BackendRejected
from spar_core.types import Sampling


def refused(**fields: Any) -> BackendRejected:
    with pytest.raises(BackendRejected) as caught:
        sampling_params(Sampling(**fields), defaults={}, room=100, streamed=False)
    assert caught.value.status == 400
    return caught.value


@pytest.mark.parametrize(
    "extra",
    [
        {"top_k": "3"},
        {"top_k": 1.5},
        {"top_k": 2**80},
        {"min_p": "0.1"},
        {"min_tokens": [1]},
        {"ignore_eos": "yes"},
        {"skip_special_tokens": 2},
        {"presence_penalty": {}},
        {"repetition_penalty": True},
        {"stop_token_ids": [1, "2"]},
        {"stop_token_ids": 5},
        {"allowed_token_ids": [2**80]},
        {"bad_words": "lamp"},
        {"bad_words": [None]},
        {"logit_bias": {"five": 1}},
        {"logit_bias": {"5": "much"}},
        {"logit_bias": [5]},
        {"logprobs": 3},
        {"top_logprobs": 3},
        {"top_logprobs": 21, "logprobs": True},
        {"top_logprobs": -1, "logprobs": True},
        {"structured_outputs": {"regex": 5}},
        {"structured_outputs": {"choice": "lamp"}},
        {"structured_outputs": {"unheard_of": 1}},
        {"structured_outputs": "json"},
        {"response_format": "json"},
        {"response_format": {"type": "xml"}},
        {"response_format": {"type": "json_schema"}},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}},
        {"response_format": ["json_object"]},
        {"tools": [{"type": "function"}]},
        {"tool_choice": "required"},
        {"n": 2},
        {"guided_json": "{}"},
        {"prompt_logprobs": 1},
        {"vllm_xargs": {"a": 1}},
        {"logits_processors": ["os.system"]},
    ],
)
def test_a_field_of_another_kind_or_unknown_is_refused_by_name(extra: dict[str, Any]) -> None:
    error = refused(extra=extra)
    assert error.param is not None
    assert error.param.split(".")[0] in extra
    assert error.param in str(error)


def test_a_seed_is_64_bits_and_an_answer_has_a_token() -> None:
    assert refused(seed=2**70).param == "seed"
    assert "max_tokens" in str(refused(max_tokens=0))


def test_a_request_sets_the_templates_variables_and_nothing_else() -> None:
    assert template_options({"chat_template_kwargs": {"enable_thinking": False}}) == {"enable_thinking": False}
    assert template_options({}) == {}
    for options in ({"chat_template": "{{ 1 }}"}, {"tokenize": False}, {"add_generation_prompt": False}, ["x"], "x"):
        with pytest.raises(BackendRejected, match="chat_template_kwargs"):
            template_options({"chat_template_kwargs": options})
