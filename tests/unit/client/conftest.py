"""The clients of the Python package, against a real server with a scripted pair."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

from spar_client import Client
from tests.clients.obedient import obedient
from tests.support.pairs import scripted_pair


@pytest.fixture(scope="session")
def url(serving: Callable[..., AbstractContextManager[str]]) -> Iterator[str]:
    """A server whose actor does what it is told; see `tests/clients/obedient.py`."""
    with serving(scripted_pair(obedient())) as url:
        yield url


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    with Client(url, max_retries=0) as client:
        yield client
