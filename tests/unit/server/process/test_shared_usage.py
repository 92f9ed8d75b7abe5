"""The usage of keys that several worker processes count together."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from multiprocessing.synchronize import Event

import pytest

from spar_server.auth.quotas import Quotas
from spar_server.errors import ApiError
from spar_server.process.shared_usage import SharedUsage
from spar_server.settings import ApiKey

FORK = multiprocessing.get_context("fork")


Table = Callable[..., SharedUsage]


@pytest.fixture
def table() -> Iterator[Table]:
    with ExitStack() as stack:
        yield lambda workers: stack.enter_context(closing(SharedUsage(workers=workers, keys=1)))


def test_a_minutes_requests_are_those_of_all_workers(table: Table) -> None:
    usage, key = table(2), ApiKey(name="a", sha256="0" * 64, requests_per_minute=5)
    quotas = [Quotas(clock=lambda: 1000.0, usage=usage.of(worker)) for worker in range(2)]
    for number in range(5):
        quotas[number % 2].take_request(key)
    for each in quotas:
        with pytest.raises(ApiError) as refused:
            each.take_request(key)
        assert refused.value.retry_after == 12


def test_searches_are_those_of_all_workers_and_a_dead_ones_are_forgotten(table: Table) -> None:
    usage = table(2)
    one, two = usage.of(0), usage.of(1)
    assert [worker.begin_search("a", 3) for worker in (one, two, one, two)] == [True, True, True, False]
    two.end_search("a")
    assert two.begin_search("a", 3)
    usage.forget(0)
    assert [two.begin_search("a", 3) for _ in range(3)] == [True, True, False]


def test_processes_that_count_at_once_never_exceed_a_limit(table: Table) -> None:
    usage = table(4)

    def count(worker: int) -> None:
        mine = usage.of(worker)
        os._exit(sum(mine.begin_search("a", 100) for _ in range(60)))

    processes = [FORK.Process(target=count, args=(worker,)) for worker in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert sum(process.exitcode or 0 for process in processes) == 100


def test_a_worker_that_is_killed_while_it_counts_blocks_no_other(table: Table) -> None:
    usage, locked = table(2), FORK.Event()

    def hold(locked: Event) -> None:
        with usage.locked():
            locked.set()
            signal.pause()

    process = FORK.Process(target=hold, args=(locked,))
    process.start()
    locked.wait()
    process.kill()
    process.join()
    assert usage.of(1).begin_search("a", 1)


def test_more_keys_than_rows_share_rows_and_never_gain(table: Table) -> None:
    usage = table(1)
    worker = usage.of(0)
    for number in range(2000):
        worker.begin_search(f"key-{number}", 1)
        assert not worker.begin_search(f"key-{number}", 1)
