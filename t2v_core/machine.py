"""What this machine has, as the operating system tells it; nothing here imports torch."""

from __future__ import annotations

import os
from pathlib import Path

from t2v_core.memory import free_memory_bytes

MEMINFO, STATUS = Path("/proc/meminfo"), Path("/proc/self/status")
CGROUP_LIMIT, CGROUP_USED = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")


def total_memory_bytes() -> int:
    """Return the memory of the machine; 0 where the system does not say."""
    if (found := _kilobytes(MEMINFO, "MemTotal")) is not None:
        return found
    names = os.sysconf_names  # macOS has no /proc
    known = "SC_PHYS_PAGES" in names and "SC_PAGE_SIZE" in names
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if known else 0


def available_memory_bytes() -> int:
    """Return what can be had without swapping, within a container's limit too; 0 where the system does not say."""
    available = free_memory_bytes()
    try:
        room = int(CGROUP_LIMIT.read_text()) - int(CGROUP_USED.read_text())
    except (OSError, ValueError):  # no container, or one without a limit ("max")
        return available
    return max(0, min(available, room))


def resident_bytes() -> int:
    """Return the memory that this process holds now; 0 where the system does not say."""
    return _kilobytes(STATUS, "VmRSS") or 0


def peak_resident_bytes() -> int:
    """Return the most it has held since it began, or since `forget_peak`; 0 where the system does not say."""
    return _kilobytes(STATUS, "VmHWM") or 0


def forget_peak() -> None:
    """Begin anew to watch for the peak. Raises OSError where the system has no such thing."""
    Path("/proc/self/clear_refs").write_text("5")  # man 5 proc


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _kilobytes(file: Path, name: str) -> int | None:
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")), None)
