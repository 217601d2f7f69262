"""How an estimate is told: memory by part, disk, time, and what to change."""

from __future__ import annotations

import sys

from t2v_core.events.estimated import Estimated
from t2v_core.format import grouped, size, timing
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
    print(followed.as_json() if as_json else "\n".join(estimate_lines(followed.result_as(Estimated))))
    sys.stdout.flush()


def estimate_lines(result: Estimated) -> list[str]:
    """Return the estimate for people, within 80 columns except for paths and names."""
    model, data = result.model, result.data
    shape = " × ".join(str(side) for side in data.shape)
    head = [
        f"{model.preset}, {model.parameters / 1e6:.1f} M parameters, {model.arithmetic}",
        f"for {data.source}; latents {shape}",
    ]
    sections = [*_memory(result), *_disk(result), *_time(result)]
    advice = [f"to make it fit: {changes}" for changes in result.advice]
    return [*head, "", *sections, *(["", *advice] if advice else [])]


def _memory(result: Estimated) -> list[str]:
    memory, machine = result.memory, result.machine
    rows = [
        _row(label, _column(getattr(memory, name))) for name, label in MEMORY_PARTS.items() if getattr(memory, name)
    ]
    verdict = "fits" if result.fits.memory else "DOES NOT FIT"
    free = "free on" if machine.is_here else "on an empty"
    room = f"{size(machine.memory_bytes)} {free} {machine.name}"
    rows.append(_row("peak", f"{_column(memory.peak_bytes)}  {verdict}: {room}"))
    if memory.measured_bytes:
        rows.append(_row("measured", f"{_column(memory.measured_bytes)}  at the peak of the steps that were tried"))
    largest = result.largest_batch
    rows.append(_row("largest batch", f"{largest:>7}  that fits" if largest else "   none  fits, not even one clip"))
    return [f"memory of a step, batch {memory.batch_size}", *rows]


def _disk(result: Estimated) -> list[str]:
    disk = result.disk
    there = "there already" if result.data.is_preprocessed else "to come"
    verdict = "fits" if result.fits.disk else "DOES NOT FIT"
    kept = f"{disk.kept} of {size(disk.checkpoint)}: the kept ones and one being written"
    return [
        "disk",
        _row("latents", f"{_column(disk.latents)}  {there}"),
        _row("text embeddings", f"{_column(disk.text)}  {there}"),
        _row("checkpoints", f"{_column(disk.checkpoints)}  {kept if disk.kept > 1 else 'one'}"),
        _row("to come", f"{_column(disk.expected)}  {verdict}: {size(disk.free)} free here"),
    ]


def _time(result: Estimated) -> list[str]:
    time = result.time
    if time is None:
        return ["time", "  not known: let it measure three steps (--probe), or name a GPU (--gpu L4)"]
    about = "" if time.is_measured else "about "
    rate = time.clips / time.step_s
    return [
        f"time, from {time.source}",
        _row("a step", f"{about}{timing(time.step_s)} ({time.clips} clips, {rate:.3g} clips/s)"),
        _row("an epoch", f"{about}{timing(time.epoch_s)} ({grouped(time.steps_per_epoch)} steps)"),
        _row("in all", f"{about}{timing(time.total_s)} ({grouped(time.steps)} steps)"),
        _row("", "checkpoints and sample videos come on top"),
    ]


def _row(label: str, value: str) -> str:
    return f"  {label:<17}{value}".rstrip()


def _column(size_bytes: float) -> str:
    """Return ` 5.3 GB`, ` 749 MB`: right-aligned so that a column of them can be read."""
    return f"{size(size_bytes):>7}"
