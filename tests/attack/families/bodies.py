"""Bodies of up to the limit, with a key: none may hold the loop or fill the memory out of proportion to its size."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from tests.attack.outcome import Outcome, none_of
from tests.attack.target import ATTEMPTS, BLOCKED_MS, MEMORY_MB, Target

_CHAT: Final = "/v1/chat/completions"
_MB: Final = 2**20
_LIMIT: Final = 32 * _MB - 4096
# A body is held as bytes, as text and as values, and goes out again as bytes.
_COPIES: Final = 8
# One key's share of all long bodies, 128 MB, in as many copies as a request takes while it waits for its upstream.
_TOGETHER_MB: Final = 640.0
_AT_ONCE: Final = 16
_LET_IN_WITHIN_S: Final = 30.0
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
    "32 MB of one-letter texts": lambda: _with("metadata", '"\\u00e9"'),
    "32 MB of keys": lambda: _with("metadata", f"{{{_entries(20, '1')}}}"),
    "32 MB of half characters": lambda: _with("metadata", '"\\ud800"'),
    "32 MB of open lists": lambda: b"[" * _LIMIT,
    "32 MB of messages that are none": lambda: _filled('{"model": "pair", "messages": [', "0", "]}"),
    "32 MB of parts that are none": lambda: _filled(
        '{"model": "pair", "messages": [{"role": "user", "content": [', "{}", "]}]}"
    ),
    "32 MB of stops": lambda: _with("stop", '"x"'),
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


async def many_at_once(target: Target) -> list[Outcome]:
    """Bodies of 30 MB of one key, all of them under way: what has no room waits unread."""
    text = await target.play(delay_s=30.0)
    body = _text(text + " word" * (6 * _MB))

    async def send() -> None:
        sent = [asyncio.create_task(target.post(_CHAT, body)) for _ in range(_AT_ONCE)]
        let_in.append(await target.called(text, within_s=_LET_IN_WITHIN_S))
        # The others have come as far as they may.
        await asyncio.sleep(2.0)
        for task in sent:
            task.cancel()
        await asyncio.gather(*sent, return_exceptions=True)

    let_in: list[bool] = []
    name = f"{_AT_ONCE} bodies of 30 MB at once"
    outcomes = await target.measure(name, send, memory_mb=_TOGETHER_MB, blocked_ms=10 * BLOCKED_MS)
    while not any(let_in) and len(let_in) < ATTEMPTS:
        await send()
    return [*outcomes, none_of("long bodies that were not let in", [] if any(let_in) else ["none of them"])]


async def other_endpoints(target: Target) -> list[Outcome]:
    """The same shapes where other models read them."""
    bodies = {
        "/v1/responses": _filled('{"model": "pair", "input": [', "{}", "]}", 4 * _MB),
        "/v1/judge": _filled('{"response": "x", "messages": [', '{"role":"user","content":"x"}', "]}", 4 * _MB),
        "/v1/refine": _filled('{"model": "pair", "response": "x", "messages": [', "0", "]}", 4 * _MB),
        "/v1/completions": _filled('{"model": "pair", "prompt": [', "[]", "]}", 4 * _MB),
        "/v1/embeddings": _filled('{"model": "pair", "input": [', "1", "]}", 4 * _MB),
    }
    outcomes = []
    for path, body in bodies.items():
        memory_mb = MEMORY_MB + _COPIES * len(body) / _MB
        run = partial(target.post, path, body)
        outcomes += await target.measure(f"4 MB of values to {path}", run, memory_mb=memory_mb)
    return outcomes


def _judged(response: str, checks: list[dict[str, Any]]) -> dict[str, Any]:
    return {"messages": _QUESTION, "response": response, "votes": 1, "checks": checks}


def _repeated(piece: str, length: int = 990_000) -> str:
    """`piece` again and again: as long as a response to be judged may be, unless said otherwise."""
    return piece * (length // len(piece))


# What a response may be made of to make its reader slow.
_TEXTS: Final = {
    "words": "word ",
    "blanks": " ",
    "full stops": ".",
    "line ends": "\n",
    "one word": "x",
    "stars": "*",
    "quotes": '"',
    "less-than signs": "<",
    "ampersands": "&a",
    "abbreviations": "e.g. ",
    "Chinese": "\u6c34",
    "Cyrillic": "\u0430\u0435 ",
    "ligatures": "\ufdfa",
    "accents": "a\u0301\u0301\u0301",
    "verdicts": "Final Judgement: Yes\n",
    "headings": "Final Judgement ",
    "choices": "yes/no ",
    "tags": "</response>",
    "template tokens": "<|im_end|>",
    "refiner's marks": "[[start]]\n",
    "blocks": "[[start]]\nx\n[[end]]\n",
    "zero-width spaces": "F\u200binal ",
}


# Of these a server that reads them at once, or in one step, is slow.
_SLOW_TEXTS: Final = (
    "line ends", "ampersands", "verdicts", "headings", "template tokens", "blocks", "zero-width spaces",
)  # fmt: skip


async def judged_texts(target: Target) -> list[Outcome]:
    """Long texts to be judged, which a judge quotes as a whole."""
    outcomes, unread = list[Outcome](), list[str]()
    for name, piece in _TEXTS.items():

        async def judge(name: str = name, piece: str = piece) -> None:
            reply = await target.post("/v1/judge", _judged(_repeated(piece), []))
            if reply.status != 200:
                unread.append(f"{name}: {reply.status}")

        outcomes += await target.measure(f"1 MB of {name}, judged", judge)
    return [*outcomes, none_of("long texts that were not judged", unread)]


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
        "32 checks of 1,000 words on 1 MB", partial(target.post, "/v1/judge", _judged(_repeated("x"), keywords))
    )
    unread = []
    for name in ("words", "full stops", "stars", "line ends", "abbreviations", "Chinese", "accents"):

        async def check(name: str = name) -> None:
            reply = await target.post("/v1/judge", _judged(_repeated(_TEXTS[name]), every))
            if reply.status != 200:
                unread.append(f"{name}: {reply.status}")

        outcomes += await target.measure(f"every check on 1 MB of {name}", check)
    return [*outcomes, none_of("long texts that were not checked", unread)]


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
    """What the models write in plain chat: drafts, judgements and refinements as long as their upstream may send."""
    outcomes = []
    for name in _SLOW_TEXTS:
        piece = _TEXTS[name]
        text = await target.play(actor=_repeated(piece, 2_000_000))
        outcomes += await target.measure(f"a draft of {name}", partial(target.chat, text, refine_budget=1))
    for name in ("line ends", "Cyrillic", "choices"):
        piece = _TEXTS[name]
        judgement = f"Final Judgement: {_repeated(piece, 200_000)}"
        text = await target.play(judge=judgement)
        run = partial(target.chat, text, refine_budget=1, refine={"votes": 5, "early_vote_stop": False})
        outcomes += await target.measure(f"judgements of {name}", run)
    for name in ("ampersands", "ligatures", "tags", "blocks"):
        piece = _TEXTS[name]
        draft, reply = _repeated(piece, 500_000), f"[[start]]\n{_repeated(piece, 500_000)}\n[[end]]"
        text = await target.play(actor=draft, judge="It is wanting.\n{heading}: No", refiner=reply)
        run = partial(target.chat, text, refine_budget=3, refine={"votes": 1})
        outcomes += await target.measure(f"refinements of {name}", run)
    return outcomes


ATTACKS: Final = (structures, many_at_once, other_endpoints, judged_texts, checked_texts, schemas, written_texts)
