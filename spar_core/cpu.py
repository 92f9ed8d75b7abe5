"""What this process may use of the machine: CPU cores and memory."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

_MIB: Final = 2**20


def usable_cores() -> int:
    """The cores that the process is bound to, which a container or `taskset` may have made fewer than the machine's."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def physical_memory_mib() -> int:
    """The machine's memory, or what its container may use of it; 4 GiB where the system does not tell."""
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // _MIB
    except (AttributeError, ValueError, OSError):
        return 4096
    with suppress(OSError, ValueError):
        return min(memory, int(Path("/sys/fs/cgroup/memory.max").read_text()) // _MIB)
    return memory
