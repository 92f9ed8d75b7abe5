"""Make the requests of a batch that have no row yet, several at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spar_client.api import Api
from spar_client.batch.lines import BadLine, Line, Request, read_lines
from spar_client.batch.results import Results, ResultsError, Row
from spar_client.errors import (
    APIProtocolError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    PermissionDeniedError,
)


@dataclass(frozen=True)
class Batch:
    """A file of requests; `model` and `budget` are for lines that name none."""

    source: Path
    model: str
    budget: int | None

    def lines(self) -> Iterator[Line]:
        return read_lines(self.source, model=self.model, budget=self.budget)

    def size(self, results: Results) -> int:
        """The number of lines.

        Raises:
            ResultsError: the results are of other requests.
        """
        done = {row["id"]: row["custom_id"] for row in results.rows()}
        size = 0
        for line in self.lines():
            size += 1
            done.pop(line.id, None)
        if done:
            raise ResultsError(
                f"{len(done)} of the results are not of these requests, such as that of {next(iter(done.values()))!r}: "
                "the file, the model or the budget has changed; restore it, or give another output file"
            )
        return size

    async def run(
        self,
        api: Api,
        results: Results,
        *,
        concurrency: int,
        on_row: Callable[[Row], None],
        on_bad: Callable[[BadLine], None],
    ) -> None:
        """Make every request that has no row, up to `concurrency` at a time.

        Raises:
            APIConnectionError: the server is gone; what it has not answered can be continued later.
            AuthenticationError: the key is not known.
        """
        done = {row["id"] for row in results.rows()}
        left = (line for line in self.lines() if line.id not in done)

        async def work() -> None:
            for line in left:
                if isinstance(line, BadLine):
                    on_bad(line)
                row = await _row(api, line)
                await results.append(row)
                on_row(row)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(concurrency):
                    group.create_task(work())
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None


async def _row(api: Api, line: Line) -> Row:
    if isinstance(line, BadLine):
        message = f"line {line.number}: {line.problem}"
        return _failure(line, "invalid_line", message)
    try:
        body, request_id = await api.forward(line.url.removeprefix("/v1"), line.body)
    except (AuthenticationError, PermissionDeniedError):
        # It would be the same for every line.
        raise
    except APIStatusError as error:
        failed = {"message": error.message, "type": error.type, "param": error.param, "code": error.code}
        return _answer(line, error.status, error.request_id, {"error": failed})
    except APITimeoutError as error:
        return _failure(line, "timeout", str(error))
    except APIProtocolError as error:
        return _failure(line, "protocol", str(error))
    return _answer(line, 200, request_id, body)


def _answer(line: Request, status: int, request_id: str | None, body: dict[str, Any]) -> Row:
    response = {"status_code": status, "request_id": request_id, "body": body}
    return {"id": line.id, "custom_id": line.custom_id, "response": response, "error": None}


def _failure(line: Line, code: str, message: str) -> Row:
    error = {"code": code, "message": message}
    return {"id": line.id, "custom_id": line.custom_id, "response": None, "error": error}
