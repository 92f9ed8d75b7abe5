"""An OpenAI-compatible upstream whose every vote is No, so that a search spends its budget.

`/SECONDS/v1` takes that long a call, `/0/v1` answers at once; with `/SECONDSxWORDS/v1` each text is longer by that many
words. `GET /calls` counts the calls. Prints its port.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import Any

import uvloop
from json_server import JsonServer, serve


class Upstream(JsonServer):
    """One request after the other."""

    numbers, calls = itertools.count(), itertools.count()

    def asked(self, method: str, path: str, body: bytes) -> None:
        if path == "/calls":
            # Asking takes a number too.
            self.send(json.dumps(next(self.calls)).encode())
        elif method == "GET":
            # Whether it lives.
            self.send(b"null")
        else:
            next(self.calls)
            seconds, _, words = path.split("/")[1].partition("x")
            filler = "word " * int(words or 0)
            asyncio.get_running_loop().call_later(float(seconds), self._answer, json.loads(body), filler)

    def _answer(self, body: dict[str, Any], filler: str) -> None:
        count = body.get("n") or 1
        said = [{"role": "assistant", "content": self._say(body["messages"], filler)} for _ in range(count)]
        choices = [{"index": at, "message": each, "finish_reason": "stop"} for at, each in enumerate(said)]
        usage = {"prompt_tokens": 1, "completion_tokens": count, "total_tokens": count + 1}
        head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m"}
        self.send(json.dumps({**head, "choices": choices, "usage": usage}).encode())

    def _say(self, asked: list[dict[str, Any]], filler: str) -> str:
        if asked[0]["content"].startswith("Score the following conversation"):
            return '{"score": 1, "reasoning": "none"}'
        if not asked[0]["content"].startswith("Judge the response."):
            return f"{filler}draft {next(self.numbers)}"
        if len(asked) > 1:
            return f"[[start]]\n{filler}answer {next(self.numbers)}\n[[end]]"
        return f"{filler}\nFinal Judgement: No"


if __name__ == "__main__":
    uvloop.run(serve(Upstream))
