"""Why a training may have become slow: what the machine shows of it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import torch

from t2v_core.format import size
from t2v_core.machine import cores

PROC = Path("/proc")
NVIDIA_SMI_TIMEOUT_S = 10.0
# Below these nobody would feel it: a share of the time, bytes a second, a share of the clock, of the cores.
MUCH_WAITING, MUCH_SWAPPING, LOW_CLOCK, MUCH_LOAD = 0.3, 1e6, 0.7, 1.5


@dataclass(frozen=True)
class Stretch:
    """Steps in a row. seconds: that they took in all; waited: for their data; swapped: bytes, meanwhile"""

    seconds: float
    waited: float
    swapped: int = 0


def causes(slow: Stretch, usual_waiting: float, device: torch.device, *, proc: Path = PROC) -> list[str]:
    """Return what can be seen of why, in words; empty when nothing can.

    usual_waiting: the share of the time that steps wait for their data as a rule
    proc: where the system tells about itself
    """
    found = []
    waiting = slow.waited / slow.seconds
    if waiting > max(MUCH_WAITING, 2 * usual_waiting):
        found.append(f"it waits for data {waiting:.0%} of the time ({usual_waiting:.0%} before)")
    if slow.swapped / slow.seconds > MUCH_SWAPPING:
        found.append(f"the machine swaps {size(slow.swapped / slow.seconds)} a second: its memory is full")
    return found + (_of_gpu(device) if device.type == "cuda" else _of_processors(proc))


def swapped_bytes(proc: Path = PROC) -> int:
    """Return what was swapped in and out since the machine started; 0 where the system does not say."""
    try:
        text = (proc / "vmstat").read_text()
    except OSError:
        return 0
    return sum(int(pages) for pages in re.findall(r"^pswp(?:in|out) (\d+)$", text, re.MULTILINE)) * os.sysconf(
        "SC_PAGE_SIZE"
    )


def _of_processors(proc: Path) -> list[str]:
    try:
        load = float((proc / "loadavg").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return []
    here = cores()
    return [f"other processes compete for the processors: load {load:.1f} on {here}"] if load > MUCH_LOAD * here else []


def _of_gpu(device: torch.device) -> list[str]:
    found = []
    for clock, most, temperature in _asked("--query-gpu=clocks.sm,clocks.max.sm,temperature.gpu", device):
        if clock.isdigit() and most.isdigit() and int(clock) < LOW_CLOCK * int(most):
            found.append(f"the GPU's clock is at {clock} of {most} MHz, at {temperature} °C")
    for pid, name, memory in _asked("--query-compute-apps=pid,process_name,used_memory", device):
        if not _is_ours(pid):
            found.append(f"another process is on the GPU: {name}, pid {pid}, with {memory} MiB")
    return found


def _asked(query: str, device: torch.device) -> list[list[str]]:
    """Three cells a line, of the one GPU; none when nvidia-smi is missing or does not answer."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    argv = [program, query, "--format=csv,noheader,nounits", *_this_one(device)]
    try:
        said = subprocess.run(argv, capture_output=True, text=True, timeout=NVIDIA_SMI_TIMEOUT_S, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    rows = [[cell.strip() for cell in line.split(",")] for line in said.splitlines()]
    return [row for row in rows if len(row) == 3]


def _this_one(device: torch.device) -> list[str]:
    """By its own id: its number here is another one where CUDA_VISIBLE_DEVICES hides some."""
    if not torch.cuda.is_available():
        return []
    uuid = str(torch.cuda.get_device_properties(device).uuid)
    return [f"--id={uuid if uuid.startswith('GPU-') else f'GPU-{uuid}'}"]


def _is_ours(pid: str) -> bool:
    """Processes that share a run are of one session."""
    try:
        return os.getsid(int(pid)) == os.getsid(0)
    except (ValueError, OSError):  # of a container that does not see it
        return False
