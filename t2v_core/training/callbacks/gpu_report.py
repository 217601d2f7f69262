"""What the GPU does while it trains: use, memory, temperature and power, every ten seconds."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

import torch

from t2v_core.errors import Stopped
from t2v_core.events import MachineEvent
from t2v_core.training.callbacks.callback import Callback

if TYPE_CHECKING:
    from t2v_core.training.trainer import Trainer

INTERVAL_S = 10
# nvidia-smi's names, in the order of MachineEvent's fields; memory in MiB.
QUERY = "utilization.gpu,memory.used,temperature.gpu,power.draw"
# A plain exec over SSH has a short PATH, and WSL keeps it apart.
PLACES = ":/usr/bin:/usr/local/bin:/usr/lib/wsl/lib"


class GpuReport(Callback):
    """Writes an event for each line of one nvidia-smi that stays; without one, or without a GPU, it does nothing."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[str] | None = None
        self._said: SimpleQueue[MachineEvent] = SimpleQueue()

    def on_start(self, trainer: Trainer) -> None:
        """Start nvidia-smi on the GPU of this process."""
        program = shutil.which("nvidia-smi", path=os.environ.get("PATH", "") + PLACES)
        device = trainer.accelerator.device
        if program is None or device.type != "cuda" or not trainer.accelerator.is_main_process:
            return
        self.listen(program, f"GPU-{torch.cuda.get_device_properties(device).uuid}")

    def listen(self, program: str, gpu: str) -> None:
        """Begin to take what a program says of a GPU; one that cannot be started says nothing."""
        argv = [program, f"--query-gpu={QUERY}", "--format=csv,noheader,nounits", "-i", gpu, "-l", str(INTERVAL_S)]
        try:
            self._child = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
        except OSError:
            return
        threading.Thread(target=self._hear, args=(self._child,), daemon=True, name="nvidia-smi").start()

    def _hear(self, child: subprocess.Popen[str]) -> None:
        assert child.stdout is not None
        for line in child.stdout:
            if (event := event_in(line)) is not None:
                self._said.put(event)

    def heard(self) -> Iterator[MachineEvent]:
        """Yield what came since the last time."""
        while True:
            try:
                yield self._said.get_nowait()
            except Empty:
                return

    def on_step_end(self, trainer: Trainer) -> None:
        """Write what came meanwhile."""
        for event in self.heard():
            trainer.job.events.emit(event)

    def on_end(self, trainer: Trainer) -> None:
        """End nvidia-smi."""
        self.close()

    def on_stop(self, trainer: Trainer, stopped: Stopped) -> Stopped:
        """End nvidia-smi."""
        self.close()
        return stopped

    def on_failure(self, trainer: Trainer) -> None:
        """End nvidia-smi."""
        self.close()

    def close(self) -> None:
        """End nvidia-smi, if it runs."""
        if self._child is not None:
            self._child.terminate()
            self._child.wait()
            self._child = None


def event_in(line: str) -> MachineEvent | None:
    """Return what a line of nvidia-smi says; None for a line of another form. `[N/A]` reads as not known."""
    cells = [_number(cell) for cell in line.split(",")]
    if len(cells) != 4 or all(cell is None for cell in cells):
        return None
    use, memory_mib, temperature, power = cells
    memory_gb = None if memory_mib is None else round(memory_mib * 2**20 / 1e9, 3)
    return MachineEvent(
        gpu_use_percent=use, gpu_memory_gb=memory_gb, gpu_temperature_c=temperature, gpu_power_w=power
    )  # fmt: skip


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None
