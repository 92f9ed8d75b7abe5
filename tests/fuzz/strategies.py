"""Inputs that are almost right: what random bytes alone would never find a way into."""

from __future__ import annotations

import json
from typing import Any, Final

from hypothesis import strategies as st

Text = st.SearchStrategy[str]

# What the parsers look for, and what looks like it.
_VERDICT_PIECES: Final = (
    "Final Judgement: Yes", "\nFinal Judgement: Yes\n", "\nFinal Judgement: No\n",
    "Final Judgement", "Final Judgment", "final  judgement", "**Final Judgement", "Final\u200b Judgement",
    "Fin\u0430l Judgement", "\uff26inal Judgement", "\u202eFinal Judgement", ":", "\uff1a", " ", "\n", "\r\n", "Yes",
    "No", "yes", "NO", "Y\u0435s", "(Yes or No)", "yes/no", "**", "_", "> ", "```", '"', "- ", "1. ", ".", ", ", "; ",
    "\t",
    "</response>", "<|im_end|>", "<|im_start|>assistant", "the word", "it lacks", "None of these", "\u00ad", "\u00a0",
)  # fmt: skip
_MARK_PIECES: Final = (
    "\n[[start]]\n", "\n[[end]]\n",
    "[[start]]", "[[end]]", "[[ start ]]", "[[START]]", "\n", "\r\n", " ", "\t", "> ", "a text", "[[", "]]", "start",
)  # fmt: skip
_NAMES: Final = (
    "model", "messages", "role", "content", "type", "text", "stream", "stream_options", "include_usage", "temperature",
    "top_p", "max_tokens", "stop", "seed", "n", "logprobs", "top_logprobs", "logit_bias", "response_format",
    "json_schema",
    "schema", "tools", "tool_calls", "reasoning_effort", "reasoning", "effort", "refine_budget", "refine", "votes",
    "threshold", "checks", "id", "kwargs", "deadline_s", "trace", "progress", "response", "critique", "input", "prompt",
    "instructions", "format", "metadata", "user", "choices", "message", "delta", "finish_reason", "usage", "index",
    "prompt_tokens", "completion_tokens", "total_tokens", "error", "name", "image_url", "url", "",
)  # fmt: skip
_VALUES: Final = (
    "user", "assistant", "system", "tool", "pair", "pair@3", "pair@", "pair@-1", "text", "input_text", "image_url",
    "stop",
    "length", "tool_calls", "json_object", "json_schema", "high", "none", "Hi", "bfs", "dfs", "best_of_n", "first",
    "full",
)  # fmt: skip


def pieces_of(*pieces: str, most: int = 12) -> Text:
    """Texts of these pieces in any order, with anything between them."""
    piece = st.one_of(st.sampled_from(pieces), st.text(max_size=3))
    return st.lists(piece, max_size=most).map("".join)


verdict_texts: Final = pieces_of(*_VERDICT_PIECES, most=20)
mark_texts: Final = pieces_of(*_MARK_PIECES, most=20)

_scalars: Final = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(-2, 5), st.floats(), st.floats(0, 1), st.text(max_size=8),
    st.sampled_from(_VALUES), st.sampled_from((10**30, -(10**30), 1e308, "\ud800", "\x00", "\u2028")),
)  # fmt: skip
names: Final = st.one_of(st.sampled_from(_NAMES), st.text(max_size=5))
values: Final = st.recursive(
    _scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(names, inner, max_size=5)),
    max_leaves=12,
)
objects: Final = st.dictionaries(names, values, max_size=6)


def spoilt(sound: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """`sound` with some fields replaced, and others beside them."""
    own = st.fixed_dictionaries({}, optional=dict.fromkeys(sound, values))
    return st.builds(lambda wrong, more: {**sound, **wrong, **more}, own, objects)


def written(value: Any) -> bytes:
    """JSON as any client may write it: with NaN and half characters."""
    return json.dumps(value).encode()


def damaged(bodies: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Bodies as they are, cut off, or with a few bytes in their middle."""

    def spoil(body: bytes, place: float, rubbish: bytes, cut: bool) -> bytes:
        at = int(place * len(body))
        return body[:at] + rubbish + (b"" if cut else body[at:])

    return st.one_of(bodies, st.builds(spoil, bodies, st.floats(0, 1), st.binary(max_size=4), st.booleans()))


@st.composite
def split(draw: st.DrawFn, bodies: st.SearchStrategy[bytes]) -> tuple[bytes, list[bytes]]:
    """A body, and the same in pieces that break anywhere."""
    body = draw(bodies)
    places = sorted(draw(st.lists(st.integers(0, len(body)), max_size=8)))
    ends = [*places, len(body)]
    return body, [body[start:end] for start, end in zip([0, *places], ends, strict=True)]
