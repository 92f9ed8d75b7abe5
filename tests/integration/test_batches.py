"""Batches on a real `spar serve`: killed in their midst, and run by several workers."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.support.batch_server import BatchClient, answer_of, line
from tests.support.faulty_upstream import FaultyUpstream
from tests.support.spar_serve import spar_serve, upstream_settings, wait_until

BATCHES = "[batches]\nenabled = true\nconcurrency = 3\n"
LINES = 30


def test_a_batch_survives_kill_9_without_losing_a_request_or_answering_it_twice(tmp_path: Path) -> None:
    lines = [line(f"id-{number}", f"Write {number}.", max_tokens=4, seed=number) for number in range(LINES)]
    with spar_serve(tmp_path, BATCHES, "--pair", "tiny") as server:
        client = BatchClient(server.url)
        batch = client.create(lines)

        def completed() -> int:
            counts = client.openai.batches.retrieve(batch.id).request_counts
            return 0 if counts is None else counts.completed

        wait_until(lambda: completed() >= 3)
        server.process.kill()
        server.process.wait()
    with spar_serve(tmp_path, BATCHES, "--pair", "tiny") as server:
        client = BatchClient(server.url)
        batch = client.openai.batches.retrieve(batch.id)
        assert batch.request_counts is not None
        # Killed in the midst, and what was answered by then is still counted.
        assert 3 <= batch.request_counts.completed < LINES
        batch = client.until(batch)
        assert batch.status == "completed"
        assert batch.request_counts is not None
        assert batch.request_counts.model_dump() == {"total": LINES, "completed": LINES, "failed": 0}
        results = client.results(batch.output_file_id)
        assert set(results) == {each["custom_id"] for each in lines}
        assert all(answer_of(each) for each in results.values())


def test_a_batch_goes_on_when_a_worker_is_killed(tmp_path: Path) -> None:
    upstream = FaultyUpstream()
    with (
        upstream.serving(),
        spar_serve(tmp_path, upstream_settings("actor", upstream.url) + BATCHES, "--workers", "2") as server,
    ):
        # A connection to the killed worker breaks.
        client = BatchClient(server.url, retries=5)
        batches = [client.create([line(f"id-{number}") for number in range(LINES)]) for _ in range(2)]
        client.until(batches[0], "in_progress", "completed")
        os.kill(server.workers[0], signal.SIGKILL)
        for batch in map(client.until, batches):
            assert batch.status == "completed"
            assert batch.request_counts is not None
            assert batch.request_counts.completed == LINES
            assert len(client.results(batch.output_file_id)) == LINES
