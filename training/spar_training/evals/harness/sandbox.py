"""Run a program that a model wrote in a separate process, with limits on time, memory, files and processes.

Where the system allows it (Linux with namespaces), the program has no network, sees no other processes, and has no
files except those of the system and this interpreter, read-only, and a small in-memory folder. Elsewhere only the
limits apply, and it can read and write whatever its user can; if that is root, it runs as nobody, provided that nobody
can read this interpreter.

The memory limit applies to each process. A malicious program can find the token of success in its own process: the
sandbox keeps faulty programs from doing harm, but does not prove that a program is correct.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from spar_core.errors import ConfigError
from spar_training.evals.harness import isolate, reaper
from spar_training.inference import supervise

_ISOLATED: Final = (sys.executable, "-I", "-S")
_WALL_S: Final = 15.0
_OUTPUT: Final = 2000  # characters of output to keep
# Time for the reaper to kill all processes.
_KILL_WITHIN_S: Final = 3.0
_NAMESPACES: Final = ("--mount", "--net", "--pid", "--ipc", "--fork", "--kill-child")
# If these can be imported, so can whatever else a program needs.
_PROBE: Final = "import ctypes, json"


@dataclass(frozen=True, slots=True)
class ProgramRun:
    """`passed`: it ran to its end without an error. `output` is the end of its output, or why it was killed."""

    passed: bool
    output: str


def run_program(program: str, *, wall_s: float = _WALL_S) -> ProgramRun:
    """Run a program until it ends or exceeds a limit."""
    prefix = isolation()
    return _run(program, prefix, wall_s, nobody=_is_root() if prefix else _nobody_can_run())


def _run(program: str, prefix: tuple[str, ...], wall_s: float, *, nobody: bool) -> ProgramRun:
    # Printed at the very end: exiting early with status 0 does not count as passed.
    token = secrets.token_hex(16)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "work").mkdir()
        (Path(folder) / "program.py").write_text(program, encoding="utf-8", errors="replace")
        (Path(folder) / "token").write_text(token, encoding="utf-8")
        options = [*(["chroot"] if prefix else []), *(["nobody"] if nobody else [])]
        output = _output([*prefix, sys.executable, "-I", isolate.__file__, folder, *options], wall_s)
    if output is None:
        return ProgramRun(False, f"took longer than {wall_s:g} s")
    return ProgramRun(output.endswith(token), output.removesuffix(token)[-_OUTPUT:])


def _output(command: list[str], wall_s: float) -> str | None:
    """Return the command's stdout and stderr; None if it exceeded the time limit."""
    with (
        tempfile.TemporaryFile() as out,
        subprocess.Popen(
            # An idle program uses no CPU time, but it must not outlive an evaluation that is killed.
            [*_ISOLATED, supervise.__file__, "0", *_ISOLATED, reaper.__file__, *command],
            cwd="/",
            env={"PATH": os.defpath},
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=out,
            start_new_session=True,
        ) as process,
    ):
        try:
            process.wait(wall_s)
        except subprocess.TimeoutExpired:
            return None
        finally:
            _kill(process)
        out.seek(0)
        return out.read().decode(errors="replace")


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill the process and its children."""
    with contextlib.suppress(ProcessLookupError):
        if process.poll() is None:
            # On SIGTERM the reaper also kills the children that left the process group.
            os.killpg(process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_KILL_WITHIN_S)
        os.killpg(process.pid, signal.SIGKILL)


@cache
def isolation() -> tuple[str, ...]:
    """Return the command prefix that isolates files, network and processes; empty where the system does not support it.

    Raises:
        ConfigError: programs cannot run under limits on this system.
    """
    root = _is_root()
    prefix = ("unshare", *(() if root else ("--user", "--map-root-user")), *_NAMESPACES)
    if shutil.which(prefix[0]) is not None and _run(_PROBE, prefix, _WALL_S, nobody=root).passed:
        return prefix
    limited = _run(_PROBE, (), _WALL_S, nobody=False)
    if not limited.passed:
        raise ConfigError(
            f"programs cannot run under limits on this system ({limited.output.strip()[-200:]}): "
            "leave humaneval out of --tasks"
        )
    return ()


@cache
def _nobody_can_run() -> bool:
    return _is_root() and _run(_PROBE, (), _WALL_S, nobody=True).passed


def _is_root() -> bool:
    return os.geteuid() == 0
