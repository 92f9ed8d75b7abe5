"""Run a program in bounds that hold before its first line: `python cell.py FOLDER [apart] [nobody]`.

FOLDER holds `program.py`, `token` and the empty folder `work`. What was printed ends with the token when the program
came to its end. `apart`, in a mount namespace of this process's own, leaves it a small file system in memory with
nothing in it but the system's programs and this interpreter, read-only. `nobody` takes root's rights from it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import struct
import sys
from pathlib import Path

_BOUNDS = (
    (resource.RLIMIT_CPU, 10),
    (resource.RLIMIT_AS, 1 << 30),
    (resource.RLIMIT_FSIZE, 1 << 20),
    (resource.RLIMIT_NPROC, 64),
    (resource.RLIMIT_NOFILE, 64),
    (resource.RLIMIT_CORE, 0),
)
_NOBODY = 65534
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix/store", "/etc/ld.so.cache")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom")
# Of <linux/mount.h>, <linux/fcntl.h>, <linux/prctl.h> and <linux/capability.h>.
_MS_NOSUID, _MS_NODEV, _MS_BIND, _MS_REC = 2, 4, 4096, 16384
_MOUNT_ATTR_RDONLY, _MOUNT_ATTR_NOSUID, _MOUNT_ATTR_NODEV = 1, 2, 4
_SYS_MOUNT_SETATTR, _AT_FDCWD, _AT_RECURSIVE = 442, -100, 0x8000
_PR_SET_NO_NEW_PRIVS, _CAPABILITIES_V3 = 38, 0x20080522


def main(folder: Path, how: list[str]) -> None:
    """Does not return when the program ends well.

    Raises:
        OSError: the system does not let it be held so.
    """
    program, token = (_taken(folder / name) for name in ("program.py", "token"))
    libc = ctypes.CDLL(None, use_errno=True)
    work = folder / "work"
    if "apart" in how:
        _enclose(libc, work)
    else:
        os.chdir(work)
    for what, most in _BOUNDS:
        resource.setrlimit(what, (most, most))
    if "nobody" in how:
        # The bound on processes does not hold for root.
        os.chown(".", _NOBODY, _NOBODY)
        os.setgroups([])
        os.setgid(_NOBODY)
        os.setuid(_NOBODY)
    _renounce(libc)
    sys.argv = ["program.py"]
    exec(compile(program, "program.py", "exec"), {"__name__": "__main__"})
    with contextlib.suppress(AttributeError, OSError, ValueError):
        sys.stdout.flush()
    os.write(1, token.encode())
    # What it leaves for the interpreter's end is no part of its tests.
    os._exit(0)


def _taken(file: Path) -> str:
    """Its text; the program does not find the file."""
    text = file.read_text(encoding="utf-8")
    file.unlink()
    return text


def _enclose(libc: ctypes.CDLL, root: Path) -> None:
    _must(libc.mount(b"tmpfs", bytes(root), b"tmpfs", _MS_NOSUID | _MS_NODEV, b"size=64m,nr_inodes=8k,mode=755"))
    interpreter = [path for part in (sys.prefix, sys.base_prefix) for path in (part, os.path.realpath(part))]
    there: list[Path] = []
    for path in map(Path, (*_SYSTEM, *interpreter)):
        if path.exists() and not any(path.is_relative_to(other) for other in there):
            there.append(path)
            _show(libc, path, root)
    for device in map(Path, _DEVICES):
        _bind(libc, device, root)
    for name in ("program", "tmp"):
        (root / name).mkdir(exist_ok=True)
        (root / name).chmod(0o1777)
    os.chroot(root)
    os.chdir("/program")


def _show(libc: ctypes.CDLL, path: Path, root: Path) -> None:
    """At the same place, read-only; a link stays one."""
    if path.parent == Path("/") and path.is_symlink():
        (root / path.name).symlink_to(path.readlink())
        return
    shown = _bind(libc, path, root)
    attributes = struct.pack("4Q", _MOUNT_ATTR_RDONLY | _MOUNT_ATTR_NOSUID | _MOUNT_ATTR_NODEV, 0, 0, 0)
    call = ctypes.c_long(_SYS_MOUNT_SETATTR)
    _must(libc.syscall(call, _AT_FDCWD, bytes(shown), _AT_RECURSIVE, attributes, ctypes.c_size_t(len(attributes))))


def _bind(libc: ctypes.CDLL, path: Path, root: Path) -> Path:
    shown = root / path.relative_to("/")
    shown.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        shown.mkdir(exist_ok=True)
    else:
        shown.touch()
    _must(libc.mount(bytes(path), bytes(shown), None, _MS_BIND | _MS_REC, None))
    return shown


def _renounce(libc: ctypes.CDLL) -> None:
    """Whoever made the mounts could undo them: no capability is left, and none comes back with another command."""
    _must(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    _must(libc.capset(struct.pack("Ii", _CAPABILITIES_V3, 0), bytes(24)))


def _must(status: int) -> None:
    if status != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
