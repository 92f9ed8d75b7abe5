"""The data stages on a real Ray cluster on this machine: the files of one process, even if workers are killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from typer.testing import CliRunner

from spar_core.errors import BackendUnavailable, ConfigError
from spar_core.types import Message, Sampling
from spar_server.cli.main import app
from spar_training.data.negatives import JudgedItem
from spar_training.data.prompts import PromptRecord, write_prompts
from spar_training.data.search_results import Searched
from spar_training.inference.endpoint import ModelEndpoint
from spar_training.methods.spar import Spar
from spar_training.pipeline.executors.base import Executor, StageRun
from spar_training.pipeline.executors.local import LocalExecutor
from spar_training.pipeline.executors.ray import RayExecutor, ray_executor
from spar_training.pipeline.runner import DEFAULT_POLICY, OnProgress, Policy, Progress, failed_file, ignore_progress
from spar_training.pipeline.stage import Role
from spar_training.runs.folder import open_run
from spar_training.runs.recipe import Recipe
from spar_training.stages.iteration import DataStages
from spar_training.stages.sample import Sample
from tests.support.faulty_upstream import Call, FaultyUpstream

SHIPPED = Path(__file__).parents[2] / "spar_core" / "models"
ROOT = Path(__file__).parents[2]
PROMPTS = [PromptRecord(f"p{n}", (Message("user", f"Say {n}."),)) for n in range(40)]
SAMPLE = Sample(responses=1, sampling=Sampling(max_tokens=24), seed=3)
FILES = ("samples.jsonl", "samples.failed.jsonl", "judgements.jsonl", "searches.jsonl", "searches.failed.jsonl")


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a cluster for these tests."""
    # Workers import the packages under test, installed or not.
    paths = os.pathsep.join(str(ROOT / part) for part in (".", "server", "training"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", paths)
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        # Else Ray kills these small workers when others have taken the machine's memory.
        patch.setenv("RAY_memory_monitor_refresh_ms", "0")
        import ray

        ray.init(
            address="local",
            num_cpus=2,
            object_store_memory=100 * 2**20,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
        )
        try:
            yield ray.get_runtime_context().gcs_address
        finally:
            ray.shutdown()


def number_of(call: Call) -> int:
    """A number that depends on the call, and differs between calls."""
    return zlib.crc32(f"{call.messages}{call.seed}".encode())


def say(call: Call) -> str:
    """An actor, a judge that accepts a third of all answers, and a refiner that never repeats one."""
    if call.model == "small-actor":
        return f"answer {number_of(call)}"
    if len(call.messages) > 1:
        return f"[[start]]\nbetter {number_of(call)}\n[[end]]"
    good = zlib.crc32(call.messages[0]["content"].encode()) % 3 == 0
    return f"Final Judgement: {'Yes' if good else 'No'}"


def refuse_one(call: Call) -> str:
    return "500" if "Say 7." in call.messages[0]["content"] and call.model != "small-refiner" else "none"


@pytest.fixture
def upstreams() -> Iterator[list[FaultyUpstream]]:
    with ExitStack() as stack:
        yield [stack.enter_context(FaultyUpstream(say=say, fault=refuse_one).serving()) for _ in range(2)]


def recipe(prompts: Path) -> Recipe:
    short = {"max_tokens": 24}
    return Recipe.model_validate(
        {
            "name": "small",
            "templates": "compact",
            "in_flight": 8,
            "prompts": {"source": "file", "file": prompts, "per_iteration": 24},
            "sample": {**short, "responses": 3},
            "judge": {**short, "votes": 3},
            "search": short,
        }
    )


class Collected(NamedTuple):
    judged: list[JudgedItem]
    searches: list[Searched]


async def collected(folder: Path, executor: Executor, upstreams: list[FaultyUpstream]) -> Collected:
    prompts = folder / "prompts.jsonl"
    write_prompts(prompts, PROMPTS[:24])

    @asynccontextmanager
    async def served(role: Role) -> AsyncIterator[ModelEndpoint]:
        yield ModelEndpoint(f"small-{role}", tuple(upstream.url for upstream in upstreams))

    chosen = recipe(prompts)
    iteration = open_run(folder / "run", chosen).iteration(1)
    await DataStages(recipe=chosen, iteration=iteration, executor=executor, open_model=served).run()
    method = Spar(chosen)
    return Collected(method.judged(iteration), method.searches(iteration))


async def test_the_stages_write_the_files_of_a_single_process(
    tmp_path: Path, cluster: str, upstreams: list[FaultyUpstream]
) -> None:
    here = await collected(tmp_path / "here", LocalExecutor(), upstreams)
    for upstream in upstreams:
        upstream.calls.clear()
    there = await collected(tmp_path / "there", RayExecutor(workers=2), upstreams)
    assert there == here
    folders = [tmp_path / folder / "run" / "iteration-1" for folder in ("here", "there")]
    for name in FILES:
        mine, others = contents(*(folder / name for folder in folders))
        assert mine == others, name
    assert [row["id"] for row in rows_of(folders[1] / "samples.failed.jsonl")] == ["p7"]
    accepted = Counter(searched.accepted for searched in here.searches)
    assert accepted[True]
    assert max(len(searched.tree) for searched in here.searches) > 3
    # The workers called both servers.
    assert all(upstream.calls for upstream in upstreams)


def rows_of(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def contents(*files: Path) -> list[bytes]:
    return [file.read_bytes() for file in files]


def sampling(
    model: ModelEndpoint, out: Path, policy: Policy = DEFAULT_POLICY, on_progress: OnProgress = ignore_progress
) -> StageRun:
    return StageRun(stage=SAMPLE, items=PROMPTS, model=model, out=out, policy=policy, on_progress=on_progress)


async def sampled(
    out: Path, executor: Executor, upstream: FaultyUpstream, on_progress: OnProgress = ignore_progress
) -> list[bytes]:
    model = ModelEndpoint("small-actor", (upstream.url,))
    await executor.run(sampling(model, out, Policy(in_flight=8), on_progress))
    return contents(out, failed_file(out))


def workers() -> set[int]:
    """The processes of this cluster's workers that run a stage: grandchildren of this process."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            title = (process / "cmdline").read_bytes()
            parent = (process / "stat").read_text().rpartition(")")[2].split()[1]
            grandparent = Path(f"/proc/{parent}/stat").read_text().rpartition(")")[2].split()[1]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if title.startswith(b"ray::Worker") and int(grandparent) == os.getpid():
            found.add(int(process.name))
    return found


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(600):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_killed_worker_loses_no_item(tmp_path: Path, cluster: str) -> None:
    killed: list[int] = []
    with FaultyUpstream(say=say).serving() as upstream:
        whole = await sampled(tmp_path / "whole.jsonl", LocalExecutor(), upstream)
        assert len(upstream.calls) == len(PROMPTS)

        def pause(progress: Progress) -> None:
            upstream.paused = progress.done >= 10 and len(killed) < 2

        executor = RayExecutor(workers=2)
        run = asyncio.create_task(sampled(tmp_path / "cut.jsonl", executor, upstream, pause))
        # The first worker to be up may have all the calls.
        await until(lambda: run.done() or (upstream.paused and upstream.running > 0 and len(workers()) == 2))
        assert not run.done(), run.result()
        for worker in workers():
            killed.append(worker)
            os.kill(worker, signal.SIGKILL)
        await until(lambda: upstream.running == 0)
        upstream.paused = False
        cut = await run
        again = len(upstream.calls) - 2 * len(PROMPTS)
    # The calls of the two killed workers were made again, and no others.
    assert 0 < again <= 8
    assert cut == whole


DRIVER = """
import asyncio
from pathlib import Path
from tests.integration.test_ray import ModelEndpoint, Policy, ray_executor, sampling

with ray_executor(address={address!r}, workers=2) as executor:
    model = ModelEndpoint("small-actor", ({url!r},))
    asyncio.run(executor.run(sampling(model, Path({out!r}), Policy(in_flight=8))))
"""


def run_driver_and_kill_it(code: str, journal: Path) -> None:
    """Run it in a process of its own until ten items are done."""
    paths = os.pathsep.join(str(ROOT / part) for part in (".", "server", "training"))
    driver = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": paths})
    while not (journal.exists() and len(journal.read_text().splitlines()) >= 10):
        assert driver.poll() is None, "the driver ended before it was killed"
        time.sleep(0.02)
    driver.kill()
    driver.wait()


async def test_a_killed_driver_resumes(tmp_path: Path, cluster: str) -> None:
    with FaultyUpstream(say=say).serving() as upstream:
        whole = await sampled(tmp_path / "whole.jsonl", LocalExecutor(), upstream)
        out, journal = tmp_path / "cut.jsonl", tmp_path / "cut.jsonl.journal"

        def say_twenty(call: Call) -> str:
            upstream.paused = len(upstream.calls) > len(PROMPTS) + 20
            return say(call)

        upstream.say = say_twenty
        code = DRIVER.format(address=cluster, url=upstream.url, out=str(out))
        await asyncio.to_thread(run_driver_and_kill_it, code, journal)
        kept = {f"Say {row['id'][1:]}." for row in rows_of(journal)}
        before = len(upstream.calls)
        upstream.paused, upstream.say = False, say
        assert await sampled(out, RayExecutor(workers=2), upstream) == whole
        # Its workers have ended with it, so that what is asked for since then is this run's.
        asked = {call.messages[0]["content"] for call in upstream.calls[before:]}
    assert 10 <= len(kept) < len(PROMPTS)
    assert not asked & kept
    assert not journal.exists()


async def test_a_dead_upstream_ends_the_run_and_a_missing_model_is_named(tmp_path: Path, cluster: str) -> None:
    broken = FaultyUpstream(fault=lambda call: "500")
    with broken.serving(), pytest.raises(BackendUnavailable, match="run again"):
        await sampled(tmp_path / "out.jsonl", RayExecutor(workers=1), broken)
    nowhere = ModelEndpoint(str(tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match="nowhere: no such folder"):
        await RayExecutor().run(sampling(nowhere, tmp_path / "o"))


@pytest.mark.real
async def test_the_embedded_engine_gives_the_same_answers_in_a_worker(tmp_path: Path, cluster: str) -> None:
    model = ModelEndpoint(str(SHIPPED / "actor"))
    made = []
    for executor in (LocalExecutor(), RayExecutor()):
        out = tmp_path / f"{type(executor).__name__}.jsonl"
        run = sampling(model, out, Policy(in_flight=6))
        made.append(await executor.run(replace(run, items=PROMPTS[:6])))
    assert made[0] == made[1]
    assert all(row["responses"][0]["usage"]["completion_tokens"] for row in made[0])


def refused(*flags: str) -> str:
    return str(CliRunner().invoke(app, ["train", "run", "--out", "/nowhere", *flags]).exception)


def test_invalid_executor_settings_are_named() -> None:
    assert refused("--executor", "slurm") == "--executor slurm: must be local or ray"
    assert "these need --executor ray" in refused("--workers", "2")


def test_an_unreachable_cluster_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    if ray.is_initialized():
        ray.shutdown()
    ray_at = ["--executor", "ray", "--ray-address"]
    assert "--ray-address: no Ray cluster answers at 127.0.0.1:1" in refused(*ray_at, "127.0.0.1:1")
    assert "must be HOST:PORT" in refused(*ray_at, "ray://somewhere:10001")
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    assert refused("--executor", "ray").startswith("RAY_ADDRESS: no Ray cluster answers")


LATE = """
import time
from types import SimpleNamespace
from ray._private import node, services
from spar_training.pipeline.executors.ray import ray_executor

def never(*arguments):
    raise RuntimeError("no such node yet")

services.get_node = never
# By this clock Ray's 30 s are over at once.
node.time = SimpleNamespace(sleep=time.sleep, time=time.time, monotonic=lambda: 60 * time.monotonic())
try:
    with ray_executor():
        pass
except Exception as error:
    print(type(error).__name__, error)
"""


def test_a_cluster_that_starts_too_late_is_a_one_line_error() -> None:
    paths = os.pathsep.join(str(ROOT / part) for part in (".", "server", "training"))
    env = {**os.environ, "PYTHONPATH": paths, "RAY_ADDRESS": "local"}
    ran = subprocess.run([sys.executable, "-c", LATE], env=env, capture_output=True, text=True, check=True)
    assert ran.stdout.startswith("ConfigError --ray-address: Ray's cluster on this machine did not start")
    assert "ray start --head" in ran.stdout


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"pip install 'spar-server\[ray\]'"), ray_executor():
        pass
