"""Work on one request that would hold up all others: done in a thread of its own, by turns between the keys."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from spar_core.backends.context import call_context
from spar_server.admission.lane import Lane
from spar_server.settings import ApiKey

T = TypeVar("T")
# What costs one: so many bytes of a body, or so much of a verification (`Check.work`), each some ten milliseconds.
_BYTES: Final = 256 * 1024
_WORK: Final = 2_000_000
# What may wait for the one thread: a key that wants more waits for its turn.
_CAPACITY: Final = 128
# A search waits for as long as it lasts, and is in no other queue meanwhile.
_MOST_WAITING: Final = 1_000_000
_FOREVER_S: Final = 24 * 3600.0


class LongWork:
    """One thread, however much there is to do: threads of Python take turns, and the event loop must get its own soon.

    What is done there is made of steps that are short each. Its size is counted to the key.
    """

    def __init__(self, *, max_wait_s: float, key_share: float = 1.0) -> None:
        self._lane = Lane(capacity=_CAPACITY, max_queue=_MOST_WAITING, key_share=key_share)
        self._max_wait_s = max_wait_s
        # Its thread starts with the first work.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spar-long-work")

    async def read(self, work: Callable[[], T], *, key: ApiKey, size: int) -> T:
        """What `work` returns, or raises, which is about a body of `size` bytes.

        Raises:
            ApiError: 503; there is more to do than this request may wait for.
        """
        return await self._do(work, key.name, key.weight, 1 + size // _BYTES, self._max_wait_s)

    async def __call__(self, work: Callable[[], Any], size: int) -> Any:
        """What a request's model calls have to do besides (`CallContext.off_loop`), on behalf of their caller."""
        caller = call_context().caller
        return await self._do(work, caller.name, caller.weight, 1 + size // _WORK, _FOREVER_S)

    async def _do(self, work: Callable[[], T], key: str, weight: float, cost: int, wait_s: float) -> T:
        permit = await self._lane.acquire(key, cost, weight=weight, wait_s=wait_s)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        finally:
            self._lane.release(permit)
