"""General ability by lm-evaluation-harness against a real server, the code sandbox, and comparing with a baseline."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from spar_core.errors import BackendError, BackendProtocol, BackendRejected, BackendUnavailable, ConfigError, DataError
from spar_core.types import Message, Sampling
from spar_training.evals.harness import sandbox, scoring, tasks_data
from spar_training.evals.harness.command import run
from spar_training.evals.harness.evaluation import General
from spar_training.evals.harness.sandbox import isolation, run_program
from spar_training.evals.subject import Subject
from spar_training.reports.result import read_result
from tests.support.benchmark_data import FUNCTION, KNOWN, knowing, write_general
from tests.support.pairs import scripted_pair

# lm-evaluation-harness and its dependencies emit warnings.
pytestmark = pytest.mark.filterwarnings("ignore")
ALL = ("gsm8k", "triviaqa", "mmlu", "humaneval")


def measure(url: str, data: Path, out: Path, baseline: Path | None = None) -> dict[str, float]:
    subject = Subject(model="pair", urls=(f"{url}/v1",), sampling=Sampling(temperature=0, extra={"refine_budget": 0}))
    run(subject, General(tasks=ALL, limit=None, allow_code=True), baseline=baseline, data=data, out=out)
    figures = json.loads((out / "result.json").read_text(encoding="utf-8"))["figures"]
    return {name: figure["mean"] for name, figure in figures.items()}


def test_right_answers_score_and_losses_show_against_a_baseline(
    tmp_path: Path, serving: Callable[..., AbstractContextManager[str]]
) -> None:
    write_general(tmp_path)
    with serving(scripted_pair(actor=knowing())) as url:
        assert measure(url, tmp_path, tmp_path / "before") == dict.fromkeys((*ALL, "mean"), 1.0)
    items = read_result(tmp_path / "before" / "result.json").items
    assert [item["id"] for item in items] == ["gsm8k/0", "triviaqa/0", "mmlu/0", "mmlu/1", "humaneval/0"]

    def forgetful(messages: Sequence[Message], sampling: Sampling) -> str | BaseException:
        # One prompt is also too long for it.
        if "Faust" in messages[-1].text:
            return BackendRejected("upstream answered 400: too long", status=400)
        return knowing({**KNOWN, "virology": "A"})(messages, sampling)  # type: ignore[return-value]

    with serving(scripted_pair(actor=forgetful)) as url:
        after = measure(url, tmp_path, tmp_path / "after", tmp_path / "before" / "result.json")
    assert {name: after[f"{name}/difference"] for name in ("gsm8k", "triviaqa", "mmlu")} == {
        "gsm8k": 0.0,
        "triviaqa": -1.0,
        "mmlu": -0.5,
    }
    report = (tmp_path / "after" / "report.md").read_text(encoding="utf-8")
    assert "| triviaqa | 1 | 100.0 [20.7, 100.0] | -100.0 [-100.0, +58.7] | no difference shown |" in report
    assert "The server refused 1 prompts" in report


def test_a_resumed_run_queries_only_the_missing_answers(
    tmp_path: Path, serving: Callable[..., AbstractContextManager[str]]
) -> None:
    write_general(tmp_path)
    asked: list[str] = []
    broken = True

    def counting(messages: Sequence[Message], sampling: Sampling) -> str | BaseException:
        asked.append(messages[-1].text)
        if broken and "virology" in messages[-1].text:
            return BackendUnavailable("upstream answered 500", status=500)
        return knowing()(messages, sampling)  # type: ignore[return-value]

    with serving(scripted_pair(actor=counting)) as url:
        with pytest.raises(BackendUnavailable, match="run again"):
            measure(url, tmp_path, tmp_path / "out")
        before, broken = len(asked), False
        assert measure(url, tmp_path, tmp_path / "out")["mean"] == 1.0
    assert 1 <= len(asked) - before < 5


def test_refused_prompts_are_counted_and_retried_by_the_next_run(
    tmp_path: Path, serving: Callable[..., AbstractContextManager[str]]
) -> None:
    write_general(tmp_path)
    asked: list[str] = []
    window = 10

    def answering(messages: Sequence[Message], sampling: Sampling) -> str | BaseException:
        asked.append(messages[-1].text)
        if len(messages[-1].text) > window:
            return BackendRejected("upstream answered 400: too long", status=400)
        return knowing()(messages, sampling)  # type: ignore[return-value]

    with serving(scripted_pair(actor=answering)) as url:
        with pytest.raises(BackendRejected, match="refused every prompt"):
            measure(url, tmp_path, tmp_path / "out")
        assert not (tmp_path / "out" / "result.json").exists()
        before, window = len(asked), 10_000
        assert measure(url, tmp_path, tmp_path / "out")["mean"] == 1.0
    assert len(asked) == 2 * before


def test_several_servers_are_queried_in_turn(
    tmp_path: Path, serving: Callable[..., AbstractContextManager[str]]
) -> None:
    write_general(tmp_path)
    asked: dict[str, int] = {"one": 0, "two": 0}

    def counting(server: str) -> Callable[[Sequence[Message], Sampling], str]:
        def answer(messages: Sequence[Message], sampling: Sampling) -> str:
            asked[server] += 1
            return knowing()(messages, sampling)  # type: ignore[return-value]

        return answer

    with serving(scripted_pair(actor=counting("one"))) as one, serving(scripted_pair(actor=counting("two"))) as two:
        subject = Subject(model="pair", urls=(f"{one}/v1", f"{two}/v1"), sampling=Sampling(temperature=0))
        run(subject, General(tasks=ALL, limit=None, allow_code=True), baseline=None, data=tmp_path, out=tmp_path / "o")
    assert sum(asked.values()) == 5
    assert min(asked.values()) == 2


@pytest.mark.parametrize(
    ("answer", "right"),
    [("#### 18", 1), ("It is 18.", 1), ("$18.00", 1), ("18 of 20", 0), ("eighteen", 0), ("", 0)],
)
def test_gsm8k_takes_the_last_number(answer: str, right: int) -> None:
    assert scoring.gsm8k({"answer": "18"}, [answer]) == {"right": right}


@pytest.mark.parametrize(
    ("answer", "right"),
    [("the onion", 1), ("Onion.\nIt is a plant.", 1), ("Allium-cepa", 1), ("an onion skin", 0), ("", 0), ("the", 0)],
)
def test_triviaqa_compares_with_every_alias(answer: str, right: int) -> None:
    assert scoring.triviaqa({"aliases": ["Onion", "Allium cepa"]}, [answer]) == {"right": right}


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("B", 1), ("(B)", 1), ("**B**", 1), ("B. two", 1), ("b", 1), ("The answer is B.", 1), ("Answer: (B)", 1),
        ("Let me think.\nThe answer is **B**", 1), ("A or B", 0), ("Because of it", 0), ("Between", 0), ("", 0),
    ],
)  # fmt: skip
def test_mmlu_takes_the_letter_that_the_answer_chooses(answer: str, right: int) -> None:
    assert scoring.mmlu({"answer": "B"}, [answer]) == {"right": right}


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("```python\ndef root(x):\n    return math.isqrt(x)\n```", 1),
        ("def root(x):\n    return int(x ** 0.5)", 1),
        ("    return math.isqrt(x)", 1),
        ("Sure:\n```\nimport math\ndef root(x):\n    return math.isqrt(x)\n```\nDone.", 1),
        ("```python\ndef root(x):\n    return x\n```", 0),
        ("```python\nimport sys\nsys.exit(0)\n```", 0),
        ("I do not know.", 0),
    ],
)
def test_humaneval_runs_the_answer_against_its_tests(answer: str, right: int) -> None:
    assert scoring.humaneval(FUNCTION, [answer]) == {"right": right}


@pytest.mark.parametrize(
    ("program", "output"),
    [
        ("while True: pass", "longer than"),
        ("x = bytearray(4 << 30)", "MemoryError"),
        ("open('f', 'wb').write(bytes(1 << 22))", "File too large"),
        ("import os; os._exit(0)", ""),
        ("import os; assert not os.listdir('.') and 'HOME' not in os.environ; print(os.environ['HOME'])", "KeyError"),
    ],
)
def test_a_program_runs_under_limits(program: str, output: str) -> None:
    result = run_program(program, wall_s=2)
    assert not result.passed
    assert output in result.output


in_namespaces = pytest.mark.skipif(not isolation(), reason="this system has no user namespaces")


@in_namespaces
def test_a_program_has_no_network() -> None:
    result = run_program("import socket; socket.create_connection(('127.0.0.1', 1), timeout=1)")
    assert "Network is unreachable" in result.output


@in_namespaces
def test_a_program_cannot_change_files_or_see_those_of_its_user(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.write_text("precious")
    assert "FileNotFoundError" in run_program(f"import os; os.unlink({str(mine)!r})").output
    assert re.search("Read-only|Permission denied", run_program(f"open({os.__file__!r}, 'a')").output)
    assert mine.read_text() == "precious"


@in_namespaces
@pytest.mark.parametrize(
    ("program", "output"),
    [
        ("import os; assert not os.path.exists('/proc/1')", None),
        ("import os, time\nfor _ in range(150):\n    os.fork() or time.sleep(9)", "BlockingIOError"),
        ("for n in range(99): open(f'f{n}', 'wb').write(bytes(1 << 20))", "No space left"),
        ("for n in range(9999): open(f'f{n}', 'wb').close()", "No space left"),
        ("import ctypes; assert ctypes.CDLL(None).mount(b'x', b'/tmp', b'tmpfs', 0, None) == -1", None),
        ("import numpy, tempfile; tempfile.TemporaryFile().write(numpy.ones(9).tobytes())", None),
    ],
)
def test_a_program_is_isolated_with_little_space(program: str, output: str | None) -> None:
    result = run_program(program)
    assert result.passed == (output is None)
    assert (output or "") in result.output


@pytest.mark.parametrize("sandboxing", ["in namespaces", "limits only"])
@pytest.mark.parametrize("end", ["", "time.sleep(99)"])
def test_a_program_leaves_no_process(monkeypatch: pytest.MonkeyPatch, sandboxing: str, end: str) -> None:
    if sandboxing == "limits only":
        monkeypatch.setattr(sandbox, "isolation", lambda: ())
    seconds = f"9{time.monotonic_ns()}"
    daemon = f"""import os, time
if not os.fork():
    os.setsid()
    if not os.fork():
        os.execvp("sleep", ["sleep", "{seconds}"])
    os._exit(0)
time.sleep(0.2)
{end}"""
    assert run_program(daemon, wall_s=1.5 if end else 60).passed == (not end)
    assert _processes_with(seconds) == []


@pytest.mark.parametrize("sandboxing", ["in namespaces", "limits only"])
def test_no_file_reveals_to_a_program_how_to_pass(monkeypatch: pytest.MonkeyPatch, sandboxing: str) -> None:
    if sandboxing == "limits only":
        monkeypatch.setattr(sandbox, "isolation", lambda: ())
    result = run_program("import os; print(os.listdir('..')) if os.getcwd() != '/program' else 0; os._exit(0)")
    assert not result.passed
    assert result.output in ("", "['work']\n")


def test_a_program_that_replaces_stdout_can_pass() -> None:
    assert run_program("import io, sys; sys.stdout = io.StringIO(); print('x')").passed


def test_no_program_runs_if_its_limits_cannot_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "_PROBE", "raise OSError('no such thing here')")
    isolation.cache_clear()
    with pytest.raises(ConfigError, match=r"no such thing here.*leave humaneval out"):
        isolation()


def test_invalid_settings_are_refused_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--allow-code-execution"):
        General(tasks=("humaneval",), limit=None, allow_code=False)
    with pytest.raises(ConfigError, match="there is no such task; choose from gsm8k"):
        General(tasks=("gsm9k",), limit=None, allow_code=False)
    subject = Subject(model="pair", urls=("http://127.0.0.1:9/v1",), sampling=Sampling(temperature=0))
    (tmp_path / "r.json").write_text(
        '{"name": "ifeval", "config": {}, "models": {}, "figures": {}, "items": [], "versions": {}}'
    )
    settings = General(tasks=("gsm8k",), limit=None, allow_code=False)
    with pytest.raises(ConfigError, match="this is a result of ifeval"):
        run(subject, settings, baseline=tmp_path / "r.json", data=tmp_path, out=tmp_path / "out")
    with pytest.raises(ConfigError, match=r"gsm8k/test\.jsonl"):
        run(subject, settings, baseline=None, data=tmp_path, out=tmp_path / "out")


@pytest.mark.parametrize(
    ("task", "name", "text", "error"),
    [
        ("gsm8k", "gsm8k/test.jsonl", '{"question": "x", "answer": 5}\n', "line 1: answer must be text"),
        (
            "triviaqa",
            "triviaqa/triviaqa_sm_sub.jsonl",
            '{"context": "x", "answer": "A", "aliases": "B"}\n',
            "line 1: aliases must be a list",
        ),
        ("mmlu", "mmlu/test/a_test.csv", "question,choice0,choice1,choice2,choice3,answer\nx,1,2\n", "line 2: needs"),
        ("gsm8k", "gsm8k/test.jsonl", '{"question": "x", "answer": "#### many"}\n', "line 1: answer must end with"),
        ("gsm8k", "gsm8k/test.jsonl", "", "has no items"),
        ("mmlu", "mmlu/test/a_test.csv", "choice0,choice1,choice2,choice3,answer\n1,2,3,4,1\n", "line 2: needs"),
        (
            "mmlu",
            "mmlu/test/a_test.csv",
            "question,choice0,choice1,choice2,choice3,answer\nx,1,2,3,4,-1\n",
            "line 2: needs",
        ),
        ("humaneval", "humaneval/HumanEval.jsonl.gz", "plain", "not gzipped JSON lines"),
    ],
)
def test_a_malformed_data_file_is_refused(tmp_path: Path, task: str, name: str, text: str, error: str) -> None:
    file = tmp_path / name
    file.parent.mkdir(parents=True)
    file.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=error):
        getattr(tasks_data, task)(data=str(tmp_path))


@pytest.mark.parametrize(("line", "error"), [("[]", "line 1: must be"), ("{}", "line 1: must be"), ("", "no items")])
def test_a_malformed_function_is_refused(tmp_path: Path, line: str, error: str) -> None:
    (tmp_path / "humaneval").mkdir()
    (tmp_path / "humaneval" / "HumanEval.jsonl.gz").write_bytes(gzip.compress(line.encode()))
    with pytest.raises(DataError, match=error):
        tasks_data.humaneval(data=str(tmp_path))


def test_empty_answers_are_an_error_and_not_cached(
    tmp_path: Path, serving: Callable[..., AbstractContextManager[str]]
) -> None:
    write_general(tmp_path)
    silent = True

    def answering(messages: Sequence[Message], sampling: Sampling) -> str:
        return "" if silent else knowing()(messages, sampling)  # type: ignore[return-value]

    with serving(scripted_pair(actor=answering)) as url:
        with pytest.raises(BackendProtocol, match="every answer of the server is empty"):
            measure(url, tmp_path, tmp_path / "out")
        silent = False
        assert measure(url, tmp_path, tmp_path / "out")["mean"] == 1.0


@pytest.mark.parametrize(
    ("status", "reply", "error"),
    [(200, {"choices": []}, "has no choices"), (401, {"error": {"message": "no"}}, "set OPENAI_API_KEY")],
)
def test_a_server_with_the_wrong_protocol_or_key_is_reported(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    running: Callable[[Any], AbstractContextManager[str]],
    status: int,
    reply: dict[str, Any],
    error: str,
) -> None:
    write_general(tmp_path)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            headers = [(b"content-type", b"application/json")]
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": json.dumps(reply).encode()})

    with running(app) as url, pytest.raises(BackendError, match=error):
        measure(url, tmp_path, tmp_path / "out")
    assert "fatal" not in capfd.readouterr().err


def test_a_program_is_killed_with_its_evaluation(tmp_path: Path) -> None:
    running = "from spar_training.evals.harness.sandbox import run_program; run_program('import time; time.sleep(99)')"
    evaluation = subprocess.Popen([sys.executable, "-c", running], env={**os.environ, "TMPDIR": str(tmp_path)})
    # Its command line contains the path of the temporary folder.
    _wait_until(lambda: _processes_with(f"{tmp_path}/") != [])
    evaluation.kill()
    evaluation.wait()
    _wait_until(lambda: _processes_with(f"{tmp_path}/") == [])


def _processes_with(text: str) -> list[int]:
    found = []
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if text.encode() in line.read_bytes():
                found.append(int(line.parent.name))
    return found


def _wait_until(holds: Callable[[], bool], *, within_s: float = 60.0) -> None:
    end = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_no_task_is_refused() -> None:
    with pytest.raises(ConfigError, match="--tasks: names no task"):
        General(tasks=(), limit=None, allow_code=False)
