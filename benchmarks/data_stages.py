"""Throughput of the data stages of self-play, compared with serial calls and with the ideal.

The upstream, in its own process, takes 50 ms per call. "Calls" are the requests that it counts: the responses to a
prompt are one request, and so are the votes on a response.

- serial: the same stages with one call at a time, like the paper's released script; measured on a few prompts and
  scaled by the number of calls.
- ideal: calls x 50 ms / in-flight limit, or the longest chain of dependent calls of one item if that takes longer; no
  schedule can be faster. The chain of a search is a refinement and a judgement per level of its tree. The time at the
  end, when the last searches no longer fill the limit, counts as a loss.

The ideal is out of reach if a call costs the client more CPU time than 50 ms / limit, or if the machine is busy. The
CPU time per call is printed with the results.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from spar_core.backends.choices import completes_many
from spar_core.types import Completion, Message, Sampling
from spar_training.data.prompts import PromptRecord, write_prompts
from spar_training.inference.client import open_backend
from spar_training.inference.endpoint import ModelEndpoint
from spar_training.pipeline.executors.base import Executor, StageRun
from spar_training.pipeline.executors.local import LocalExecutor
from spar_training.pipeline.runner import Policy
from spar_training.pipeline.stage import Role, Stage
from spar_training.runs.folder import open_run
from spar_training.runs.recipe import Recipe
from spar_training.stages.iteration import DataStages
from spar_training.storage.files import Row

CALL_S = 0.05
SERIAL_PROMPTS = 6
BAR = 0.9


@dataclass(frozen=True)
class Figures:
    """The figures of a stage; `chain` is the largest number of dependent calls of an item."""

    items: int
    calls: int
    chain: int
    seconds: float
    cpu_s: float


class OneCallAtATime:
    """Runs a stage without concurrency."""

    async def run(self, run: StageRun) -> list[Row]:
        async with open_backend(run.model.model, urls=run.model.urls) as backend:
            serial = replace(run, policy=Policy(in_flight=1))
            return await serial.run_items(partial(_work, run.stage, Serial(backend)))


async def _work(stage: Stage[Any], backend: Any, item: Any) -> dict[str, Any]:
    return await stage.work(item, backend)


class Serial:
    """A backend that makes one call at a time."""

    def __init__(self, backend: Any) -> None:
        assert completes_many(backend)
        self.model = backend.model
        self.supports_n = backend.supports_n
        self._backend = backend
        self._turn = asyncio.Lock()

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        async with self._turn:
            made: Completion = await self._backend.complete(messages, sampling)
        return made

    async def complete_many(self, messages: Sequence[Message], sampling: Sampling, count: int) -> list[Completion]:
        async with self._turn:
            made: list[Completion] = await self._backend.complete_many(messages, sampling, count)
        return made


@dataclass
class Measured:
    """An executor that records the duration of each stage."""

    executor: Executor
    count_calls: Callable[[], int]
    figures: dict[str, Figures] = field(default_factory=dict)

    async def run(self, run: StageRun) -> list[Row]:
        stage, items = run.stage, run.items
        before, cpu, began = self.count_calls(), time.process_time(), time.perf_counter()
        rows = await self.executor.run(run)
        seconds, cpu_s = time.perf_counter() - began, time.process_time() - cpu
        calls = self.count_calls() - before - 1
        if len(rows) != len(items):
            raise RuntimeError(f"{stage.name}: {len(items) - len(rows)} of {len(items)} items failed")
        chain = 2 * max(depth_of(row) for row in rows) if stage.name == "search" else 1
        self.figures[stage.name] = Figures(len(items), calls, chain, seconds, cpu_s)
        return rows


def depth_of(row: Row) -> int:
    return max(len(node["path"]) for node in row["trace"]["nodes"])


@contextmanager
def upstream() -> Iterator[int]:
    """The port of the running upstream."""
    command = [sys.executable, str(Path(__file__).parent / "peers" / "judging_upstream.py"), str(CALL_S)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.terminate()
        process.wait(30)


def count_calls(port: int) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/calls", timeout=30) as answer:
        return int(answer.read())


async def stages(folder: Path, executor: Executor, port: int, *, prompts: int, in_flight: int) -> None:
    """Run all data stages of an iteration on this many prompts."""
    asked = folder / "asked.jsonl"
    subjects = [PromptRecord(f"p{n}", (Message("user", f"Write a paragraph on {n}. " * 8),)) for n in range(prompts)]
    write_prompts(asked, subjects)
    source = {"source": "file", "file": asked, "per_iteration": prompts}
    recipe = Recipe.model_validate({"name": "bench", "in_flight": in_flight, "prompts": source})

    @asynccontextmanager
    async def served(role: Role) -> AsyncIterator[ModelEndpoint]:
        yield ModelEndpoint(role, (f"http://127.0.0.1:{port}/v1",))

    iteration = open_run(folder / "run", recipe).iteration(1)
    await DataStages(recipe=recipe, iteration=iteration, executor=executor, open_model=served).run()


async def measured(executor: Executor, port: int, *, prompts: int, in_flight: int) -> dict[str, Figures]:
    with tempfile.TemporaryDirectory() as folder:
        measuring = Measured(executor, partial(count_calls, port))
        await stages(Path(folder), measuring, port, prompts=prompts, in_flight=in_flight)
    return measuring.figures


def row(name: str, ours: Figures, serial: Figures, in_flight: int) -> str:
    ideal_s = CALL_S * max(ours.calls / in_flight, ours.chain)
    serial_s = serial.seconds / serial.calls * ours.calls
    share = ideal_s / ours.seconds
    return (
        f"{name:7} {ours.items:6,} {ours.calls:7,} {ours.items / ours.seconds:9,.1f} {ours.items / serial_s:9,.2f} "
        f"{serial_s / ours.seconds:9.1f}x {ours.items / ideal_s:9,.1f} {share:9.1%} "
        f"{1000 * ours.cpu_s / ours.calls:8.2f} ms  (bar: at least {BAR:.0%}: {'met' if share >= BAR else 'MISSED'})"
    )


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--prompts", type=int, default=1600)
    parser.add_argument("--in-flight", type=int, default=32)
    wanted = parser.parse_args()
    with upstream() as port:
        serial = await measured(OneCallAtATime(), port, prompts=SERIAL_PROMPTS, in_flight=1)
        ours = await measured(LocalExecutor(), port, prompts=wanted.prompts, in_flight=wanted.in_flight)
    print(f"{CALL_S * 1000:.0f} ms per call, at most {wanted.in_flight} in flight; serial measured on {SERIAL_PROMPTS} "
          f"prompts ({sum(each.calls for each in serial.values())} calls) and scaled by calls")  # fmt: skip
    print("stage    items   calls   items/s    serial  to serial     ideal  of ideal  CPU per call")
    for name, figures in ours.items():
        print(row(name, figures, serial[name], wanted.in_flight))


if __name__ == "__main__":
    asyncio.run(main())
