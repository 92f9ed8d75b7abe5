"""/v1/batches through OpenAI's own client, on a server with scripted models."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.batch_server import BatchClient, Running, answer_of, batch_app, line


@pytest.fixture
def client(running: Running, tmp_path: Path) -> Iterator[BatchClient]:
    with running(batch_app(tmp_path)) as url:
        yield BatchClient(url)


def test_a_batch_answers_the_requests_of_its_file(client: BatchClient) -> None:
    batch = client.create([line("plain"), line("refined", refine_budget=1)], metadata={"run": "7"})
    assert (batch.object, batch.status, batch.metadata) == ("batch", "validating", {"run": "7"})
    assert (batch.expires_at or 0) - batch.created_at == 24 * 3600
    batch = client.until(batch)
    assert batch.status == "completed"
    assert batch.request_counts is not None
    assert batch.request_counts.model_dump() == {"total": 2, "completed": 2, "failed": 0}
    assert batch.in_progress_at is not None
    assert batch.completed_at is not None
    results = client.results(batch.output_file_id)
    assert {id: answer_of(each) for id, each in results.items()} == {
        "plain": "a plain draft",
        "refined": "better answer",
    }
    assert results["plain"]["id"].startswith("batch_req_")
    assert results["plain"]["response"]["request_id"]
    assert batch.error_file_id is None
