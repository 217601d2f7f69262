"""How much memory this machine has left, and whether an error is a lack of it."""

from __future__ import annotations

import mmap
from pathlib import Path

# What a decoder asks for at once is a frame or two; where this cannot be had, whatever failed may have failed for that.
MODERATE_BYTES = 64 << 20
# PyTorch's allocators raise RuntimeError, on the CPU and on accelerators.
TORCH_SAYS = ("can't allocate memory", "not enough memory", "out of memory")
GPU_HINT = "use a smaller --batch-size or --gradient-checkpointing; t2v estimate says beforehand what fits"
HINT = "close other programs or lift the limit (ulimit -v, Slurm's --mem), and run again"


def free_memory_bytes() -> int:
    """Return the bytes that can be had without swapping; 0 where the system does not say."""
    for line in Path("/proc/meminfo").read_text().splitlines() if Path("/proc/meminfo").exists() else []:
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


def is_lack_of_memory(error: BaseException) -> bool:
    """Return True when the error says so, whichever library's it is."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in TORCH_SAYS)


def is_of_gpu(error: BaseException) -> bool:
    """Return True when it is an accelerator's memory that an error lacks: of the CPU's, PyTorch raises another."""
    return type(error).__name__ == "OutOfMemoryError"


def is_short() -> bool:
    """Return True when a moderate piece of memory cannot be had now, as under `ulimit -v` and Slurm.

    FFmpeg's readers call it invalid data when they get no memory, and its decoders "try again".
    """
    try:
        mmap.mmap(-1, MODERATE_BYTES).close()
    except (OSError, MemoryError):
        return True
    return False
