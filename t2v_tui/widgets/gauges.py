"""How a machine is doing, as bars with absolute numbers beside them: GPUs, or the processor where there is none."""

from __future__ import annotations

from dataclasses import dataclass

from textual.content import Content
from textual.widget import Widget

from remote.metrics import GpuSample, MachineSample
from t2v_tui.words import ago, gb

FULL, EMPTY = "█", "░"
FULL_LETTER, EMPTY_LETTER = "#", "."
NAME_CELLS, VALUE_CELLS = 5, 16
MIB = 2**20
STALE_S = 10.0


@dataclass(frozen=True)
class Gauge:
    """share: 0 … 1; None when nothing is known, which is no zero"""

    name: str
    share: float | None
    value: str


def gauges_of(sample: MachineSample) -> list[Gauge]:
    """Four lines for one GPU, one a GPU for several, processor and memory for none."""
    if len(sample.gpus) == 1:
        return _one_gpu(sample.gpus[0])
    if sample.gpus:
        return [_short(gpu) for gpu in sample.gpus]
    used = sample.memory_total_bytes - sample.memory_available_bytes
    return [
        Gauge("cpu", sample.cpu_percent / 100, f"{sample.cpu_percent:.0f} %"),
        Gauge("mem", _share(used, sample.memory_total_bytes), _of(used / 1e9, sample.memory_total_bytes / 1e9, "GB")),
    ]


def _one_gpu(gpu: GpuSample) -> list[Gauge]:
    used, total = (None if mib is None else mib * MIB / 1e9 for mib in (gpu.memory_used_mib, gpu.memory_total_mib))
    return [
        Gauge("util", _share(gpu.utilization_percent, 100), _number(gpu.utilization_percent, "%")),
        Gauge("mem", _share(used, total), _of(used, total, "GB")),
        Gauge("power", _share(gpu.power_w, gpu.power_limit_w), _of(gpu.power_w, gpu.power_limit_w, "W")),
        Gauge("temp", _share(gpu.temperature_c, 100), _number(gpu.temperature_c, "°C")),
    ]


def _short(gpu: GpuSample) -> Gauge:
    used = None if gpu.memory_used_mib is None else gpu.memory_used_mib * MIB / 1e9
    value = f"{_number(gpu.utilization_percent, '%')} {_number(used, 'GB')}"
    return Gauge(f"gpu{gpu.index}", _share(gpu.utilization_percent, 100), value)


def _share(part: float | None, whole: float | None) -> float | None:
    return None if part is None or not whole else max(0.0, min(1.0, part / whole))


def _number(value: float | None, unit: str) -> str:
    if value is None:
        return f"— {unit}"
    return f"{value:.1f} {unit}" if unit == "GB" and value < 100 else f"{value:.0f} {unit}"


def _of(part: float | None, whole: float | None, unit: str) -> str:
    if part is None or whole is None:
        return _number(part, unit)
    return f"{_number(part, unit).partition(' ')[0]} / {_number(whole, unit)}"


def bar(share: float | None, cells: int, *, letters: bool = False) -> str:
    """`███████░░░`"""
    full, empty = (FULL_LETTER, EMPTY_LETTER) if letters else (FULL, EMPTY)
    filled = round((share or 0.0) * cells)
    return full * filled + empty * (cells - filled)


def drawn(gauge: Gauge, width: int, *, letters: bool = False) -> Content:
    """One gauge in `width` cells: name, bar, value flush right."""
    cells = max(0, width - NAME_CELLS - VALUE_CELLS)
    style = "$text-muted" if gauge.share is None else "$accent"
    return Content.assemble(
        (f"{gauge.name:<{NAME_CELLS}}", "$text-muted"),
        (bar(gauge.share, cells, letters=letters), style),
        (f"{gauge.value:>{VALUE_CELLS}}"[-VALUE_CELLS:], "$foreground"),
    )


class Gauges(Widget):
    """Draws the newest sample; says how old it is when that is longer than it should be."""

    DEFAULT_CSS = "Gauges { width: 1fr; height: auto; min-height: 2; }"

    def __init__(self, *, letters: bool = False, id: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self.letters = letters
        self.sample: MachineSample | None = None
        self._lines: tuple[Gauge, ...] = ()
        self._note = ""

    def show(self, sample: MachineSample | None, age_s: float | None = None) -> None:
        """age_s: since the sample came"""
        lines = tuple(gauges_of(sample)) if sample is not None else ()
        note = self._note_of(sample, age_s)
        if (lines, note) == (self._lines, self._note):
            return
        needs_room = (len(lines), bool(note)) != (len(self._lines), bool(self._note))
        self.sample, self._lines, self._note = sample, lines, note
        self.refresh(layout=needs_room)

    def _note_of(self, sample: MachineSample | None, age_s: float | None) -> str:
        if sample is None:
            return "Nothing was heard of the machine yet."
        age = f" · {ago(age_s)} ago" if age_s is not None and age_s > STALE_S else ""
        name = next((gpu.name for gpu in sample.gpus if gpu.name), None)
        what = f"{name}" if name else "no GPU here"
        return f"{what} · {gb(sample.disk_free_bytes)} of disk free{age}"

    def render(self) -> Content:
        width = self.content_size.width
        lines = [drawn(gauge, width, letters=self.letters) for gauge in self._lines]
        return Content("\n").join([*lines, Content.styled(self._note, "$text-muted")])
