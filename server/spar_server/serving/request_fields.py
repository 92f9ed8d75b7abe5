"""The request fields that are forwarded to the actor's upstream: OpenAI's, and those with which clients shape answers.

Inference servers accept more fields, which are meant for their operators: cache sources, priorities, chat templates.
Clients must not set those through this server, and a mistyped field of this server must not be forwarded.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import Any, Final

from spar_core.errors import RequestError

# OpenAI's chat completions, as of its Python client 3.57. Fields of ChatRequest are not looked up here.
_CHAT: Final = frozenset(
    "audio frequency_penalty function_call functions logit_bias logprobs max_completion_tokens max_tokens metadata "
    "modalities moderation n parallel_tool_calls prediction presence_penalty prompt_cache_key prompt_cache_options "
    "prompt_cache_retention reasoning_effort response_format safety_identifier seed service_tier stop store "
    "stream_options temperature tool_choice tools top_logprobs top_p user verbosity web_search_options".split()
)
_RAW: Final = frozenset(
    "best_of dimensions echo encoding_format frequency_penalty logit_bias logprobs max_tokens n presence_penalty seed "
    "stop stream_options suffix temperature top_p user".split()
)
# Further fields that vLLM, SGLang, llama.cpp, TGI and others document for clients.
_SAMPLING: Final = frozenset(
    "add_generation_prompt add_special_tokens allowed_token_ids bad_words best_of cache_prompt "
    "chat_template_kwargs continue_final_message detokenize documents dry_allowed_length dry_base dry_multiplier "
    "dry_penalty_last_n dry_sequence_breakers dynatemp_exponent dynatemp_range early_stopping ebnf echo "
    "enable_thinking grammar guided_choice guided_decoding_backend guided_grammar guided_json guided_regex "
    "guided_whitespace_pattern ignore_eos include_reasoning include_stop_str_in_output json_schema length_penalty "
    "min_keep min_new_tokens min_p min_tokens mirostat mirostat_eta mirostat_tau n_probs no_repeat_ngram_size "
    "no_stop_trim prompt_logprobs random_seed reasoning reasoning_budget reasoning_format regex repeat_last_n "
    "repeat_penalty repetition_penalty return_token_ids return_tokens_as_token_ids safe_prompt samplers "
    "separate_reasoning skip_special_tokens spaces_between_special_tokens stop_regex stop_token_ids stream_reasoning "
    "structured_outputs tfs_z thinking thinking_budget thinking_token_budget top_a top_k top_n_tokens "
    "truncate_prompt_tokens typical_p use_beam_search xtc_probability xtc_threshold".split()
)
_OURS: Final = ("refine_budget", "refine", "messages", "model", "stream")
CHAT_FIELDS: Final = _CHAT | _SAMPLING
RAW_FIELDS: Final = _RAW | _SAMPLING
# Keys of chat_template_kwargs that are not template variables but arguments in vLLM, and not for clients.
_TEMPLATE_ARGUMENTS: Final = ("chat_template", "tokenize")


def check_fields(
    fields: Mapping[str, Any], allowed: Collection[str], extra: Collection[str], *, ours: Collection[str] = ()
) -> None:
    """Check a request's additional `fields`; null values are ignored.

    `extra` are fields that the settings allow beside the `allowed` ones. `ours` are fields that the endpoint itself
    reads, which serve as suggestions for mistyped names.

    Raises:
        RequestError: a field must not be forwarded; names it.
    """
    for name, value in fields.items():
        if value is not None and name not in allowed and name not in extra:
            raise _unknown(name, (*_OURS, *ours, *sorted(allowed), *extra))
    if (arguments := fields.get("chat_template_kwargs")) is not None:
        _check_template_arguments(arguments)


def _unknown(name: str, known: Collection[str]) -> RequestError:
    shown = name[:80]
    matches = get_close_matches(shown, known, n=1, cutoff=0.8)
    hint = (
        f"did you mean {matches[0]}?"
        if matches
        else "it is not forwarded; the operator of this server can allow it with the setting client_fields"
    )
    return RequestError(f"{shown}: unknown field; {hint}", param=shown)


def _check_template_arguments(arguments: object) -> None:
    if isinstance(arguments, Mapping) and (wrong := next((n for n in _TEMPLATE_ARGUMENTS if n in arguments), None)):
        location = f"chat_template_kwargs.{wrong}"
        raise RequestError(f"{location}: clients cannot set it; remove it", param=location)
