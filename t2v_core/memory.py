"""How much memory this machine has left."""

from __future__ import annotations

from pathlib import Path


def free_memory_bytes() -> int:
    """Bytes that can be had without swapping; 0 where the system does not say."""
    for line in Path("/proc/meminfo").read_text().splitlines() if Path("/proc/meminfo").exists() else []:
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0
