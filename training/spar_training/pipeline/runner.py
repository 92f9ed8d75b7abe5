"""Run asynchronous work on many items: bounded in flight, resumable, with failures set aside.

    rows = await run_items(prompts, sample, out=folder / "samples.jsonl", policy=Policy(in_flight=64))

Finished items go to a journal right away. When all are done, the output file is written from it in the order of the
items: the bytes are the same whatever finished first and however often the run was interrupted.
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
from typing import Any, Final, Protocol, TypeVar

from spar_core.backends.openai.redact import with_upstreams_words
from spar_core.errors import BackendError, BackendUnavailable, DataError
from spar_training.storage.files import Row, read_rows, to_line, write_rows


class Journal:
    """A context manager: rows by `id`, in the order in which their items finished."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: dict[str, Row] = {}
        self._file: FileIO | None = None

    def __enter__(self) -> Journal:
        """Open for appending, and read the rows of earlier runs.

        Raises:
            DataError: another process has it open, it cannot be written, or a line is damaged.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # Unbuffered: a row whose write failed must not be written when the file is closed.
            self._file = self.path.open("ab+", buffering=0)
        except OSError as error:
            raise DataError(f"{self.path}: cannot be written ({error.strerror}); make room and run again") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._file.close()
            raise DataError(f"{self.path}: another run is writing it; wait for it or stop it") from error
        self._cut_torn_line(self._file)
        self.rows = {row["id"]: row for row in read_rows(self.path, needs=("id",))}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def append(self, row: Mapping[str, Any]) -> None:
        """Record a finished item; it survives the end of this process.

        Raises:
            DataError: it cannot be written, for example on a full disk; earlier rows are safe.
        """
        assert self._file is not None
        text = to_line(row)
        line = text.encode()
        whole = self._file.seek(0, SEEK_END)
        try:
            while line:
                line = line[self._file.write(line) :]
        except OSError as error:
            # Cut off the part that was written; this needs no space.
            self._file.truncate(whole)
            raise DataError(
                f"{self.path}: cannot be written ({error.strerror}); finished items are safe: make room and run again"
            ) from error
        # Read back, so that an interrupted run resumes with the same values.
        self.rows[row["id"]] = json.loads(text)

    @staticmethod
    def _cut_torn_line(file: FileIO) -> None:
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)


class Item(Protocol):
    """Anything with an `id` that is unique within its stage."""

    @property
    def id(self) -> str: ...


I = TypeVar("I", bound=Item)  # noqa: E741
# Returns the item's row without its `id`.
Work = Callable[[I], Awaitable[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Policy:
    """`in_flight` items at a time; an item is set aside after `tries` failures.

    `give_up_after` failed items in a row mean that the upstream is broken and not the items, and the run ends with an
    error; so it does when the last items fail and an item that succeeded before fails too.
    """

    in_flight: int = 64
    tries: int = 2
    give_up_after: int = 20


DEFAULT_POLICY: Final = Policy()


@dataclass(frozen=True, slots=True)
class Progress:
    """`done` of `total` items, `failed` of them set aside. `row` is the latest row, None for an item set aside."""

    done: int
    failed: int
    total: int
    row: Row | None


OnProgress = Callable[[Progress], None]


def ignore_progress(progress: Progress) -> None:
    """The default `on_progress`."""


class ItemFailed(Exception):
    """Raised by work on an item that can never succeed; the item is set aside without another try."""


async def run_items(
    items: Sequence[I],
    work: Work[I],
    *,
    out: Path,
    policy: Policy = DEFAULT_POLICY,
    on_progress: OnProgress = ignore_progress,
) -> list[Row]:
    """The rows of all items in order, as written to `out`; those of items set aside are in `OUT.failed.jsonl` instead.

    If `out` exists, the work was done before and is read from it. Until then `OUT.journal` holds the finished items.

    Raises:
        BackendUnavailable: item after item failed, or all the last ones; run again when the upstream is back.
        DataError: a file cannot be written or read.
    """
    if (before := _finished(out)) is not None:
        return before
    with Journal(out.with_name(f"{out.name}.journal")) as journal:
        await _Run(items, work, journal, policy, on_progress).run()
        rows = [journal.rows[item.id] for item in items]
        write_rows(failed_file(out), [row for row in rows if "failed" in row])
        finished = [row for row in rows if "failed" not in row]
        write_rows(out, finished)
        journal.path.unlink()
    return finished


def _finished(out: Path) -> list[Row] | None:
    return list(read_rows(out, needs=("id",))) if out.exists() else None


def failed_file(out: Path) -> Path:
    """The file of the items that were set aside, each with its reason."""
    return out.with_name(f"{out.stem}.failed{out.suffix}")


class _Run:
    def __init__(
        self, items: Sequence[I], work: Work[I], journal: Journal, policy: Policy, on_progress: OnProgress
    ) -> None:
        self._todo: Iterator[I] = iter([item for item in items if item.id not in journal.rows])
        # The last item that is known to succeed.
        self._succeeded = next(
            (i for i in reversed(items) if "failed" not in journal.rows.get(i.id, {"failed": ""})), None
        )
        self._work: Work[Any] = work
        self._journal = journal
        self._policy = policy
        self._on_progress = on_progress
        self._total = len(items)
        self._failed = sum("failed" in row for row in journal.rows.values())
        # Items that failed since the last success, through their own fault or the upstream's.
        self._suspects: list[tuple[Item, str]] = []

    async def run(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._policy.in_flight):
                    group.create_task(self._worker())
        except ExceptionGroup as errors:
            # One reason is enough; workers that fail together fail alike.
            raise errors.exceptions[0] from None
        if self._suspects:
            await self._confirm_failures()

    async def _worker(self) -> None:
        # The iterator is shared, so each item is taken once.
        for item in self._todo:
            try:
                row = await self._try(item)
            except ItemFailed as error:
                self._set_aside(item, str(error))
            except BackendError as error:
                self._defer_failure(item, f"{type(error).__name__}: {with_upstreams_words(error)}")
            else:
                self._set_suspects_aside()
                self._succeeded = item
                self._journal.append({"id": item.id, **row})
                self._report(self._journal.rows[item.id])

    async def _try(self, item: Item) -> dict[str, Any]:
        for _ in range(self._policy.tries - 1):
            with suppress(BackendError):
                return await self._work(item)
        return await self._work(item)

    def _defer_failure(self, item: Item, reason: str) -> None:
        """Defer judgement on an item whose failure may be the upstream's; too many in a row end the run."""
        self._suspects.append((item, reason))
        if len(self._suspects) >= self._policy.give_up_after:
            raise self._broken(f"{len(self._suspects)} items in a row failed")

    async def _confirm_failures(self) -> None:
        """Blame the last failures on the items only if the upstream still succeeds on an earlier item.

        Otherwise an upstream that dies just before the end would cost items that nothing is wrong with.
        """
        what = "the last item failed" if len(self._suspects) == 1 else f"the last {len(self._suspects)} items failed"
        if self._succeeded is None:
            raise self._broken(what)
        try:
            await self._try(self._succeeded)
        except (BackendError, ItemFailed):
            raise self._broken(what) from None
        self._set_suspects_aside()

    def _broken(self, what: str) -> BackendUnavailable:
        reason = self._suspects[-1][1]
        return BackendUnavailable(
            f"{what}, the last with {reason}; finished items are safe: fix the upstream and run again"
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
        self._on_progress(Progress(len(self._journal.rows), self._failed, self._total, row))
