"""`spar batch`: run a file of requests, with the rate and the time left on stderr."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Final

import httpx
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from spar_client.api import Api, Connection
from spar_client.batch.lines import BadLine
from spar_client.batch.results import Results, Row
from spar_client.batch.runner import Batch
from spar_client.batch.totals import Totals
from spar_client.cli.screen import printable
from spar_client.errors import APIProtocolError
from spar_client.transport import AsyncTransport

# A batch has the patience to wait for a full server.
_RETRIES: Final = 8
_NOTE_EVERY_S: Final = 10.0


def run(
    *,
    source: Path,
    output: Path,
    url: str,
    api_key: str | None,
    model: str | None,
    budget: int | None,
    concurrency: int,
    timeout: float,
) -> bool:
    """Answer every line of `source` that has no row in `output`, and print the totals; whether all were answered.

    Raises:
        ClientError: the server is gone, or does not know the key.
        ValueError: a file or the address cannot be used.
    """
    if output.exists() and os.path.samefile(source, output):
        raise ValueError(f"{output}: is the input; give another output file")
    return asyncio.run(
        _run(
            source,
            output,
            Connection.of(url, api_key, timeout=timeout, max_retries=_RETRIES),
            model,
            budget,
            concurrency,
        )
    )


async def _run(
    source: Path, output: Path, connection: Connection, model: str | None, budget: int | None, concurrency: int
) -> bool:
    limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
    api = Api(connection, AsyncTransport(httpx.AsyncClient(limits=limits)))
    totals = Totals()
    try:
        batch = Batch(source, model or await _first_model(api), budget)
        with Results(output) as results:
            size = batch.size(results)
            for row in results.rows():
                totals.add(row)
            with _Meter(size, totals) as meter:
                await batch.run(api, results, concurrency=concurrency, on_row=meter.add, on_bad=meter.report)
    finally:
        await api.aclose()
    meter.print("\n".join(totals.lines()))
    return totals.answered == size


async def _first_model(api: Api) -> str:
    models = await api.models()
    if not models:
        raise APIProtocolError("the server has no model that this key may use")
    return models[0].id


class _Meter:
    """The state of a batch on stderr: a bar on a terminal, else a line now and then."""

    def __init__(self, size: int, totals: Totals) -> None:
        self._totals = totals
        self._size = size
        self._began = self._noted = time.monotonic()
        self._before = totals.rows
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"), TimeRemainingColumn())
        self._bar = Progress(*columns, console=self._console, disable=not self._console.is_terminal)
        self._task = self._bar.add_task("", total=size, completed=self._before, rate="")

    def add(self, row: Row) -> None:
        self._totals.add(row)
        rate = self._rate()
        self._bar.update(self._task, completed=self._totals.rows, rate=rate)
        if self._bar.disable and time.monotonic() - self._noted >= _NOTE_EVERY_S:
            self._noted = time.monotonic()
            self.print(f"{self._totals.rows:,} of {self._size:,}, {rate}")

    def report(self, line: BadLine) -> None:
        self.print(f"line {line.number}: {line.problem}")

    def print(self, text: str) -> None:
        self._console.print(Text(printable(text)))

    def _rate(self) -> str:
        done = self._totals.rows - self._before
        seconds = max(time.monotonic() - self._began, 1e-9)
        left = (self._size - self._totals.rows) * seconds / max(done, 1)
        failed = f", {self._totals.failed:,} failed" if self._totals.failed else ""
        return f"{done / seconds:,.1f} a second, {_duration(left)} left{failed}"

    def __enter__(self) -> _Meter:
        if self._before:
            self.print(f"{self._before:,} of {self._size:,} lines were done before.")
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
