"""`spar batch`: every line is answered once, whatever happens to the process, the server and the disk."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from spar_client.batch.results import Results
from tests.clients.obedient import obedient
from tests.support.canned_server import Canned, canned
from tests.support.pairs import scripted_pair
from tests.support.terminal import PLAIN, on_a_terminal, plain, spar

Serving = Callable[..., AbstractContextManager[str]]


@pytest.fixture(scope="module")
def url(serving: Serving) -> Iterator[str]:
    with serving(scripted_pair(obedient())) as url:
        yield url


def request(name: str, question: str = "Hi", url: str = "/v1/chat/completions", **body: Any) -> dict[str, Any]:
    body = {"messages": [{"role": "user", "content": question}], **body}
    return {"custom_id": name, "method": "POST", "url": url, "body": body}


def write(path: Path, *lines: dict[str, Any] | str) -> Path:
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


def rows(path: Path) -> dict[str, dict[str, Any]]:
    """The rows by custom_id; none may be there twice."""
    read = [json.loads(line) for line in path.read_text().splitlines()]
    assert max(Counter(row["id"] for row in read).values(), default=1) == 1
    return {str(row["custom_id"]): row for row in read}


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    return tmp_path / "in.jsonl", tmp_path / "out.jsonl"


def test_every_line_gets_a_row_in_openais_format(url: str, files: tuple[Path, Path]) -> None:
    source, output = files
    write(source, *(request(f"r{number}", f"Hi {number}") for number in range(20)))
    done = spar("batch", str(source), str(output), "--url", url, "-b", "2")
    assert (done.returncode, done.stdout) == (0, "")
    found = rows(output)
    assert found.keys() == {f"r{number}" for number in range(20)}
    row = found["r7"]
    assert row.keys() == {"id", "custom_id", "response", "error"}
    assert (row["error"], row["response"]["status_code"]) == (None, 200)
    assert row["response"]["request_id"]
    body = row["response"]["body"]
    assert body["choices"][0]["message"]["content"] == "better answer"
    assert body["usage"]["refinement"]["budget"] == 2


def test_the_totals_are_the_sums_of_all_rows_of_this_run_and_earlier_ones(url: str, files: tuple[Path, Path]) -> None:
    source, output = files
    write(source, *(request(f"r{number}") for number in range(6)))
    for _ in range(2):
        done = spar("batch", str(source), str(output), "--url", url, "-b", "2")
        usages = [row["response"]["body"]["usage"] for row in rows(output).values()]
        assert f"{sum(usage['prompt_tokens'] for usage in usages)} prompt tokens" in done.stderr
        assert f"{sum(usage['completion_tokens'] for usage in usages)} generated tokens" in done.stderr
        nodes = sum(usage["refinement"]["nodes"] for usage in usages)
        assert f"{nodes} nodes, 6 answers improved; calls: actor 6" in done.stderr
    assert "6 of 6 lines were done before." in done.stderr


def test_a_line_keeps_the_budget_and_the_model_that_it_names(url: str, files: tuple[Path, Path]) -> None:
    source, output = files
    lines = [
        request("named", refine_budget=1),
        request("suffix", model="pair@3"),
        request("effort", reasoning_effort="low"),
        request("none"),
    ]
    spar("batch", str(write(source, *lines)), str(output), "--url", url, "-b", "8")
    budgets = {name: row["response"]["body"]["usage"]["refinement"]["budget"] for name, row in rows(output).items()}
    assert budgets == {"named": 1, "suffix": 3, "effort": 2, "none": 8}


def test_every_endpoint_can_be_batched(url: str, files: tuple[Path, Path]) -> None:
    source, output = files
    responses = {"custom_id": "response", "url": "/v1/responses", "body": {"input": "Hi"}}
    lines = [
        responses,
        request("judge", url="/v1/judge", response="mine"),
        request("refine", url="/v1/refine", response="mine"),
    ]
    done = spar("batch", str(write(source, *lines)), str(output), "--url", url, "-b", "1")
    assert done.returncode == 0, done.stderr
    assert {name: row["response"]["body"]["object"] for name, row in rows(output).items()} == {
        "response": "response",
        "judge": "judgement",
        "refine": "chat.completion",
    }


def test_bad_lines_are_named_by_number_and_written_as_errors(url: str, files: tuple[Path, Path]) -> None:
    source, output = files
    bad = [
        ("{oh no", "not JSON"),
        ("[1]", "must be an object"),
        ({"url": "/v1/chat/completions", "body": {}}, "custom_id: is needed"),
        (request("get") | {"method": "GET"}, "method: must be POST"),
        (request("elsewhere", url="/v1/files"), "url: must be one of"),
        (request("empty") | {"body": None}, "body: is needed"),
        (request("streamed", stream=True), "body.stream"),
        (request("good"), "the custom_id 'good' is taken"),
        ('{"custom_id": "nan", "url": "/v1/chat/completions", "body": {"temperature": NaN}}', "not JSON"),
        ('{"custom_id": "half \\ud800", "url": "/v1/chat/completions", "body": {}}', "not JSON"),
        ("[" * 100_000, "not JSON"),
    ]
    write(source, request("good"), "", *(line for line, _ in bad))
    done = spar("batch", str(source), str(output), "--url", url)
    assert done.returncode == 1
    for number, (_, says) in enumerate(bad, 3):
        assert f"line {number}: {says}" in done.stderr
    errors = [row["error"] for row in map(json.loads, output.read_text().splitlines()) if row["error"]]
    assert len(errors) == len(bad)
    assert {error["code"] for error in errors} == {"invalid_line"}
    assert f"1 answered, 0 failed, {len(bad)} bad lines" in done.stderr
    again = spar("batch", str(source), str(output), "--url", url)
    assert (again.returncode, len(output.read_text().splitlines())) == (1, len(bad) + 1)


def test_what_the_server_refuses_is_a_row_with_its_error(url: str, files: tuple[Path, Path]) -> None:
    source, output = files
    write(source, request("fine"), request("wrong", refine={"brunch": 1}), request("refused", "refuse"))
    done = spar("batch", str(source), str(output), "--url", url)
    assert (done.returncode, "1 answered, 2 failed" in done.stderr) == (1, True)
    found = rows(output)
    assert found["wrong"]["response"]["status_code"] == 400
    assert found["wrong"]["response"]["body"]["error"]["param"] == "refine.brunch"
    assert found["refused"]["response"]["body"]["error"]["param"] == "frogs"
    assert (found["wrong"]["error"], found["fine"]["response"]["status_code"]) == (None, 200)


def test_a_failure_that_may_pass_is_tried_again_by_the_next_run(url: str, files: tuple[Path, Path]) -> None:
    source, output = files
    row = {"id": "", "custom_id": "a", "response": {"status_code": 502, "request_id": "x", "body": {}}, "error": None}
    write(source, request("a"), request("b"))
    spar("batch", str(source), str(output), "--url", url)
    fine = rows(output)
    write(output, fine["b"], row | {"id": fine["a"]["id"]})
    done = spar("batch", str(source), str(output), "--url", url)
    assert (done.returncode, "1 of 2 lines were done before" in done.stderr) == (0, True)
    assert {name: found["response"]["status_code"] for name, found in rows(output).items()} == {"a": 200, "b": 200}


@pytest.mark.parametrize("kills", [1, 3])
def test_no_line_is_lost_or_answered_twice_when_the_process_is_killed(
    serving: Serving, files: tuple[Path, Path], kills: int
) -> None:
    source, output = files
    write(source, *(request(f"r{number}", f"Hi {number}") for number in range(60)))
    with serving(scripted_pair(latency_s=0.05)) as url:
        command = [sys.executable, "-m", "spar_server.cli", "batch", str(source), str(output), "--url", url, "-c", "4"]
        for kill in range(kills):
            before = output.read_bytes().count(b"\n") if output.exists() else 0
            process = subprocess.Popen(command, env=PLAIN, stderr=subprocess.PIPE)
            while not output.exists() or output.read_bytes().count(b"\n") < before + 5:
                time.sleep(0.01)
                assert process.poll() is None
            process.send_signal(signal.SIGKILL)
            process.communicate()
            # A row that a full disk or a power failure left half written.
            kept = output.read_bytes()
            output.write_bytes(kept + kept.splitlines()[0][: 10 + 40 * kill])
        done = subprocess.run(command, env=PLAIN, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = rows(output)
    assert found.keys() == {f"r{number}" for number in range(60)}
    assert len(output.read_text().splitlines()) == 60


def test_a_server_that_is_gone_ends_the_run_without_rows_for_what_it_did_not_answer(
    serving: Serving, files: tuple[Path, Path]
) -> None:
    source, output = files
    model = Canned(b'{"data": [{"id": "pair", "created": 1, "owned_by": "x"}]}')
    answer = Canned(b'{"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": null}}')
    write(source, *(request(f"r{number}") for number in range(4)))
    with canned(model, answer, Canned(b"{}", 401)) as server:
        done = spar("batch", str(source), str(output), "--url", server.url, "-c", "1")
    assert (done.returncode, "give --api-key" in done.stderr) == (2, True)
    assert rows(output).keys() == {"r0"}
    with serving(scripted_pair()) as url:
        done = spar("batch", str(source), str(output), "--url", url)
    assert (done.returncode, "(1 answers without a full count)" in done.stderr) == (0, True)
    assert rows(output).keys() == {"r0", "r1", "r2", "r3"}


def test_results_of_other_requests_are_never_mixed_in(url: str, files: tuple[Path, Path]) -> None:
    source, output = files
    write(source, request("a"))
    spar("batch", str(source), str(output), "--url", url, "-b", "1")
    before = output.read_bytes()
    for words in (("-b", "2"), ("-b", "1", "--model", "pair@1")):
        done = spar("batch", str(source), str(output), "--url", url, *words)
        assert (done.returncode, "such as that of 'a'" in done.stderr) == (2, True)
    write(source, request("b"))
    assert spar("batch", str(source), str(output), "--url", url, "-b", "1").returncode == 2
    assert output.read_bytes() == before


@pytest.mark.parametrize("text", ["Dear diary", "Dear diary\n", '{"id": "x"}\n', '{"id": "batch_req_1"}\n'])
def test_a_file_that_holds_something_else_is_left_alone(url: str, files: tuple[Path, Path], text: str) -> None:
    source, output = files
    write(source, request("a"))
    output.write_text(text)
    done = spar("batch", str(source), str(output), "--url", url)
    assert (done.returncode, "line 1 is not a batch's result" in done.stderr) == (2, True)
    assert output.read_text() == text


def test_the_input_is_no_output(url: str, files: tuple[Path, Path]) -> None:
    source, _ = files
    write(source, request("a"))
    done = spar("batch", str(source), str(source), "--url", url)
    assert (done.returncode, "is the input" in done.stderr) == (2, True)


def test_two_runs_do_not_write_to_one_file(url: str, files: tuple[Path, Path]) -> None:
    source, output = files
    write(source, request("a"))
    with Results(output):
        done = spar("batch", str(source), str(output), "--url", url)
    assert (done.returncode, "another batch is writing to it" in done.stderr) == (2, True)
    assert spar("batch", str(source), str(output), "--url", url).returncode == 0


def test_a_terminal_shows_the_rate_and_the_time_left(url: str, files: tuple[Path, Path]) -> None:
    source, output = files
    write(source, *(request(f"r{number}") for number in range(5)))
    shown = plain(on_a_terminal("batch", str(source), str(output), "--url", url))
    assert "5/5" in shown
    assert "a second, 0 s left" in shown
