"""Run a stage on a Ray cluster: its workers make the calls, this process deals out the items and keeps the journal.

So the files are those of a run in one process, and a driver or a worker that is killed costs no finished item: what a
lost worker had in hand goes to the others, and a new one takes its place.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from spar_core.errors import ConfigError
from spar_training.inference.endpoint import ModelPlace
from spar_training.pipeline.executors.scheduler import Crew
from spar_training.pipeline.executors.worker import Worker
from spar_training.pipeline.runner import Policy, Progress, run_items
from spar_training.pipeline.stage import Stage
from spar_training.storage.files import Row

# Rows pass through it one by one, nothing else does.
_OBJECT_STORE_BYTES: Final = 256 * 2**20
_REACHED_WITHIN_S: Final = 10.0
# What Ray says then.
_LATE: Final = "timed out during startup"
_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")


@contextmanager
def ray_executor(*, address: str | None = None, workers: int | None = None) -> Iterator[RayExecutor]:
    """An executor on the cluster at `address`, HOST:PORT or "auto"; without one, on a cluster of this machine's own.

    `workers` is how many processes work at once; by default one for each server of the model, or each GPU or node of
    the cluster, whichever are the most. A process that is connected to a cluster already stays so.

    Raises:
        ConfigError: Ray is not installed, or there is no cluster at the address.
    """
    ray = _imported()
    if ray.is_initialized():
        yield RayExecutor(workers=workers)
        return
    _connect(ray, address)
    try:
        yield RayExecutor(workers=workers)
    finally:
        ray.shutdown()


class RayExecutor:
    """Many processes, on one machine or several, of the cluster that this process is connected to.

    The policy's `in_flight` holds for all of them together: so many items at once, and so many calls at each server.
    """

    def __init__(self, *, workers: int | None = None) -> None:
        self._workers = workers

    async def run(
        self,
        stage: Stage[Any],
        items: Sequence[Any],
        *,
        model: ModelPlace,
        out: Path,
        policy: Policy,
        tell: Callable[[Progress], None],
    ) -> list[Row]:
        ray = _imported()
        cluster = _Cluster(ray)
        size = min(self._workers or cluster.usual_workers(model), policy.in_flight)
        make = cluster.maker(stage, model, share=policy.in_flight // size, size=size)
        async with _at_work(Crew(make, ray), size) as crew:
            return await run_items(items, crew.work, out=out, policy=policy, on_progress=tell)


@asynccontextmanager
async def _at_work(crew: Crew, size: int) -> AsyncIterator[Crew]:
    """The crew with `size` workers kept up; they end with the block."""
    try:
        async with asyncio.TaskGroup() as group:
            keepers = [group.create_task(crew.keep_one_up()) for _ in range(size)]
            yield crew
            for keeper in keepers:
                keeper.cancel()
    except ExceptionGroup as errors:
        # The block's own, or why no worker can be started: one of them is reason enough.
        raise errors.exceptions[0] from None
    finally:
        crew.end()


class _Cluster:
    """What the cluster is made of, and where on it workers go."""

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        self._nodes: int = max(1, sum(node["Alive"] for node in ray.nodes()))
        self._gpus = int(ray.cluster_resources().get("GPU", 0))

    def usual_workers(self, model: ModelPlace) -> int:
        if _is_here(model):
            return len(model.urls)
        return len(model.urls) or self._gpus or self._nodes

    def maker(self, stage: Stage[Any], model: ModelPlace, *, share: int, size: int) -> Callable[[], Any]:
        """What starts one of `size` workers, which makes at most `share` calls at each place."""
        on_a_node = -(-size // self._nodes)
        # An actor holds no CPU unless it is told to; an engine without a GPU of its own sees none.
        gpus = 1 if self._gpus and not model.urls else 0
        options: dict[str, Any] = {"num_cpus": 1, "num_gpus": gpus, "scheduling_strategy": self._placing(model)}
        # Calls wait for their turn in the worker's backend, not before it.
        actor = self._ray.remote(max_concurrency=10_000, max_restarts=0, max_task_retries=0, **options)(Worker)
        return lambda: actor.remote(stage, model, share, on_a_node)

    def _placing(self, model: ModelPlace) -> Any:
        if not _is_here(model):
            return "SPREAD"
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        return NodeAffinitySchedulingStrategy(self._ray.get_runtime_context().get_node_id(), soft=False)


def _is_here(model: ModelPlace) -> bool:
    """Whether its servers can be called from this machine alone."""
    return any(urlsplit(url).hostname in _LOOPBACK for url in model.urls)


def _imported() -> Any:
    # Nothing is reported to Ray's makers, and the folder that the command was called in is not sent to the cluster.
    # Read when it is imported or a cluster started.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] = "0"
    try:
        import ray
    except ModuleNotFoundError as error:
        raise ConfigError("--executor ray: Ray is not installed; pip install 'spar-server[ray]'") from error
    return ray


def _connect(ray: Any, address: str | None) -> None:
    where = address or os.environ.get("RAY_ADDRESS") or "local"
    name = "RAY_ADDRESS" if not address and where != "local" else "--ray-address"
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if where == "local":
        options |= {"include_dashboard": False, "object_store_memory": _OBJECT_STORE_BYTES}
    elif where != "auto":
        _reach(where, name)
    try:
        ray.init(address=where, **options)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        raise ConfigError(f"{name}: cannot connect to a Ray cluster at {where}: {error}") from error
    except Exception as error:
        # Ray has no other name for a cluster that was not up in its 30 s.
        if _LATE not in str(error):
            raise
        raise ConfigError(
            f"{name}: Ray's cluster on this machine was not up in Ray's own time limit (is the machine busy, or "
            "its disk slow?); run again, or start one first with ray start --head, and give --ray-address auto"
        ) from error


def _reach(address: str, name: str) -> None:
    """Say soon and in a line that nobody listens there; Ray itself takes its time."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit() or "/" in host:
        raise ConfigError(f"{name}: {address!r} must be HOST:PORT of a Ray cluster, auto or local")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _REACHED_WITHIN_S).close()
    except (OSError, OverflowError) as error:
        raise ConfigError(f"{name}: no Ray cluster answers at {address} ({error}); start one with ray start") from error
