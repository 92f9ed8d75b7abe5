"""Run a program that a model wrote, in a process of its own, with bounds on time, memory, files and processes.

Where the system lets it (Linux with namespaces) the program has no network, no sight of other processes, and no files
but those of the system and of this interpreter, read-only, and a small folder in memory. Elsewhere it is bounded only,
and may read and write what its user may; where that is root it is nobody, if nobody can read this interpreter.

The bound on memory is each process's. A program that is out to deceive can find in its own process what says that it
passed: this keeps wrong programs from harm, it does not prove right ones.
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
_OUTPUT: Final = 2000  # characters of it that are told
# What the reaper has to end them all.
_END_WITHIN_S: Final = 3.0
_NAMESPACES: Final = ("--mount", "--net", "--pid", "--ipc", "--fork", "--kill-child")
# Whatever else a program needs is there when these are.
_PROBE: Final = "import ctypes, json"


@dataclass(frozen=True, slots=True)
class Ran:
    """`passed`: the program ran to its end without an error. `told` is the end of what it printed, or why it ended."""

    passed: bool
    told: str


def run_program(program: str, *, wall_s: float = _WALL_S) -> Ran:
    """Run it to its end, or to its bounds."""
    prefix = isolation()
    return _ran(program, prefix, wall_s, nobody=_is_root() if prefix else _nobody_can())


def _ran(program: str, prefix: tuple[str, ...], wall_s: float, *, nobody: bool) -> Ran:
    # Said at the very end: leaving early with status 0 is no pass.
    token = secrets.token_hex(16)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "work").mkdir()
        (Path(folder) / "program.py").write_text(program, encoding="utf-8", errors="replace")
        (Path(folder) / "token").write_text(token, encoding="utf-8")
        how = [*(["apart"] if prefix else []), *(["nobody"] if nobody else [])]
        said = _said([*prefix, sys.executable, "-I", isolate.__file__, folder, *how], wall_s)
    if said is None:
        return Ran(False, f"took longer than {wall_s:g} s")
    return Ran(said.endswith(token), said.removesuffix(token)[-_OUTPUT:])


def _said(command: list[str], wall_s: float) -> str | None:
    """What it wrote, both ways; None when it was stopped for its time."""
    with (
        tempfile.TemporaryFile() as out,
        subprocess.Popen(
            # A program that waits for nothing uses no processor time: it must not outlive an evaluation that is killed.
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
            _end(process)
        out.seek(0)
        return out.read().decode(errors="replace")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Its children, too."""
    with contextlib.suppress(ProcessLookupError):
        if process.poll() is None:
            # The reaper ends those, too, that left the group.
            os.killpg(process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_END_WITHIN_S)
        os.killpg(process.pid, signal.SIGKILL)


@cache
def isolation() -> tuple[str, ...]:
    """The command's prefix that cuts off files, network and other processes; empty where the system has no such thing.

    Raises:
        ConfigError: no program runs here in bounds.
    """
    root = _is_root()
    prefix = ("unshare", *(() if root else ("--user", "--map-root-user")), *_NAMESPACES)
    if shutil.which(prefix[0]) is not None and _ran(_PROBE, prefix, _WALL_S, nobody=root).passed:
        return prefix
    bounded = _ran(_PROBE, (), _WALL_S, nobody=False)
    if not bounded.passed:
        raise ConfigError(
            f"no program runs in bounds on this system ({bounded.told.strip()[-200:]}): leave humaneval out of --tasks"
        )
    return ()


@cache
def _nobody_can() -> bool:
    return _is_root() and _ran(_PROBE, (), _WALL_S, nobody=True).passed


def _is_root() -> bool:
    return os.geteuid() == 0
