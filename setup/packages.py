"""Says what pip is about to fetch into .venv and how large it is, before it does. Only the standard library.

.venv/bin/python setup/packages.py             the sentence
.venv/bin/python setup/packages.py --measure   fetches it all into a temporary folder, and prints the figures
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")
# MB to fetch and on disk, by --measure on 28 November 2026 (Linux x86_64, Python 3.11): 82 packages, or 101 with CUDA
WITHOUT_CUDA, WITH_CUDA = (333, 1177), (2872, 5201)
COMPILED = 330  # MB that pip adds on disk, by du of the .pyc files
# Where an NVIDIA driver shows: its own folder, its device, and WSL's.
DRIVER = ("/proc/driver/nvidia/version", "/dev/nvidia0", "/dev/dxg")


def has_gpu() -> bool:
    return shutil.which("nvidia-smi") is not None or any(Path(mark).exists() for mark in DRIVER)


def torch_to_come() -> str | None:
    """The version that pip would fetch, with its build, as `2.13.0+cpu`; None when it is there, or pip cannot tell."""
    command = [*PIP, "install", "--dry-run", "--no-deps", "--quiet", "--constraint", "constraints.txt"]
    done = subprocess.run([*command, "--report", "-", "torch"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return None
    planned = json.loads(done.stdout)["install"]
    return str(planned[0]["metadata"]["version"]) if planned else None


def sentences(torch: str | None, *, gpu: bool, linux: bool) -> list[str]:
    """What to say before it begins; nothing when torch is there already, for the rest is small."""
    if torch is None:
        return []
    is_cuda = linux and "+cpu" not in torch
    fetched, disk = WITH_CUDA if is_cuda else WITHOUT_CUDA
    said = [f"pip fetches about {amount(fetched)} into .venv, {amount(disk + COMPILED)} on disk (torch {torch}), once"]
    if is_cuda and not gpu:
        saved = amount(fetched - WITHOUT_CUDA[0])
        said.append(
            f"there is no NVIDIA GPU here, and {saved} of it is CUDA; to do without, stop this (Ctrl-C) and begin "
            "again with the variable PIP_EXTRA_INDEX_URL set to PyTorch's CPU index"
        )
    if gpu and linux and not is_cuda:
        said.append("there is an NVIDIA GPU here, but pip finds a torch without CUDA: look at `pip config list`")
    return said


def amount(megabytes: int) -> str:
    return f"{megabytes / 1000:.1f} GB" if megabytes >= 1000 else f"{megabytes} MB"


def measure() -> None:
    """Fetch what `make demo` fetches, and add up what it weighs packed and unpacked."""
    with tempfile.TemporaryDirectory() as folder:
        command = [*PIP, "download", "--quiet", "--no-cache-dir", "--dest", folder, "--constraint", "constraints.txt"]
        subprocess.run([*command, ".[engine]"], check=True)
        files = [path for path in Path(folder).iterdir() if not path.name.startswith("t2v-")]
        packed = sum(path.stat().st_size for path in files)
        unpacked = sum(entry.file_size for path in files if path.suffix == ".whl" for entry in entries(path))
    print(f"{len(files)} files, {packed / 1e6:.0f} MB to fetch, {unpacked / 1e6:.0f} MB on disk")


def entries(wheel: Path) -> list[zipfile.ZipInfo]:
    with zipfile.ZipFile(wheel) as opened:
        return opened.infolist()


def main() -> None:
    os.chdir(Path(__file__).parent.parent)
    if sys.argv[1:] == ["--measure"]:
        measure()
        return
    for said in sentences(torch_to_come(), gpu=has_gpu(), linux=sys.platform == "linux"):
        print(said, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
