"""Run a program under resource limits that are set before its first line: `python isolate.py FOLDER [chroot] [nobody]`.

FOLDER holds `program.py`, `token` and the empty folder `work`. The output ends with the token if the program ran to its
end. `chroot`, for a process in its own mount namespace, leaves only a small in-memory file system with the system's
programs and this interpreter, read-only. `nobody` drops root's rights.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import struct
import sys
from pathlib import Path

_LIMITS = (
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
# From <linux/mount.h>, <linux/fcntl.h>, <linux/prctl.h> and <linux/capability.h>.
_MS_NOSUID, _MS_NODEV, _MS_BIND, _MS_REC = 2, 4, 4096, 16384
_MOUNT_ATTR_RDONLY, _MOUNT_ATTR_NOSUID, _MOUNT_ATTR_NODEV = 1, 2, 4
_SYS_MOUNT_SETATTR, _AT_FDCWD, _AT_RECURSIVE = 442, -100, 0x8000
_PR_SET_NO_NEW_PRIVS, _CAPABILITIES_V3 = 38, 0x20080522


def main(folder: Path, options: list[str]) -> None:
    """Run the program; does not return if it ends without an error.

    Raises:
        OSError: the system does not allow the isolation.
    """
    program, token = (_take(folder / name) for name in ("program.py", "token"))
    libc = ctypes.CDLL(None, use_errno=True)
    work = folder / "work"
    if "chroot" in options:
        _enter_chroot(libc, work)
    else:
        os.chdir(work)
    for kind, limit in _LIMITS:
        resource.setrlimit(kind, (limit, limit))
    if "nobody" in options:
        # The limit on processes does not apply to root.
        os.chown(".", _NOBODY, _NOBODY)
        os.setgroups([])
        os.setgid(_NOBODY)
        os.setuid(_NOBODY)
    _drop_capabilities(libc)
    sys.argv = ["program.py"]
    exec(compile(program, "program.py", "exec"), {"__name__": "__main__"})
    with contextlib.suppress(AttributeError, OSError, ValueError):
        sys.stdout.flush()
    os.write(1, token.encode())
    # Exit handlers that the program registered are not part of its tests.
    os._exit(0)


def _take(file: Path) -> str:
    """Read the file and delete it, so that the program cannot find it."""
    text = file.read_text(encoding="utf-8")
    file.unlink()
    return text


def _enter_chroot(libc: ctypes.CDLL, root: Path) -> None:
    _check(libc.mount(b"tmpfs", bytes(root), b"tmpfs", _MS_NOSUID | _MS_NODEV, b"size=64m,nr_inodes=8k,mode=755"))
    interpreter = [path for part in (sys.prefix, sys.base_prefix) for path in (part, os.path.realpath(part))]
    mounted: list[Path] = []
    for path in map(Path, (*_SYSTEM, *interpreter)):
        if path.exists() and not any(path.is_relative_to(other) for other in mounted):
            mounted.append(path)
            _mount_read_only(libc, path, root)
    for device in map(Path, _DEVICES):
        _bind(libc, device, root)
    for name in ("program", "tmp"):
        (root / name).mkdir(exist_ok=True)
        (root / name).chmod(0o1777)
    os.chroot(root)
    os.chdir("/program")


def _mount_read_only(libc: ctypes.CDLL, path: Path, root: Path) -> None:
    """Mount `path` read-only under `root`; a symbolic link stays one."""
    if path.parent == Path("/") and path.is_symlink():
        (root / path.name).symlink_to(path.readlink())
        return
    target = _bind(libc, path, root)
    attributes = struct.pack("4Q", _MOUNT_ATTR_RDONLY | _MOUNT_ATTR_NOSUID | _MOUNT_ATTR_NODEV, 0, 0, 0)
    call = ctypes.c_long(_SYS_MOUNT_SETATTR)
    _check(libc.syscall(call, _AT_FDCWD, bytes(target), _AT_RECURSIVE, attributes, ctypes.c_size_t(len(attributes))))


def _bind(libc: ctypes.CDLL, path: Path, root: Path) -> Path:
    target = root / path.relative_to("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        target.mkdir(exist_ok=True)
    else:
        target.touch()
    _check(libc.mount(bytes(path), bytes(target), None, _MS_BIND | _MS_REC, None))
    return target


def _drop_capabilities(libc: ctypes.CDLL) -> None:
    """Drop all capabilities for good, so that the program cannot undo the mounts."""
    _check(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    _check(libc.capset(struct.pack("Ii", _CAPABILITIES_V3, 0), bytes(24)))


def _check(status: int) -> None:
    if status != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
