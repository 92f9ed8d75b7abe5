"""Trace stores on both databases."""

from __future__ import annotations

import pytest

from spar_server.traces.database import Database
from spar_server.traces.store import TraceStore


@pytest.fixture
async def store(database: Database) -> TraceStore:
    store = TraceStore(database)
    await store.open()
    return store
