"""Run a program that a model wrote, in a process of its own, with bounds on time, memory, files and processes.

The process has an empty folder to work in, no environment, and where the system lets it (Linux with user namespaces) no
network and no sight of other processes. It may still read what its user may read: run it as a user, or in a container,
that has nothing to lose.
"""

from __future__ import annotations

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

from spar_training import leash

_CPU_S: Final = 10
_WALL_S: Final = 15.0
_MEMORY: Final = 1 << 30  # bytes
_FILE: Final = 1 << 20  # bytes
_PROCESSES: Final = 64
_OUTPUT: Final = 2000  # characters of it that are told
_NAMESPACES: Final = ("unshare", "--user", "--map-root-user", "--net", "--pid", "--ipc", "--fork", "--kill-child")
# Sets its own bounds, hard ones too, before a line of the program runs.
_RUNNER: Final = """\
import resource, sys
for what, most in ((resource.RLIMIT_CPU, {cpu}), (resource.RLIMIT_AS, {memory}), (resource.RLIMIT_FSIZE, {file}),
                   (resource.RLIMIT_NPROC, {processes}), (resource.RLIMIT_NOFILE, 64), (resource.RLIMIT_CORE, 0)):
    resource.setrlimit(what, (most, most))
exec(compile(open(sys.argv[1], encoding="utf-8").read(), "program.py", "exec"), {{"__name__": "__main__"}})
sys.stdout.write({token!r})
"""


@dataclass(frozen=True, slots=True)
class Ran:
    """`passed`: the program ran to its end without an error. `told` is the end of what it printed, or why it ended."""

    passed: bool
    told: str


def run_program(program: str, *, wall_s: float = _WALL_S) -> Ran:
    """Run it to its end, or to its bounds."""
    # Only the runner knows it, and says it at the very end: leaving early with status 0 is no pass.
    token = secrets.token_hex(16)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder) / "work"
        work.mkdir()
        script, runner = Path(folder) / "program.py", Path(folder) / "runner.py"
        script.write_text(program, encoding="utf-8", errors="replace")
        runner.write_text(
            _RUNNER.format(cpu=_CPU_S, memory=_MEMORY, file=_FILE, processes=_PROCESSES, token=token), encoding="utf-8"
        )
        said = _said([*isolation(), sys.executable, "-I", str(runner), str(script)], work, wall_s)
    if said is None:
        return Ran(False, f"took longer than {wall_s:g} s")
    return Ran(said.endswith(token), said.removesuffix(token)[-_OUTPUT:])


def _said(command: list[str], work: Path, wall_s: float) -> str | None:
    """What it wrote, both ways; None when it was stopped for its time."""
    with (
        tempfile.TemporaryFile() as out,
        subprocess.Popen(
            # A program that waits for nothing uses no processor time: it must not outlive an evaluation that is killed.
            [sys.executable, "-I", "-S", leash.__file__, "0", *command],
            cwd=work,
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
            # Its children, too.
            _end(process)
        out.seek(0)
        return out.read().decode(errors="replace")


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


@cache
def isolation() -> tuple[str, ...]:
    """The command's prefix that cuts off network and other processes; empty where the system has no such thing."""
    if shutil.which(_NAMESPACES[0]) is None:
        return ()
    tried = subprocess.run([*_NAMESPACES, "true"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    return _NAMESPACES if tried.returncode == 0 else ()
