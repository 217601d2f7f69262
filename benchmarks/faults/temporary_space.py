"""How much temporary space the tests use at most, on a disk of 1 GB, and what they leave there. As root, who may mount.

python benchmarks/faults/temporary_space.py                            all tests
python benchmarks/faults/temporary_space.py tests/core/checkpoints/test_checkpoints.py   or pytest's own arguments
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

SIZE = "1000000000"
EVERY_S = 0.1
ALL = ("--numprocesses", "auto", "--dist", "loadfile")


def used_bytes(disk: Path) -> int:
    found = os.statvfs(disk)
    return (found.f_blocks - found.f_bfree) * found.f_frsize


def peak_of(disk: Path, arguments: list[str]) -> tuple[int, int]:
    """pytest's exit code, and the most that lay on the disk at any tenth of a second."""
    most, ended = 0, threading.Event()

    def look() -> None:
        nonlocal most
        while not ended.wait(EVERY_S):
            most = max(most, used_bytes(disk))

    looker = threading.Thread(target=look)
    looker.start()
    try:
        environment = {**os.environ, "TMPDIR": str(disk), "OMP_NUM_THREADS": "1"}
        code = subprocess.run([sys.executable, "-m", "pytest", *arguments], env=environment, check=False).returncode
    finally:
        ended.set()
        looker.join()
    return code, most


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments = parser.parse_known_args()[1]  # pytest's own
    with tempfile.TemporaryDirectory(prefix="t2v-space-") as folder:
        disk = Path(folder)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(disk)], check=True)
        try:
            code, most = peak_of(disk, arguments or list(ALL))
            left = [path for path in disk.rglob("*") if not path.is_dir()]
            print(f"temporary space: {most / 1e6:.0f} MB at most of {int(SIZE) / 1e6:.0f} MB, {len(left)} files left")
        finally:
            subprocess.run(["umount", "-l", str(disk)], check=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
