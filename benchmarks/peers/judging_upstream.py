"""An OpenAI-compatible upstream that takes CALL_S a call, answers, judges and refines by draws, and counts its calls.

Usage: judging_upstream.py SECONDS. Prints its port. `GET /calls` tells the calls so far.

Half of the drafts are good and one in fourteen of the refined answers; a vote in ten errs. So judging gives both
verdicts, some of them contested, and most searches go two or three levels deep.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import re
import sys
from typing import cast

import uvloop
from json_server import JsonServer, serve

_ANSWER = re.compile(rb"(draft|refined) number (\d+)")
_FILLER = "It says what was asked for, in the words that were asked for, and in their order. " * 4
_GOOD = {b"draft": 0.5, b"refined": 0.07}
_ERRS = 0.1


class Upstream(JsonServer):
    """Answers one request after the other of a connection."""

    calls = itertools.count()
    numbers = itertools.count()

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def asked(self, method: str, path: str, body: bytes) -> None:
        if method == "GET":
            # Asking takes a number too.
            self.send(json.dumps(next(self.calls)).encode())
            return
        next(self.calls)
        asyncio.get_running_loop().call_later(self._seconds, self.send, self._answer(json.loads(body), body))

    def _answer(self, asked: dict[str, object], body: bytes) -> bytes:
        count = cast(int, asked.get("n") or 1)
        said = [self._say(cast(list[object], asked["messages"]), body) for _ in range(count)]
        choices = [
            {"index": at, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
            for at, text in enumerate(said)
        ]
        usage = {"prompt_tokens": 90, "completion_tokens": 80 * count, "total_tokens": 90 + 80 * count}
        head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": asked["model"]}
        return json.dumps({**head, "choices": choices, "usage": usage}).encode()

    def _say(self, messages: list[object], body: bytes) -> str:
        if len(messages) > 1:
            return f"[[start]]\nThis is refined number {next(self.numbers)}. {_FILLER}\n[[end]]"
        judged = _ANSWER.findall(body)
        if not judged:
            return f"This is draft number {next(self.numbers)}. {_FILLER}"
        kind, number = judged[-1]
        good = random.Random(number).random() < _GOOD[kind]
        says = good != (random.random() < _ERRS)
        return f"1. {_FILLER}\nFinal Judgement: {'Yes' if says else 'No'}"


if __name__ == "__main__":
    seconds = float(sys.argv[1])
    uvloop.run(serve(lambda: Upstream(seconds)))
