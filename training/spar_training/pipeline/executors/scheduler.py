"""Schedule items on workers that may die: an item goes to the least busy one, and to another if that is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from spar_core.errors import BackendUnavailable

# An item that loses this many workers may be what kills them; `run_items` decides what becomes of it.
_LOSSES: Final = 3
# Workers in a row that die before they have opened the model.
_FAILED_STARTS: Final = 3
_START_TIMEOUT_S: Final = 600.0


class _ReadyWorker:
    """A worker that has opened the model, and how many items it has."""

    def __init__(self, actor: Any) -> None:
        self.actor = actor
        self.items = 0
        self.lost = asyncio.Event()


class WorkerPool:
    """`start` starts a worker as an actor of `ray`."""

    def __init__(self, start: Callable[[], Any], ray: Any) -> None:
        self._start = start
        self._ray = ray
        self._actors: list[Any] = []
        self._workers: list[_ReadyWorker] = []
        self._ready = asyncio.Event()

    async def keep_one_up(self) -> None:
        """Start a worker, and another whenever it is lost, until cancelled.

        Raises:
            ConfigError: a worker cannot open the model.
            BackendUnavailable: workers die as they start.
        """
        while True:
            worker = _ReadyWorker(await self._started())
            self._workers.append(worker)
            self._ready.set()
            await worker.lost.wait()

    async def work(self, item: Any) -> dict[str, Any]:
        """The item's row.

        Raises:
            ItemFailed, BackendError: as raised by the stage.
            BackendUnavailable: worker after worker was lost with this item, or none comes up.
        """
        for _ in range(_LOSSES):
            worker = await self._least_busy()
            worker.items += 1
            try:
                return dict(await worker.actor.work.remote(item))
            except self._ray.exceptions.RayTaskError as error:
                raise error.cause from None
            except self._ray.exceptions.RayError:
                self._lose(worker)
            finally:
                worker.items -= 1
        raise BackendUnavailable(f"{_LOSSES} workers in a row were lost while working on it")

    def end(self) -> None:
        """Kill all workers, and with them their calls."""
        for actor in self._actors:
            self._ray.kill(actor)

    async def _started(self) -> Any:
        for _ in range(_FAILED_STARTS):
            actor = self._start()
            self._actors.append(actor)
            try:
                await actor.open.remote()
            except self._ray.exceptions.RayTaskError as error:
                raise error.cause from None
            except self._ray.exceptions.RayError as error:
                self._actors.remove(actor)
                reason = error
            else:
                return actor
        raise BackendUnavailable(f"{_FAILED_STARTS} Ray workers in a row died as they started: {reason}")

    async def _least_busy(self) -> _ReadyWorker:
        try:
            async with asyncio.timeout(_START_TIMEOUT_S):
                while not self._workers:
                    self._ready.clear()
                    await self._ready.wait()
        except TimeoutError as error:
            raise BackendUnavailable(
                f"no Ray worker came up in {_START_TIMEOUT_S:.0f} s; each needs a CPU of the cluster, see ray status"
            ) from error
        return min(self._workers, key=lambda worker: worker.items)

    def _lose(self, worker: _ReadyWorker) -> None:
        if not worker.lost.is_set():
            worker.lost.set()
            self._workers.remove(worker)
            self._actors.remove(worker.actor)
            # It may merely be out of reach; nobody waits for its results any more.
            self._ray.kill(worker.actor)
