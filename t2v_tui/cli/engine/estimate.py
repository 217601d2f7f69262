"""How an estimate is told: memory by part, disk, time, and what to change."""

from __future__ import annotations

import sys

from t2v_core.events.estimated import Estimated
from t2v_core.workspace import Workspace
from t2v_tui.cli.engine.run import Followed
from t2v_tui.cli.narrate import Narrator

MEMORY_PARTS = {
    "weights_bytes": "weights",
    "gradients_bytes": "gradients",
    "adam_bytes": "Adam's moments",
    "ema_bytes": "averaged weights",
    "activations_bytes": "activations",
    "latents_bytes": "latents, held",
    "framework_bytes": "framework",
    "allocator_bytes": "allocator",
}


def tell_estimate(followed: Followed, workspace: Workspace, teller: Narrator, *, as_json: bool) -> None:  # noqa: ARG001
    """Write lines, or everything as JSON, to stdout."""
    print(followed.as_json() if as_json else "\n".join(lines_of(followed.result_as(Estimated))))
    sys.stdout.flush()


def lines_of(result: Estimated) -> list[str]:
    """Return the estimate for people, within 80 columns except for paths and names."""
    model, data = result.model, result.data
    shape = " × ".join(str(size) for size in data.shape)
    head = [
        f"{model.preset}, {model.parameters / 1e6:.1f} M parameters, {model.arithmetic}",
        f"for {data.source}; latents {shape}",
    ]
    sections = [*_memory(result), *_disk(result), *_time(result)]
    advice = [f"to make it fit: {changes}" for changes in result.advice]
    return [*head, "", *sections, *(["", *advice] if advice else [])]


def _memory(result: Estimated) -> list[str]:
    memory, machine = result.memory, result.machine
    rows = [_row(label, amount(getattr(memory, name))) for name, label in MEMORY_PARTS.items() if getattr(memory, name)]
    verdict = "fits" if result.fits.memory else "DOES NOT FIT"
    free = "free on" if machine.is_here else "on an empty"
    room = f"{amount(machine.memory_bytes).strip()} {free} {machine.name}"
    rows.append(_row("peak", f"{amount(memory.peak_bytes)}  {verdict}: {room}"))
    if memory.measured_bytes:
        rows.append(_row("measured", f"{amount(memory.measured_bytes)}  at the peak of the steps that were tried"))
    largest = result.largest_batch
    rows.append(
        _row("largest batch", f"{largest:>6}     that fits" if largest else "  none     fits, not even one clip")
    )
    return [f"memory of a step, batch {memory.batch_size}", *rows]


def _disk(result: Estimated) -> list[str]:
    disk = result.disk
    there = "there already" if result.data.is_preprocessed else "to come"
    verdict = "fits" if result.fits.disk else "DOES NOT FIT"
    kept = f"{disk.kept} of {amount(disk.checkpoint).strip()}: the kept ones and one being written"
    return [
        "disk",
        _row("latents", f"{amount(disk.latents)}  {there}"),
        _row("text embeddings", f"{amount(disk.text)}  {there}"),
        _row("checkpoints", f"{amount(disk.checkpoints)}  {kept if disk.kept > 1 else 'one'}"),
        _row("to come", f"{amount(disk.expected)}  {verdict}: {amount(disk.free).strip()} free here"),
    ]


def _time(result: Estimated) -> list[str]:
    time = result.time
    if time is None:
        return ["time", "  not known: let it try three steps (--probe), or name a GPU (--gpu L4)"]
    about = "" if time.is_measured else "about "
    rate = time.clips / time.step_s
    return [
        f"time, from {time.source}",
        _row("a step", f"{about}{span(time.step_s)} ({time.clips} clips, {rate:.3g} clips/s)"),
        _row("an epoch", f"{about}{span(time.epoch_s)} ({time.steps_per_epoch:,} steps)"),
        _row("in all", f"{about}{span(time.total_s)} ({time.steps:,} steps)"),
        _row("", "checkpoints and sample videos come on top"),
    ]


def _row(label: str, value: str) -> str:
    return f"  {label:<17}{value}".rstrip()


def amount(size_bytes: float) -> str:
    """Return `  5.31 GB`, `   749 MB`: right-aligned so that a column of them can be read."""
    if size_bytes < 1e9:
        return f"{size_bytes / 1e6:6.{1 if size_bytes < 1e7 else 0}f} MB"
    return f"{size_bytes / 1e9:6.2f} GB" if size_bytes < 1e11 else f"{size_bytes / 1e9:6,.0f} GB"


def span(seconds: float) -> str:
    """Return a time to plan with: `0.61 s`, `48 s`, `11.6 minutes`, `19.3 hours`, `4.2 days`."""
    for limit, unit, divisor in ((1, "s", 1), (120, "s", 1), (7200, "minutes", 60), (172_800, "hours", 3600)):
        if seconds < limit:
            return f"{seconds:.2f} s" if limit == 1 else f"{seconds / divisor:.3g} {unit}"
    return f"{seconds / 86_400:.3g} days"
