"""A real file system of a few megabytes, to fill."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from support.house.needs import needs


@contextmanager
def mounted(place: Path, size: str) -> Iterator[Path]:
    """Mount a tmpfs of `size` (such as `4m`) on `place`. It takes root."""
    needs("root")
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)], check=True, timeout=10)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True, timeout=10)


@contextmanager
def mounted_ext4(place: Path, size_mb: int) -> Iterator[Path]:
    """The same with ext4, as hosts have it: an image in a file beside `place`. It takes root."""
    needs("root")
    image = place.with_name(f"{place.name}.img")
    with image.open("wb") as file:
        file.truncate(size_mb * 2**20)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", str(image)], check=True, timeout=240)
    place.mkdir()
    subprocess.run(["mount", "-o", "loop", str(image), str(place)], check=True, timeout=240)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True, timeout=240)
        image.unlink()


def fill(place: Path) -> Path:
    """Take all the room that there is, to the last block; returns the file that has it."""
    filler = place / "filler"
    descriptor = os.open(filler, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        for size in (2**20, 4096, 1):
            with suppress(OSError):
                while os.write(descriptor, b"x" * size):
                    os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return filler
