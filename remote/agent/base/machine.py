"""GPU, processor, memory and disk of this machine."""

from __future__ import annotations

import os
import select
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from .asked import take, workspace
from .bounded import ran
from .files import Json
from .processes import find_program

# nvidia-smi's names, which its manual does not promise to keep, and ours
GPU_FIELDS = {
    "count": "count", "index": "index", "name": "name", "utilization.gpu": "utilization_percent",
    "memory.used": "memory_used_mib", "memory.total": "memory_total_mib", "temperature.gpu": "temperature_c",
    "power.draw": "power_w", "power.limit": "power_limit_w",
}  # fmt: skip
GPU_TEXTS = ("name",)
GPU_QUERY = f"--query-gpu={','.join(GPU_FIELDS)}"
GPU_FORMAT = "--format=csv,noheader,nounits"
NVIDIA_SMI_TIMEOUT_S = 20.0
NO_NVIDIA_SMI = "this machine has no NVIDIA GPU, or its driver is not installed (there is no nvidia-smi)"


def nvidia_smi() -> str | None:
    """Find nvidia-smi, also where a plain exec over SSH has a short PATH; None where there is none."""
    return find_program("nvidia-smi", path=f"{os.environ.get('PATH', '')}:/usr/bin:/usr/local/bin:/usr/lib/wsl/lib")


def ask_nvidia(arguments: Sequence[str]) -> tuple[list[list[str]], str | None]:
    """Return the cells of each line, and why there are none."""
    program = nvidia_smi()
    if program is None:
        return [], NO_NVIDIA_SMI
    try:
        done = ran([program, *arguments, GPU_FORMAT], NVIDIA_SMI_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        return [], f"nvidia-smi does not answer: {error}"
    out, err = (said.decode(errors="replace") for said in (done.stdout, done.stderr))
    if done.returncode != 0:
        return [], "nvidia-smi: " + " ".join((out + err).split())[:300]
    return [[cell.strip() for cell in line.split(",")] for line in out.splitlines()], None


def number(cell: str) -> Any:
    """Return a cell as a number; None for `[N/A]`, `[Not Supported]` and whatever else is not one."""
    try:
        value = float(cell)
    except ValueError:
        return None
    return int(value) if value.is_integer() else value


def gpu_of(cells: Sequence[str]) -> Json | None:
    """Return a GPU's values by our names; None for a line that is not one of ours."""
    if len(cells) != len(GPU_FIELDS):
        return None
    named = dict(zip(GPU_FIELDS.values(), cells))  # strict is 3.10's
    values = {name: number(cell) for name, cell in named.items() if name not in GPU_TEXTS}
    texts = {name: None if cell.startswith("[") else cell for name, cell in named.items() if name in GPU_TEXTS}
    return {name: {**values, **texts}[name] for name in named}


class GpuSample(NamedTuple):
    """One reading of every GPU; why: there is none."""

    gpus: list[Json]
    why: str


def gpu_sample() -> GpuSample:
    """Read every GPU once."""
    rows, why = ask_nvidia([GPU_QUERY])
    return GpuSample([gpu for row in rows if (gpu := gpu_of(row))], why or "")


def cpu_ticks() -> tuple[int, int]:
    """Return the processors' ticks since the machine started: busy, and all."""
    try:
        ticks = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    except OSError:
        return 0, 0
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)


def memory_bytes() -> Json:
    """Return the memory in all and what is available, in bytes; None where the system does not say."""
    with suppress(OSError):
        lines = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
        values = {line[0]: int(line[1]) * 1024 for line in lines if len(line) == 3}
        return {"total_bytes": values.get("MemTotal:"), "available_bytes": values.get("MemAvailable:")}
    return {"total_bytes": None, "available_bytes": None}


def free_bytes(folder: Path) -> int:
    """Return the free bytes of the disk that a folder lies on, or will."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    return os.statvfs(existing).f_bavail * os.statvfs(existing).f_frsize


class GpuSource:
    """One nvidia-smi that stays and writes a line a GPU every few seconds; begun again when it ended."""

    def __init__(self, interval_s: int) -> None:
        self.interval_s, self.why = interval_s, NO_NVIDIA_SMI
        self._child: subprocess.Popen[bytes] | None = None
        self._ahead, self._begin_at = b"", 0.0

    def descriptor(self) -> int | None:
        """Return where it writes, begun if need be; None while there is nothing to read."""
        program = nvidia_smi()
        if self._child is None and program and time.monotonic() >= self._begin_at:
            argv = [program, GPU_QUERY, GPU_FORMAT, "-l", str(self.interval_s)]
            self._child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        return self._child.stdout.fileno() if self._child and self._child.stdout else None

    def read(self, descriptor: int) -> list[Json]:
        """Return the GPUs of the lines that came; sets `why` when it ended instead."""
        data = os.read(descriptor, 65536)
        if not data and self._child:
            self.why = f"nvidia-smi ended with code {self._child.wait()}"
            self._child, self._begin_at = None, time.monotonic() + 30
        *lines, self._ahead = (self._ahead + data).split(b"\n")
        rows = ([cell.strip() for cell in line.decode(errors="replace").split(",")] for line in lines)
        return [gpu for row in rows if (gpu := gpu_of(row))]

    def close(self) -> None:
        """Stop nvidia-smi, if it runs."""
        if self._child:
            self._child.terminate()


def metrics(parameters: Json, say: Callable[[Json], None]) -> None:
    """Say a line every `interval_s`; ends with stdin."""
    interval_s = max(1, take(parameters, "interval_s", int, 2))
    folder, before, gpus = workspace(parameters), cpu_ticks(), []
    source = GpuSource(interval_s)
    while True:
        descriptor = source.descriptor()
        watched = [0] if descriptor is None else [0, descriptor]
        ready = select.select(watched, [], [], interval_s if descriptor is None else 3 * interval_s)[0]
        if 0 in ready and not os.read(0, 4096):
            break
        if descriptor in ready and descriptor is not None:
            gpus += source.read(descriptor)
            if source.descriptor() is not None and len(gpus) < (gpus[0]["count"] or 1 if gpus else 1):
                continue  # of several GPUs each has a line
        now = cpu_ticks()
        cpu = round(100 * (now[0] - before[0]) / max(1, now[1] - before[1]), 1)
        machine = {"cpu_percent": cpu, "memory": memory_bytes(), "disk_free_bytes": free_bytes(folder)}
        say({"gpus": gpus, "why": "" if gpus else source.why, **machine})
        before, gpus = now, []
    source.close()
