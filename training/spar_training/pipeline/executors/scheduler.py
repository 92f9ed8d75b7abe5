"""Workers that may die: each item goes to the one that has fewest, and again to another when that one is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from spar_core.errors import BackendUnavailable

# An item that is lost with its worker so often may be what kills them; `run_items` decides what becomes of it.
_LOSSES: Final = 3
# Workers that die before they have opened the model, one after the other.
_FAILED_STARTS: Final = 3
_STARTED_WITHIN_S: Final = 600.0


class _Hand:
    """A worker that is ready, and how many items it has."""

    def __init__(self, actor: Any) -> None:
        self.actor = actor
        self.items = 0
        self.lost = asyncio.Event()


class Crew:
    """`make` starts a worker as an actor of `ray`."""

    def __init__(self, make: Callable[[], Any], ray: Any) -> None:
        self._make = make
        self._ray = ray
        self._actors: list[Any] = []
        self._hands: list[_Hand] = []
        self._ready = asyncio.Event()

    async def keep_one_up(self) -> None:
        """Start a worker, and another whenever it is lost; ends by cancellation.

        Raises:
            ConfigError: a worker cannot open the model.
            BackendUnavailable: workers die as they start.
        """
        while True:
            hand = _Hand(await self._started())
            self._hands.append(hand)
            self._ready.set()
            await hand.lost.wait()

    async def work(self, item: Any) -> dict[str, Any]:
        """The item's row.

        Raises:
            Failing, BackendError: as the stage does; BackendUnavailable also when worker after worker was lost with
                this item, or none comes up.
        """
        for _ in range(_LOSSES):
            hand = await self._least_busy()
            hand.items += 1
            try:
                return dict(await hand.actor.work.remote(item))
            except self._ray.exceptions.RayTaskError as error:
                raise error.cause from None
            except self._ray.exceptions.RayError:
                self._lose(hand)
            finally:
                hand.items -= 1
        raise BackendUnavailable(f"{_LOSSES} workers were lost one after the other as they worked on it")

    def end(self) -> None:
        """End all workers, and with them their calls."""
        for actor in self._actors:
            self._ray.kill(actor)

    async def _started(self) -> Any:
        for _ in range(_FAILED_STARTS):
            actor = self._make()
            self._actors.append(actor)
            try:
                await actor.open.remote()
            except self._ray.exceptions.RayTaskError as error:
                raise error.cause from None
            except self._ray.exceptions.RayError as error:
                self._actors.remove(actor)
                why = error
            else:
                return actor
        raise BackendUnavailable(f"{_FAILED_STARTS} Ray workers in a row died as they started: {why}")

    async def _least_busy(self) -> _Hand:
        try:
            async with asyncio.timeout(_STARTED_WITHIN_S):
                while not self._hands:
                    self._ready.clear()
                    await self._ready.wait()
        except TimeoutError as error:
            raise BackendUnavailable(
                f"no Ray worker came up in {_STARTED_WITHIN_S:.0f} s; each needs a CPU of the cluster, see ray status"
            ) from error
        return min(self._hands, key=lambda hand: hand.items)

    def _lose(self, hand: _Hand) -> None:
        if not hand.lost.is_set():
            hand.lost.set()
            self._hands.remove(hand)
            self._actors.remove(hand.actor)
            # It may only be out of reach; then nobody waits for what it still does.
            self._ray.kill(hand.actor)
