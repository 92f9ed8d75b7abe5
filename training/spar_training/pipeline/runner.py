"""Run one piece of asynchronous work for each of many items: bounded in flight, resumable, failures set aside.

Finished items go to a journal as they finish. When all are done, the stage's file is written from it in the items' own
order, hence the same bytes whatever finished first and however often the run was interrupted.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import SEEK_END, FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, TypeVar

from spar_core.errors import BackendError, BackendUnavailable, DataError
from spar_training.storage.files import Row, read_rows, to_line, write_rows


class Journal:
    """Rows by their `id`, in the order in which they were finished. A context manager."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: dict[str, Row] = {}
        self._file: FileIO | None = None

    def __enter__(self) -> Journal:
        """Open for appending, and read what is there.

        Raises:
            DataError: another process has it open, it cannot be written, or a line in it is damaged.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # Unbuffered: a row that could not be written must not come after all when the file is closed.
            self._file = self.path.open("ab+", buffering=0)
        except OSError as error:
            raise DataError(f"{self.path}: cannot be written ({error.strerror}); make room and run again") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._file.close()
            raise DataError(f"{self.path}: another run is writing it; wait for that one or stop it") from error
        self._cut_torn_line(self._file)
        self.rows = {row["id"]: row for row in read_rows(self.path, needs=("id",))}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def append(self, row: Mapping[str, Any]) -> None:
        """Keep one finished item. It survives the end of this process from here on.

        Raises:
            DataError: it cannot be written, for one because the disk is full; the rows before it are kept.
        """
        assert self._file is not None
        text = to_line(row)
        line = text.encode()
        whole = self._file.seek(0, SEEK_END)
        try:
            while line:
                line = line[self._file.write(line) :]
        except OSError as error:
            # What could be written of it; cutting needs no room.
            self._file.truncate(whole)
            raise DataError(
                f"{self.path}: cannot be written ({error.strerror}); what is finished is kept, make room and run again"
            ) from error
        # As it was written, so that a run that is killed goes on with the same.
        self.rows[row["id"]] = json.loads(text)

    @staticmethod
    def _cut_torn_line(file: FileIO) -> None:
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)


class Item(Protocol):
    """What has an identity within its stage."""

    @property
    def id(self) -> str: ...


I = TypeVar("I", bound=Item)  # noqa: E741
# What work hears of its item: the row's keys besides `id`.
Work = Callable[[I], Awaitable[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Policy:
    """`in_flight` items at once; an item is tried `tries` times before it is set aside.

    When `give_up_after` items in a row fail, the upstream is broken, not the items: the run ends with an error. So it
    does when the last ones fail and one that was done before cannot be done again either.
    """

    in_flight: int = 64
    tries: int = 2
    give_up_after: int = 20


@dataclass(frozen=True, slots=True)
class Progress:
    """`done` of `total` items are finished, `failed` of them set aside; `row` is the latest, None for one set aside."""

    done: int
    failed: int
    total: int
    row: Row | None


class ItemFailed(Exception):
    """An item cannot be done, for a reason of its own. It is set aside at once."""


async def run_items(
    items: Sequence[I],
    work: Work[I],
    *,
    out: Path,
    policy: Policy = Policy(),
    tell: Callable[[Progress], None] = lambda progress: None,
) -> list[Row]:
    """The rows of all items, in their order, as written to `out`; items set aside are in `OUT.failed.jsonl` instead.

    If `out` is there, the work was done before and is read. Until then `OUT.journal` holds what is finished.

    Raises:
        BackendUnavailable: item after item failed, or all the last ones; run again when the upstream is back.
        DataError: a file cannot be written or read.
    """
    if (before := _finished(out)) is not None:
        return before
    with Journal(out.with_name(f"{out.name}.journal")) as journal:
        await _Run(items, work, journal, policy, tell).run()
        rows = [journal.rows[item.id] for item in items]
        write_rows(failed_file(out), [row for row in rows if "failed" in row])
        finished = [row for row in rows if "failed" not in row]
        write_rows(out, finished)
        journal.path.unlink()
    return finished


def _finished(out: Path) -> list[Row] | None:
    return list(read_rows(out, needs=("id",))) if out.exists() else None


def failed_file(out: Path) -> Path:
    """Where the items that were set aside are, each with its reason."""
    return out.with_name(f"{out.stem}.failed{out.suffix}")


class _Run:
    def __init__(
        self, items: Sequence[I], work: Work[I], journal: Journal, policy: Policy, tell: Callable[[Progress], None]
    ) -> None:
        self._todo: Iterator[I] = iter([item for item in items if item.id not in journal.rows])
        # An item that can be done, as far as is known.
        self._done = next((i for i in reversed(items) if "failed" not in journal.rows.get(i.id, {"failed": ""})), None)
        self._work: Work[Any] = work
        self._journal = journal
        self._policy = policy
        self._tell = tell
        self._total = len(items)
        self._failed = sum("failed" in row for row in journal.rows.values())
        # Items that failed since the last success: whether it was theirs or the upstream's fault is not known yet.
        self._suspects: list[tuple[Item, str]] = []

    async def run(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._policy.in_flight):
                    group.create_task(self._worker())
        except ExceptionGroup as errors:
            # One reason is enough, and siblings that fail with it fail alike.
            raise errors.exceptions[0] from None
        if self._suspects:
            await self._confirm_failures()

    async def _worker(self) -> None:
        # A shared iterator deals each item once.
        for item in self._todo:
            try:
                row = await self._tried(item)
            except ItemFailed as error:
                self._set_aside(item, str(error))
            except BackendError as error:
                self._defer_failure(item, f"{type(error).__name__}: {error}")
            else:
                self._set_suspects_aside()
                self._done = item
                self._journal.append({"id": item.id, **row})
                self._report(self._journal.rows[item.id])

    async def _tried(self, item: Item) -> dict[str, Any]:
        for _ in range(self._policy.tries - 1):
            with suppress(BackendError):
                return await self._work(item)
        return await self._work(item)

    def _defer_failure(self, item: Item, reason: str) -> None:
        """Keep an item whose failure may be the upstream's; too many in a row end the run, and none is set aside."""
        self._suspects.append((item, reason))
        if len(self._suspects) >= self._policy.give_up_after:
            raise self._broken(f"{len(self._suspects)} items in a row failed")

    async def _confirm_failures(self) -> None:
        """Tell whose fault it is that the last items failed: the upstream's, unless it still does what it did before.

        Without this an upstream that dies just before the end would cost items that nothing is wrong with.
        """
        what = "the last item failed" if len(self._suspects) == 1 else f"the last {len(self._suspects)} items failed"
        if self._done is None:
            raise self._broken(what)
        try:
            await self._tried(self._done)
        except (BackendError, ItemFailed):
            raise self._broken(what) from None
        self._set_suspects_aside()

    def _broken(self, what: str) -> BackendUnavailable:
        reason = self._suspects[-1][1]
        return BackendUnavailable(
            f"{what}, the last with {reason}; what is finished is kept: mend the upstream and run again"
        )

    def _set_suspects_aside(self) -> None:
        for item, reason in self._suspects:
            self._set_aside(item, reason)
        self._suspects.clear()

    def _set_aside(self, item: Item, reason: str) -> None:
        self._journal.append({"id": item.id, "failed": reason})
        self._failed += 1
        self._report(None)

    def _report(self, row: Row | None) -> None:
        self._tell(Progress(len(self._journal.rows), self._failed, self._total, row))
