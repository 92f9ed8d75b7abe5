"""The CPU cores and the memory that this process may use."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

_MIB: Final = 2**20


def usable_cores() -> int:
    """The cores that the process may run on; a container or `taskset` may allow fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def physical_memory_mib() -> int:
    """The machine's memory, or its container's limit; 4 GiB if the system does not report it."""
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // _MIB
    except (AttributeError, ValueError, OSError):
        return 4096
    with suppress(OSError, ValueError):
        return min(memory, int(Path("/sys/fs/cgroup/memory.max").read_text()) // _MIB)
    return memory
