"""Long computations on a request: run in a separate thread, with fair turns for the keys, so that they block no one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from spar_core.backends.context import call_context
from spar_server.admission.lane import Lane
from spar_server.settings import ApiKey

T = TypeVar("T")
# A cost of 1 is this many bytes of a body, or this much work of a check (`Check.work`): about ten milliseconds each.
_BYTES: Final = 256 * 1024
_WORK: Final = 2_000_000
# The cost that can be queued on the thread; further work waits for its key's turn.
_CAPACITY: Final = 128
# A search waits as long as necessary, because it is in no other queue.
_MAX_WAITING: Final = 1_000_000
_FOREVER_S: Final = 24 * 3600.0


class LongWork:
    """Runs work in a single thread: Python threads take turns, and the event loop must not wait long for its own.

    The work must consist of short steps. Its cost is attributed to the key.
    """

    def __init__(self, *, max_wait_s: float, key_share: float = 1.0) -> None:
        self._lane = Lane(capacity=_CAPACITY, max_queue=_MAX_WAITING, key_share=key_share)
        self._max_wait_s = max_wait_s
        # The thread starts with the first work item.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spar-long-work")

    def share_out(self, key_share: float) -> None:
        """Change the fraction of the queue that a key can use."""
        self._lane.share_out(key_share)

    async def read(self, work: Callable[[], T], *, key: ApiKey, size: int) -> T:
        """Run `work` on a body of `size` bytes.

        Raises:
            ApiError: 503; the queue is longer than this request can wait.
        """
        return await self._do(work, key.name, key.weight, 1 + size // _BYTES, self._max_wait_s)

    async def __call__(self, work: Callable[[], Any], size: int) -> Any:
        """Run work that belongs to a model call (`CallContext.off_loop`), on behalf of its caller."""
        caller = call_context().caller
        return await self._do(work, caller.name, caller.weight, 1 + size // _WORK, _FOREVER_S)

    async def _do(self, work: Callable[[], T], key: str, weight: float, cost: int, wait_s: float) -> T:
        permit = await self._lane.acquire(key, cost, weight=weight, wait_s=wait_s)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        finally:
            self._lane.release(permit)
