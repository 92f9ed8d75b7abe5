"""Remember the checklist of each conversation, and what each search dropped from it."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from contextlib import suppress
from typing import Final
from weakref import WeakKeyDictionary

from spar_core.budget import Budget
from spar_core.checklist.items import Checklist, Dropped

# A judge that is shared by many searches needs the checklists of those that run.
_MOST: Final = 512


class Memory:
    """The checklists of conversations, made once, and the confirmations of searches.

    A search is known by its budget. The first judgement of a search that asks a model, its draft's, also asks whether
    the extracted checks are asked for at all; `dropped` of the search are those that are not.
    """

    def __init__(self) -> None:
        self._checklists: OrderedDict[Hashable, asyncio.Future[Checklist]] = OrderedDict()
        self._dropped: WeakKeyDictionary[Budget, tuple[Dropped, ...]] = WeakKeyDictionary()
        self._claimed: WeakKeyDictionary[Budget, bool] = WeakKeyDictionary()

    async def checklist(self, key: Hashable, make: Callable[[], Awaitable[Checklist]]) -> Checklist:
        """The checklist under `key`; of several that need it at once, one makes it and the others wait."""
        while (pending := self._checklists.get(key)) is not None:
            self._checklists.move_to_end(key)
            # If the one that makes it is cancelled, another takes over.
            with suppress(asyncio.CancelledError):
                return await asyncio.shield(pending)
            if (task := asyncio.current_task()) and task.cancelling():
                raise asyncio.CancelledError
        pending = self._checklists[key] = asyncio.get_running_loop().create_future()
        try:
            checklist = await make()
        except BaseException:
            del self._checklists[key]
            pending.cancel()
            raise
        pending.set_result(checklist)
        if len(self._checklists) > _MOST:
            self._forget_oldest()
        return checklist

    def claims_confirmation(self, search: Budget) -> bool:
        """Whether the caller is the first of its search, and so has to confirm the extracted checks."""
        if search in self._claimed:
            return False
        self._claimed[search] = True
        return True

    def dropped_by(self, search: Budget) -> tuple[Dropped, ...]:
        return self._dropped.get(search, ())

    def drop(self, search: Budget, dropped: tuple[Dropped, ...]) -> None:
        self._dropped[search] = dropped

    def _forget_oldest(self) -> None:
        oldest = next((key for key, future in self._checklists.items() if future.done()), None)
        if oldest is not None:
            del self._checklists[oldest]
