"""The parsers one by one. Each check feeds one of them and says what must hold of whatever comes out."""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from fastapi.exceptions import RequestValidationError
from hypothesis import strategies as st
from pydantic import ValidationError

from spar_core.backends.openai.errors import backend_error, read_object, retry_after
from spar_core.backends.openai.parsing import completion_of, completions_of
from spar_core.backends.openai.size_limits import SizeLimit
from spar_core.backends.openai.streaming import DataLines, DeltaReader
from spar_core.checks import build_check, format_check
from spar_core.checks.registry import BUILT_IN_IDS
from spar_core.errors import BackendError, RequestError
from spar_core.refiner import extract_refined
from spar_core.verdict import parse_verdict
from spar_server.api.responses.request import ResponsesRequest
from spar_server.errors import ApiError
from spar_server.http.deadlines import answer_within
from spar_server.http.json_route import MAX_DEPTH, read_json
from spar_server.schemas import ChatRequest
from spar_server.serving.model_name import find_model
from spar_server.serving.plan import resolve_budget
from spar_server.settings import RefineDefaults
from tests.fuzz.strategies import (
    damaged,
    mark_texts,
    names,
    objects,
    pieces_of,
    split,
    spoilt,
    values,
    verdict_texts,
    written,
)

_REFUSALS: Final = (RequestError, RequestValidationError, ValidationError, ApiError)
_MOST_TOKENS: Final = 10**12
# Longer than any line that is made here.
_LONGEST: Final = 2**20


def strict(value: Any) -> bytes:
    """Written as JSON that every reader takes; fails where it cannot be."""
    return json.dumps(value, allow_nan=False, ensure_ascii=False).encode()


json_bodies: Final = damaged(st.one_of(values.map(written), st.binary(max_size=40)))


def check_json(raw: bytes) -> None:
    """What is taken can be written again as strict JSON, and reads as it read before."""
    try:
        value = read_json(raw)
    except RequestError:
        return
    assert read_json(strict(value)) == value
    assert _depth(value) <= MAX_DEPTH


def _depth(value: Any) -> int:
    inside = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    return 1 + max(map(_depth, inside), default=0) if isinstance(value, dict | list) else 0


_usage: Final = st.one_of(values, st.fixed_dictionaries({"prompt_tokens": values, "completion_tokens": values}))
_message: Final = st.one_of(values, st.fixed_dictionaries({"content": values}, optional={"tool_calls": values}))
_choice: Final = st.one_of(
    values,
    st.fixed_dictionaries(
        {}, optional={"message": _message, "delta": _message, "finish_reason": values, "logprobs": values}
    ),
)
_answers: Final = st.one_of(
    objects, st.fixed_dictionaries({"choices": st.lists(_choice, max_size=3)}, optional={"usage": _usage})
)
answer_bodies: Final = damaged(_answers.map(written))


def check_answer(raw: bytes) -> None:
    """An upstream's answer is a completion with counts that are counts, or the upstream's failure."""
    with suppress(BackendError):
        data = read_object(raw, _LONGEST)
        with suppress(BackendError):
            completions_of(data)
        completion = completion_of(data)
        completion.text.encode()
        for count in (completion.usage.prompt_tokens, completion.usage.completion_tokens):
            assert isinstance(count, int)
            assert 0 <= count <= _MOST_TOKENS


def _stream(answers: list[bytes], ends: bytes, done: bool) -> bytes:
    return b"".join(b"data: " + answer + ends for answer in answers) + (b"data: [DONE]" + ends if done else b"")


streams: Final = split(
    damaged(
        st.builds(
            _stream,
            st.lists(answer_bodies, max_size=4),
            st.sampled_from((b"\n\n", b"\r\n\r\n", b"\n", b"\n: comment\n\n")),
            st.booleans(),
        )
    )
)


def check_stream(stream: tuple[bytes, list[bytes]]) -> None:
    """A stream means the same wherever its pieces break, and its texts can be sent on."""
    whole, pieces = stream
    assert _heard([whole]) == _heard(pieces)


def _heard(pieces: list[bytes]) -> tuple[str, str | None, bool]:
    deltas, texts = DeltaReader(SizeLimit(_LONGEST, _LONGEST, _LONGEST)), list[str]()
    for piece in pieces:
        if not (deltas.done or deltas.broken):
            texts += [delta.text for delta in deltas.read(piece)]
    if not (deltas.done or deltas.broken):
        texts += [delta.text for delta in deltas.end()]
    text = "".join(texts)
    text.encode()
    finish = None
    if not deltas.broken:
        with suppress(BackendError):
            last = deltas.last()
            last.text.encode()
            finish = last.finish_reason
    return text, finish, deltas.broken is not None


def check_data_lines(stream: tuple[bytes, list[bytes]]) -> None:
    whole, pieces = stream
    assert _lines([whole]) == _lines(pieces)


def _lines(pieces: list[bytes]) -> list[bytes]:
    lines = DataLines(_LONGEST)
    return [line for piece in pieces for line in lines.feed(piece)] + lines.end()


def check_failure(case: tuple[int, bytes, str]) -> None:
    """Whatever an upstream's error holds, there is a failure with a text that can be sent, and a time that is one."""
    status, body, wait = case
    error = backend_error(status, body, {"Retry-After": wait})
    str(error).encode()
    seconds = retry_after(wait)
    assert seconds is None or (seconds >= 0 and math.isfinite(seconds))
    assert not math.isnan(answer_within(wait))


failures: Final = st.tuples(
    st.integers(400, 599), damaged(values.map(written)), st.one_of(st.text(max_size=40), st.floats().map(str))
)


def check_verdict(case: tuple[str, str, slice, str]) -> None:
    """A judgement that only quotes the response says nothing that the response could not have said: never Yes."""
    text, response, part, how = case
    assert parse_verdict(text, response) in (True, False, None)
    quote = _QUOTED[how](response[part])
    for quoting in (quote, f"It says:\n{quote}\nwhich is odd.", f"{quote}\n{quote}", f'1. It ends with "{quote}" and'):
        assert parse_verdict(quoting, response) is not True


# How a judge may write down what a response says.
_QUOTED: Final[dict[str, Callable[[str], str]]] = {
    "as it is": str,
    "in plain letters": lambda text: unicodedata.normalize("NFKC", text).replace("\u0430", "a").replace("\u0435", "e"),
    "without what cannot be seen": lambda text: text.replace("\u200b", "").replace("\u00ad", "").replace("\u202e", ""),
    "in one line": lambda text: " ".join(text.split()),
    "without markup": lambda text: text.translate(str.maketrans("", "", "*_`>")),
    "in small letters": str.lower,
    "as a quotation": lambda text: "> " + text.replace("\n", "\n> "),
}
verdicts: Final = st.tuples(
    verdict_texts, verdict_texts, st.one_of(st.just(slice(None)), st.slices(60)), st.sampled_from(sorted(_QUOTED))
)


def check_marks(case: tuple[str, str]) -> None:
    """A refinement is a part of the reply, with something in it, or a failure."""
    raw, response = case
    refined = extract_refined(raw, response)
    if refined.text is None:
        assert refined.failure is not None
    else:
        assert refined.text
        assert refined.text in raw


_chat: Final = {"model": "pair", "messages": [{"role": "user", "content": "Hi"}]}
_defaults: Final = RefineDefaults()


def check_responses(body: dict[str, Any]) -> None:
    """A Responses request stands for a chat, or is refused."""
    with suppress(*_REFUSALS):
        # The reader of bodies has refused what JSON cannot say.
        chat = ResponsesRequest.model_validate(read_json(json.dumps(body).encode())).to_chat()
        strict([message.to_openai() for message in chat.conversation()])


def check_budget(case: tuple[dict[str, Any], str | None]) -> None:
    """A budget is a whole number within the limit, whatever asks for it."""
    body, header = case
    with suppress(*_REFUSALS):
        asked = resolve_budget(
            ChatRequest.model_validate(body), header, named=find_model(body["model"], "pair"), defaults=_defaults
        )
        assert isinstance(asked.nodes, int)
        assert 0 <= asked.nodes <= _defaults.max_refine_budget


_budgets: Final = pieces_of("0", "7", "64", "65", "9" * 12, "-", "+", "_", ".", "e", " ", "\u0663", "\u00b2", most=4)
budgets: Final = st.tuples(
    st.builds(lambda sound, suffix: {**sound, "model": f"pair@{suffix}"}, spoilt(_chat), _budgets),
    st.one_of(st.none(), _budgets),
)


def check_check(case: tuple[str, dict[str, Any], str]) -> None:
    """A check is refused, or says of any text whether it passes."""
    name, kwargs, text = case
    with suppress(RequestError):
        check = build_check(name, kwargs)
        check.requirement().encode(errors="surrogatepass")
        assert check.find(text).passed in (True, False)


_KWARGS: Final = (
    "keywords", "forbidden_words", "keyword", "frequency", "relation", "letter", "let_frequency", "let_relation",
    "num_sentences", "num_words", "num_paragraphs", "nth_paragraph", "first_word", "postscript_marker",
    "num_placeholders", "num_bullets", "num_highlights", "section_spliter", "num_sections", "capital_frequency",
    "capital_relation", "end_phrase", "language", "prompt_to_repeat", "N", "n", "m", "n_sent", "n_words", "n_start",
    "n_end", "small_n", "phrase", "keyword1", "keyword2", "last_word",
)  # fmt: skip
_kwarg_values: Final = st.one_of(
    values, st.integers(-1, 3), st.sampled_from(("at least", "less than", "en", "a", "P.S.", "Section", "a b a")),
    st.lists(st.text(min_size=1, max_size=4), min_size=1, max_size=3),
)  # fmt: skip
_response_pieces: Final = (
    "*",
    "**",
    "<<",
    ">>",
    "P.S.",
    "Section 1",
    "***",
    "\n\n",
    "- ",
    "[x]",
    ". ",
    "A",
    "\u6c34",
    "{}",
    '"',
)
checks: Final = st.tuples(
    st.sampled_from(BUILT_IN_IDS),
    st.dictionaries(st.one_of(st.sampled_from(_KWARGS), names), _kwarg_values, max_size=4),
    pieces_of(*_response_pieces),
)
_KEYWORDS: Final = (
    "type", "properties", "required", "items", "anyOf", "allOf", "not", "$ref", "$defs", "enum", "const", "pattern",
    "minLength", "maximum", "multipleOf", "uniqueItems", "additionalProperties", "patternProperties", "if", "then",
    "else",
    "$id", "$anchor", "$dynamicRef", "format", "prefixItems", "contains", "dependentSchemas", "propertyNames",
)  # fmt: skip
_schema_values: Final = st.one_of(
    values, st.sampled_from(("object", "#", "#/$defs/a", "(", "(a+)+$", "string", "array", 0))
)
schemas: Final = st.recursive(
    st.dictionaries(st.sampled_from(_KEYWORDS), _schema_values, max_size=4),
    lambda inner: st.dictionaries(
        st.sampled_from(_KEYWORDS),
        st.one_of(inner, st.lists(inner, max_size=3), st.dictionaries(names, inner, max_size=3)),
    ),
    max_leaves=6,
)


def check_schema(case: tuple[dict[str, Any], str]) -> None:
    """A schema is refused, or says of any text whether it keeps to it."""
    schema, text = case
    with suppress(RequestError):
        check = format_check({"type": "json_schema", "json_schema": {"name": "x", "schema": schema}})
        assert check is not None
        assert check.find(text).passed in (True, False)


PARSERS: Final = {
    "a request's JSON": (json_bodies, check_json),
    "an upstream's answer": (answer_bodies, check_answer),
    "an upstream's stream": (streams, check_stream),
    "the lines of a stream": (streams, check_data_lines),
    "an upstream's error": (failures, check_failure),
    "a verdict": (verdicts, check_verdict),
    "a refinement's marks": (st.tuples(mark_texts, mark_texts), check_marks),
    "a Responses request": (spoilt({"model": "pair", "input": "Hi"}), check_responses),
    "a budget": (budgets, check_budget),
    "a check": (checks, check_check),
    "a JSON Schema": (
        st.tuples(schemas, st.one_of(values.map(lambda value: written(value).decode()), st.text())),
        check_schema,
    ),
}
