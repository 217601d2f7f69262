"""How a machine is doing: bars with numbers beside them, each as wide whatever it says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.content import Content

from remote.power.state import Power
from t2v_core.format import ago, part_of, size
from t2v_tui.store.state import HostKind, HostView
from t2v_tui.text.headline import is_off, truth
from t2v_tui.text.unreachable import asked, is_lost, waits
from t2v_tui.widgets.chrome import Block

if TYPE_CHECKING:
    from remote.jobs.metrics import MachineSample
    from remote.replies.machine import GpuSample

NAME, BAR = 5, 16
MIB = 2**20
# What is older than this is said to be old.
FRESH_S = 10.0


class Gauges(Block):
    """GPU, processor, memory, disk of one host."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._title = ""

    def show_host(self, host: HostView, now_t: float) -> None:
        """Draw how a host is doing, under the name of its machine."""
        title = title_of(host, now_t)
        self.show(text_of(host, now_t))
        if title != self._title:
            self._title, self.border_title = title, Content(title)


def title_of(host: HostView, now_t: float) -> str:
    """Return the name of its GPUs, and how old the numbers are once they are older than 10 s."""
    machine = host.machine
    if machine is None or host.machine_t is None:
        return "machine"
    names = [gpu.name or "GPU" for gpu in machine.gpus]
    name = f"{len(names)} × {names[0]}" if len(names) > 1 else names[0] if names else "machine"
    age = now_t - host.machine_t
    return f"{name} · {ago(age)} ago" if age > FRESH_S else name


def not_looked_at(host: HostView, now_t: float) -> str:
    """Return why there is nothing to draw."""
    if host.vm is not None and host.vm.power in (Power.STARTING, Power.STOPPING):
        is_so = truth(host, now_t)
        return f"{is_so.glyph} {host.name} is {is_so.word.lower()}"
    if is_off(host):
        return f"○ {host.name} is off"
    if is_lost(host):
        return f"◐ {host.name} is not heard"
    name = "this machine" if host.kind is HostKind.LOCAL else host.name
    return asked(host, now_t) if waits(host) else f"◌ looking at {name} …"


def text_of(host: HostView, now_t: float) -> Content:
    """Return its bars, of at most four GPUs; before the first numbers, why there are none."""
    if host.machine is None:
        return Content(not_looked_at(host, now_t)).stylize("$text-muted")
    lines: list[tuple[str, str]] = []
    for gpu in host.machine.gpus[:4]:
        lines += _gpu(gpu, "gpu" if len(host.machine.gpus) == 1 else f"gpu{gpu.index}")
    if not host.machine.gpus:
        lines += _bar("cpu", host.machine.cpu_percent / 100, f"{host.machine.cpu_percent:>4.0f}%")
    lines += _memory(host.machine)
    lines.append((f"{'disk':<{NAME + BAR}}", "$text-muted"))
    lines.append((f" {size(host.machine.disk_free_bytes):>8} free\n", ""))
    if not host.machine.gpus:
        lines.append((f"no GPU: the engine takes the CPU\n{host.machine.why_no_gpu}", "$text-muted"))
    return Content.assemble(*lines)


def _gpu(gpu: GpuSample, name: str) -> list[tuple[str, str]]:
    heat = f"  {gpu.temperature_c:.0f} °C" if gpu.temperature_c is not None else ""
    lines = _bar(name, _share(gpu.utilization_percent, 100), f"{_figure(gpu.utilization_percent)}%{heat}")
    used, total = gpu.memory_used_mib, gpu.memory_total_mib
    said = f"{part_of(used * MIB, total * MIB):>14}" if used is not None and total else "?"
    lines += _bar("vram", _share(used, total), said)
    if gpu.power_w is not None and gpu.power_limit_w:
        lines += _bar("pwr", _share(gpu.power_w, gpu.power_limit_w), f"{gpu.power_w:>4.0f} / {gpu.power_limit_w:.0f} W")
    return lines


def _memory(machine: MachineSample) -> list[tuple[str, str]]:
    used, total = machine.memory_used_bytes, machine.memory_total_bytes
    said = f"{part_of(used, total):>14}" if used is not None and total else "?"
    return _bar("mem", _share(used, total), said)


def _figure(value: float | None) -> str:
    return f"{value:>4.0f}" if value is not None else "   ?"


def _share(value: float | None, whole: float | None) -> float:
    return value / whole if value is not None and whole else 0.0


def _bar(name: str, share: float, said: str) -> list[tuple[str, str]]:
    full = max(0, min(BAR, round(share * BAR)))
    # Lines, not blocks: bars that lie below each other would be one.
    rest = ("─" * (BAR - full), "$foreground 25%")
    return [(f"{name:<{NAME}}", "$text-muted"), ("━" * full, "$accent"), rest, (f" {said}\n", "")]


def in_one_line(host: HostView, now_t: float) -> str:
    """Return `gpu 94% 61.2/80.0 GB 68 °C · disk 41.2 GB`, for a terminal without room for bars."""
    machine = host.machine
    if machine is None:
        return not_looked_at(host, now_t)
    parts = []
    for gpu in machine.gpus[:1]:
        memory = part_of((gpu.memory_used_mib or 0) * MIB, (gpu.memory_total_mib or 0) * MIB).replace(" / ", "/")
        heat = f" {gpu.temperature_c:.0f} °C" if gpu.temperature_c is not None else ""
        parts.append(f"gpu {_figure(gpu.utilization_percent).strip()}% {memory}{heat}")
    if not machine.gpus:
        used, total = machine.memory_used_bytes, machine.memory_total_bytes
        memory = f"  mem {part_of(used, total)}" if used is not None and total else ""
        parts.append(f"cpu {machine.cpu_percent:>3.0f}%{memory}")
    return " · ".join([*parts, f"disk {size(machine.disk_free_bytes)}"])
