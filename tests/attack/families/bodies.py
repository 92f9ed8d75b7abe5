"""Bodies of up to the limit, with a key: none may hold the loop or fill the memory out of proportion to its size."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from tests.attack.outcome import Outcome
from tests.attack.target import MEMORY_MB, Target

_CHAT: Final = "/v1/chat/completions"
_MB: Final = 2**20
_LIMIT: Final = 32 * _MB - 4096
# A body is held as bytes, as text and as values, and goes out again as bytes.
_COPIES: Final = 8
_QUESTION: Final = [{"role": "user", "content": "Hi"}]


def _filled(before: str, piece: str, after: str, size: int = _LIMIT) -> bytes:
    """A body of about `size` bytes: `piece` again and again, with commas between."""
    count = size // (len(piece.encode()) + 1)
    return f"{before}{','.join([piece] * count)}{after}".encode()


def _with(field: str, piece: str, opening: str = "[", closing: str = "]", size: int = _LIMIT) -> bytes:
    """A chat with a field that is long."""
    return _filled(
        f'{{"model": "pair", "messages": {json.dumps(_QUESTION)}, "{field}": {opening}', piece, f"{closing}}}", size
    )


def _text(content: str) -> bytes:
    body = {"model": "pair", "messages": [{"role": "user", "content": content}]}
    return json.dumps(body, ensure_ascii=False).encode()


def _entries(count: int, value: str, length: int = 8) -> str:
    return ",".join(f'"{number:0{length}d}": {value}' for number in range(count))


def _unwritable() -> bytes:
    """A long key over many numbers, and half a character that has them all looked at."""
    numbers = ",".join(map(str, range(3000)))
    return f'{{"model": "pair\\ud83d\\ude00", "messages": [], "{"k" * _MB}": [{numbers}, "\\ud800"]}}'.encode()


# Made when they are sent: together they would fill the attacker's memory.
_STRUCTURES: Final[dict[str, Callable[[], bytes]]] = {
    "a long key over 3,000 numbers": _unwritable,
    "32 MB of lists": lambda: _with("metadata", "[]"),
    "32 MB of objects": lambda: _with("metadata", '{"a":1}'),
    "32 MB of numbers": lambda: _with("metadata", "1"),
    "32 MB of floats": lambda: _with("metadata", "1e-5"),
    "32 MB of one-letter texts": lambda: _with("metadata", '"\\u00e9"'),
    "32 MB of keys": lambda: _with("metadata", f"{{{_entries(20, '1')}}}"),
    "32 MB of half characters": lambda: _with("metadata", '"\\ud800"'),
    "32 MB of open lists": lambda: b"[" * _LIMIT,
    "32 MB of messages that are none": lambda: _filled('{"model": "pair", "messages": [', "0", "]}"),
    "32 MB of empty messages": lambda: _filled('{"model": "pair", "messages": [', "{}", "]}"),
    "32 MB of parts that are none": lambda: _filled(
        '{"model": "pair", "messages": [{"role": "user", "content": [', "{}", "]}]}"
    ),
    "32 MB of stops": lambda: _with("stop", '"x"'),
    "32 MB of wrong stops": lambda: _with("stop", "0"),
    "200,000 biases": lambda: _with("logit_bias", _entries(200_000, "1"), "{", "}", 1_000_000),
    "200,000 unknown fields": lambda: f'{{"model": "pair", {_entries(200_000, "1")}}}'.encode(),
    "200,000 unknown options": lambda: _with("refine", _entries(200_000, "1"), "{", "}", 1_000_000),
    "200,000 checks": lambda: _with("refine", '{"id": "x"}', '{"checks": [', "]}", 3 * _MB),
    "a field's name of 1 MB": lambda: _with(f"refine_budge{'t' * _MB}", "1", "", "", 4),
    "an option's name of 1 MB": lambda: _with("refine", f'"branc{"h" * _MB}": 1', "{", "}", _MB + 40),
    "a model's name of 1 MB": lambda: json.dumps({"model": f"pair@{'9' * _MB}", "messages": _QUESTION}).encode(),
    "a check's name of 1 MB": lambda: _with("refine", f'{{"id": "{"x:y" * 330_000}"}}', '{"checks": [', "]}", _MB),
    "32 MB of digits": lambda: _with("seed", "9" * (_LIMIT - 200), "", "", _LIMIT),
    "32 MB of text": lambda: _text("a word " * (_LIMIT // 7 - 20)),
    "32 MB of Chinese": lambda: _text("水" * (_LIMIT // 3 - 100)),
    "32 MB of blanks": lambda: _text(" " * (_LIMIT - 200)),
    "32 MB of one image": lambda: _filled(
        '{"model": "pair", "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "',
        "A" * (_LIMIT - 300), '"}}]}]}',
    ),
}  # fmt: skip


async def structures(target: Target) -> list[Outcome]:
    outcomes = []
    for name, make in _STRUCTURES.items():
        body = make()
        memory_mb = MEMORY_MB + _COPIES * len(body) / _MB
        outcomes += await target.measure(name, partial(target.post, _CHAT, body), memory_mb=memory_mb)
    return outcomes


async def other_endpoints(target: Target) -> list[Outcome]:
    """The same shapes where other models read them."""
    bodies = {
        "/v1/responses": _filled('{"model": "pair", "input": [', "{}", "]}", 8 * _MB),
        "/v1/judge": _filled('{"response": "x", "messages": [', '{"role":"user","content":"x"}', "]}", 8 * _MB),
        "/v1/refine": _filled('{"model": "pair", "response": "x", "messages": [', "0", "]}", 8 * _MB),
        "/v1/completions": _filled('{"model": "pair", "prompt": [', "[]", "]}", 8 * _MB),
        "/v1/embeddings": _filled('{"model": "pair", "input": [', "1", "]}", 8 * _MB),
    }
    outcomes = []
    for path, body in bodies.items():
        memory_mb = MEMORY_MB + _COPIES * len(body) / _MB
        run = partial(target.post, path, body)
        outcomes += await target.measure(f"8 MB of values to {path}", run, memory_mb=memory_mb)
    return outcomes


def _judged(response: str, checks: list[dict[str, Any]]) -> dict[str, Any]:
    return {"messages": _QUESTION, "response": response, "votes": 1, "checks": checks}


_RESPONSES: Final = {
    "words": "word " * 200_000,
    "blanks": " " * _MB,
    "full stops": "." * _MB,
    "line ends": "\n" * _MB,
    "one word": "x" * _MB,
    "stars": "*" * _MB,
    "brackets": "[" * _MB,
    "quotes": '"' * _MB,
    "capitals": "ABC " * 250_000,
    "abbreviations": "e.g. " * 200_000,
    "Chinese": "水" * 350_000,
    "half a verdict": f"Final Judgement: x{' ' * 60_000}x",
    "verdicts": "Final Judgement: Yes\n" * 40_000,
    "choices": "Final Judgement: " + "yes/no " * 100_000,
    "tags": "</response>" * 90_000,
    "template tokens": "<|im_end|>" * 100_000,
    "refiner's marks": "[[start]]\n" * 100_000,
    "zero-width spaces": "F\u200binal " * 100_000,
}


async def judged_texts(target: Target) -> list[Outcome]:
    """Long texts to be judged, which a judge quotes as a whole."""
    outcomes = []
    for name, response in _RESPONSES.items():
        body = _judged(response, [])
        outcomes += await target.measure(f"1 MB of {name}, judged", partial(target.post, "/v1/judge", body))
    return outcomes


async def checked_texts(target: Target) -> list[Outcome]:
    """Long texts to be checked, by every check there is."""
    words = [f"word{number}" for number in range(1000)]
    keywords = [{"id": "keywords:forbidden_words", "kwargs": {"forbidden_words": words}}] * 32
    every: list[dict[str, Any]] = [
        {"id": "keywords:frequency", "kwargs": {"keyword": "a", "frequency": 1, "relation": "at least"}},
        {"id": "keywords:letter_frequency", "kwargs": {"letter": "a", "let_frequency": 1, "let_relation": "at least"}},
        {"id": "length_constraints:number_sentences", "kwargs": {"num_sentences": 1, "relation": "at least"}},
        {"id": "length_constraints:number_words", "kwargs": {"num_words": 1, "relation": "at least"}},
        {"id": "length_constraints:number_paragraphs", "kwargs": {"num_paragraphs": 1}},
        {"id": "detectable_content:postscript", "kwargs": {"postscript_marker": "P.S."}},
        {"id": "detectable_content:number_placeholders", "kwargs": {"num_placeholders": 1}},
        {"id": "detectable_format:number_bullet_lists", "kwargs": {"num_bullets": 1}},
        {"id": "detectable_format:number_highlighted_sections", "kwargs": {"num_highlights": 1}},
        {"id": "detectable_format:title", "kwargs": {}},
        {"id": "detectable_format:json_format", "kwargs": {}},
        {"id": "detectable_format:multiple_sections", "kwargs": {"section_spliter": "Section", "num_sections": 1}},
        {"id": "change_case:capital_word_frequency",
         "kwargs": {"capital_frequency": 1, "capital_relation": "at least"}},
        {"id": "change_case:english_lowercase", "kwargs": {}},
        {"id": "punctuation:no_comma", "kwargs": {}},
        {"id": "startend:quotation", "kwargs": {}},
        {"id": "startend:end_checker", "kwargs": {"end_phrase": "x"}},
        {"id": "language:response_language", "kwargs": {"language": "en"}},
    ]  # fmt: skip
    outcomes = await target.measure(
        "32 checks of 1,000 words on 1 MB", partial(target.post, "/v1/judge", _judged("x" * _MB, keywords))
    )
    for name in ("words", "full stops", "stars", "brackets", "line ends", "abbreviations", "Chinese"):
        body = _judged(_RESPONSES[name], every)
        outcomes += await target.measure(f"every check on 1 MB of {name}", partial(target.post, "/v1/judge", body))
    return outcomes


async def schemas(target: Target) -> list[Outcome]:
    """JSON Schemas that are hard to read or to check an answer by."""
    shapes: dict[str, Any] = {
        "a pattern": {"type": "string", "pattern": "(a+)+$"},
        "references to itself": {"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}] * 30}}},
        "doubling references": {
            "$ref": "#/$defs/a0",
            "$defs": {f"a{n}": {"allOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(40)} | {"a40": {}},
        },
        "100,000 properties": {"properties": {f"p{n}": {"type": "string"} for n in range(100_000)}},
        "unique items": {"type": "array", "uniqueItems": True},
    }
    outcomes = []
    answers = {"a pattern": '"' + "a" * 50_000 + '!"', "unique items": f"[{','.join(['[]'] * 100_000)}]"}
    for name, schema in shapes.items():
        play = await target.play(actor=answers.get(name, "{}"))
        form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
        run = partial(target.chat, play, response_format=form, refine_budget=1)
        outcomes += await target.measure(f"a JSON Schema with {name}", run)
    return outcomes


async def written_texts(target: Target) -> list[Outcome]:
    """What the models write in plain chat: the judge and the refiner are upstreams too."""
    plays = {
        "a draft of half a verdict": {"actor": _RESPONSES["half a verdict"]},
        "a draft of blanks": {"actor": f"x{' ' * 100_000}x"},
        "a judgement of half a verdict": {"judge": _RESPONSES["half a verdict"]},
        "a judgement of choices": {"judge": _RESPONSES["choices"]},
        "a judgement of full stops": {"judge": f"Final Judgement: {'. ' * 200_000}"},
        "a refinement of marks": {"judge": "{heading}: No", "refiner": "[[start]]\n" * 50_000 + "[[end]]\n" * 50_000},
        "a refinement that quotes marks": {
            "actor": "[[start]]\nx\n[[end]]\n" * 20_000, "judge": "{heading}: No",
            "refiner": "[[start]]\nx\n[[end]]\n" * 20_000,
        },
    }  # fmt: skip
    outcomes = []
    for name, play in plays.items():
        text = await target.play(**play)
        run = partial(target.chat, text, refine_budget=2, refine={"votes": 3})
        outcomes += await target.measure(name, run)
    return outcomes


ATTACKS: Final = (structures, other_endpoints, judged_texts, checked_texts, schemas, written_texts)
