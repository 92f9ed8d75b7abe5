"""A server with files and batches, for tests, and OpenAI's own client of it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import openai
from openai.types import Batch, FileObject

from spar_server.app import Gateway, create_app
from spar_server.models.pair import ServedPair
from spar_server.settings import BatchSettings, Settings, TraceSettings
from tests.support.pairs import scripted_pair
from tests.support.spar_serve import PATIENCE_S

Running = Callable[[Any], AbstractContextManager[str]]
CHAT = "/v1/chat/completions"
ENDED = ("completed", "failed", "expired", "cancelled")


def line(custom_id: str, text: str = "Hi", *, url: str = CHAT, **body: Any) -> dict[str, Any]:
    """A line of an input file."""
    asked = {"model": "pair", "messages": [{"role": "user", "content": text}], **body}
    return {"custom_id": custom_id, "method": "POST", "url": url, "body": asked}


def jsonl(lines: Sequence[Any]) -> bytes:
    return "".join(f"{each if isinstance(each, str) else json.dumps(each)}\n" for each in lines).encode()


class BatchClient:
    """OpenAI's client, and what tests do with it again and again."""

    def __init__(self, url: str, key: str = "none", *, retries: int = 0) -> None:
        self.openai = openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=retries)

    def upload(self, lines: Sequence[Any], filename: str = "in.jsonl") -> FileObject:
        return self.openai.files.create(file=(filename, jsonl(lines)), purpose="batch")

    def create(self, lines: Sequence[Any], endpoint: Any = CHAT, **more: Any) -> Batch:
        file = self.upload(lines)
        return self.openai.batches.create(input_file_id=file.id, endpoint=endpoint, completion_window="24h", **more)

    def until(self, batch: Batch, *statuses: str) -> Batch:
        """Wait until the batch has one of the statuses, by default until it has ended."""
        deadline = time.monotonic() + PATIENCE_S
        while (batch := self.openai.batches.retrieve(batch.id)).status not in (statuses or ENDED):
            assert time.monotonic() < deadline, batch
            time.sleep(0.02)
        return batch

    def run(self, lines: Sequence[Any], endpoint: Any = CHAT) -> Batch:
        return self.until(self.create(lines, endpoint))

    def results(self, file_id: str | None) -> dict[str, dict[str, Any]]:
        """The lines of an output or error file by their custom ids, each of which is there once."""
        if file_id is None:
            return {}
        lines = [json.loads(each) for each in self.openai.files.content(file_id).text.splitlines()]
        results = {each["custom_id"]: each for each in lines}
        assert len(results) == len(lines)
        return results


def batch_app(
    folder: Path, pair: ServedPair | None = None, *, traces: TraceSettings | None = None, keys: Any = (), **limits: Any
) -> Gateway:
    """An app with files and batches in a database of this folder."""
    settings = Settings(
        batches=BatchSettings(enabled=True, **limits),
        traces=traces or TraceSettings(path=folder / "batches.sqlite"),
        keys=keys,
    )
    return create_app(settings, pair or scripted_pair())


def answer_of(result: dict[str, Any]) -> str:
    assert result["response"]["status_code"] == 200, result
    return str(result["response"]["body"]["choices"][0]["message"]["content"])
