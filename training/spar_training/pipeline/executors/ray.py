"""Run a stage on a Ray cluster: workers make the calls, and this process distributes items and writes the journal.

The files are therefore those of a run in one process, and no finished item is lost when this process or a worker is
killed: the items of a lost worker go to the others, and a new worker replaces it.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final
from urllib.parse import urlsplit

from spar_core.errors import ConfigError
from spar_training.inference.endpoint import ModelEndpoint
from spar_training.pipeline.executors.base import StageRun
from spar_training.pipeline.executors.scheduler import WorkerPool
from spar_training.pipeline.executors.worker import Worker
from spar_training.pipeline.stage import Stage
from spar_training.storage.files import Row

# Small: only single rows pass through it.
_OBJECT_STORE_BYTES: Final = 256 * 2**20
_CONNECT_TIMEOUT_S: Final = 10.0
# Part of Ray's message when a cluster does not start in time.
_START_TIMED_OUT: Final = "timed out during startup"
_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")


@contextmanager
def ray_executor(*, address: str | None = None, workers: int | None = None) -> Iterator[RayExecutor]:
    """An executor on the cluster at `address` (HOST:PORT or "auto"); without one, on a new cluster on this machine.

    `workers` is the number of worker processes; by default one for each server of the model, else for each GPU, else
    for each node of the cluster. A process that is already connected to a cluster keeps its connection.

    Raises:
        ConfigError: Ray is not installed, or there is no cluster at the address.
    """
    ray = _import_ray()
    if ray.is_initialized():
        yield RayExecutor(workers=workers)
        return
    _connect(ray, address)
    try:
        yield RayExecutor(workers=workers)
    finally:
        ray.shutdown()


class RayExecutor:
    """Worker processes of the cluster that this process is connected to, on one machine or several.

    A policy's `in_flight` bounds all workers together, both items and calls to each server.
    """

    def __init__(self, *, workers: int | None = None) -> None:
        self._workers = workers

    async def run(self, run: StageRun) -> list[Row]:
        """As `Executor.run`."""
        ray = _import_ray()
        cluster = _Cluster(ray)
        in_flight = run.policy.in_flight
        size = min(self._workers or cluster.default_workers(run.model), in_flight)
        start = cluster.worker_factory(run.stage, run.model, in_flight=in_flight // size, size=size)
        async with _running(WorkerPool(start, ray), size) as pool:
            return await run.run_items(pool.work)


@asynccontextmanager
async def _running(pool: WorkerPool, size: int) -> AsyncIterator[WorkerPool]:
    """The pool with `size` workers up; they end with the block."""
    try:
        async with asyncio.TaskGroup() as group:
            keepers = [group.create_task(pool.keep_one_up()) for _ in range(size)]
            yield pool
            for keeper in keepers:
                keeper.cancel()
    except ExceptionGroup as errors:
        # The error of the block, or the reason why no worker starts; one is enough.
        raise errors.exceptions[0] from None
    finally:
        pool.end()


class _Cluster:
    """The cluster's nodes and GPUs, and where its workers go."""

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        self._nodes: int = max(1, sum(node["Alive"] for node in ray.nodes()))
        self._gpus = int(ray.cluster_resources().get("GPU", 0))

    def default_workers(self, model: ModelEndpoint) -> int:
        if _is_local(model):
            return len(model.urls)
        return len(model.urls) or self._gpus or self._nodes

    def worker_factory(
        self, stage: Stage[Any], model: ModelEndpoint, *, in_flight: int, size: int
    ) -> Callable[[], Any]:
        """A function that starts one of `size` workers, each with at most `in_flight` calls to each server."""
        workers_per_node = -(-size // self._nodes)
        # Actors reserve no CPU by default, and see only the GPUs they reserve.
        gpus = 1 if self._gpus and not model.urls else 0
        options: dict[str, Any] = {"num_cpus": 1, "num_gpus": gpus, "scheduling_strategy": self._scheduling(model)}
        # The worker's backend limits concurrency, not the actor.
        actor = self._ray.remote(max_concurrency=10_000, max_restarts=0, max_task_retries=0, **options)(Worker)
        return lambda: actor.remote(stage, model, in_flight, workers_per_node)

    def _scheduling(self, model: ModelEndpoint) -> Any:
        if not _is_local(model):
            return "SPREAD"
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        return NodeAffinitySchedulingStrategy(self._ray.get_runtime_context().get_node_id(), soft=False)


def _is_local(model: ModelEndpoint) -> bool:
    """Whether its servers can be reached from this machine only."""
    return any(urlsplit(url).hostname in _LOOPBACK for url in model.urls)


def _import_ray() -> Any:
    # No usage statistics, and the working directory is not uploaded to the cluster. Ray reads these when it is imported
    # or starts a cluster.
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
        # Ray raises a bare Exception for a cluster that was not up within its 30 s.
        if _START_TIMED_OUT not in str(error):
            raise
        raise ConfigError(
            f"{name}: Ray's cluster on this machine did not start within Ray's time limit (a busy machine or a slow "
            "disk?); run again, or start one first with ray start --head and pass --ray-address auto"
        ) from error


def _reach(address: str, name: str) -> None:
    """Fail fast where nobody listens; Ray itself takes long to give up."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit() or "/" in host:
        raise ConfigError(f"{name}: {address!r} must be HOST:PORT of a Ray cluster, auto or local")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_TIMEOUT_S).close()
    except (OSError, OverflowError) as error:
        raise ConfigError(f"{name}: no Ray cluster answers at {address} ({error}); start one with ray start") from error
