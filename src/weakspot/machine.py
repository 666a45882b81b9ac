"""The cores and the memory that this process may use."""

from __future__ import annotations

import os
from pathlib import Path

_MEMORY_LIMIT = Path("/sys/fs/cgroup/memory.max")  # a container's limit; "max" if it has none


def cores() -> int:
    """Return how many CPU cores this process may use: a scheduler or a container may grant fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory() -> int | None:
    """Return the machine's memory in bytes, or the container's share of it; None if the system does not report it."""
    try:
        installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return None
    limit = _MEMORY_LIMIT.read_text(encoding="utf-8").strip() if _MEMORY_LIMIT.is_file() else ""
    return min(installed, int(limit)) if limit.isdigit() else installed
