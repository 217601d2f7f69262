"""How an estimate is told: memory by part, disk, time, and what to change."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from t2v_core.events.estimated import Estimated
from t2v_core.events.open_estimated import Card, OpenEstimated, Way
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


def tell_estimate(followed: Followed, _workspace: Workspace, _teller: Narrator, *, as_json: bool) -> None:
    """Write lines, or everything as JSON, to stdout."""
    print(followed.as_json() if as_json else "\n".join(_lines(followed)))
    sys.stdout.flush()


def _lines(followed: Followed) -> list[str]:
    if followed.result is not None and "family" in followed.result.extra:
        return open_lines(followed.result_as(OpenEstimated))
    return estimate_lines(followed.result_as(Estimated))


def open_lines(result: OpenEstimated) -> list[str]:
    """Return the estimate of an open model's video for people."""
    shape = f"{result.frames} frames of {result.width}×{result.height}"
    of_whom = ", ".join(filter(None, (result.family, result.licence, result.arithmetic)))
    parts = [
        _labelled(part.name, f"{_column(part.weights_bytes)}  {part.parameters / 1e6:.1f} M parameters")
        for part in result.parts
    ]
    work = {
        "sampling": result.sampling_bytes, "decoding": result.decoding_bytes,
        **({"decoding in tiles": result.tiled_bytes} if result.ways[1:] else {}),
    }  # fmt: skip
    machine = result.machine
    room = f"{size(machine.memory_bytes)} {'free on' if machine.is_here else 'on an empty'} {machine.name}"
    return [
        f"{result.model}: {of_whom}",
        f"one video, {shape}",
        "",
        "weights",
        *parts,
        "at work, beside them",
        *(_labelled(name, _column(count)) for name, count in work.items()),
        "at the fullest moment",
        *(_labelled(flags_of(way) if result.ways[1:] else "", _column(way.peak_bytes)) for way in result.ways),
        "",
        f"{room}: {verdict_of(result.here, result.ways)}",
        *(f"a card of {size(card.memory_bytes)}: {verdict_of(card, result.ways)}" for card in result.cards),
    ]


def flags_of(way: Way) -> str:
    """Return `--offload model --vae-tiling yes --quantize int8`."""
    quantized = "" if way.quantize == "none" else f" --quantize {way.quantize}"
    return f"--offload {way.offload}" + (" --vae-tiling yes" if way.vae_tiling else "") + quantized


def verdict_of(card: Card, ways: Sequence[Way]) -> str:
    """Return whether a video can be made there, and how where there are several ways."""
    how = f" with {flags_of(card.way)}" if card.way is not None and ways[1:] else ""
    return "DOES NOT FIT" if card.way is None else f"fits{how}"


def estimate_lines(result: Estimated) -> list[str]:
    """Return the estimate for people, within 80 columns except for paths and names."""
    model, data = result.model, result.data
    shape = " × ".join(str(side) for side in data.shape)
    head = [
        f"{model.preset}, {model.parameters / 1e6:.1f} M parameters, {model.arithmetic}",
        f"for {data.source}; latents {shape}{', the largest' if data.shares else ''}",
    ]
    sections = [*_memory(result), *_disk(result), *_time(result)]
    advice = [f"to make it fit: {changes}" for changes in result.advice]
    return [*head, "", *sections, *(["", *advice] if advice else [])]


def _memory(result: Estimated) -> list[str]:
    memory, machine = result.memory, result.machine
    rows = [
        _labelled(label, _column(getattr(memory, name)))
        for name, label in MEMORY_PARTS.items()
        if getattr(memory, name)
    ]
    verdict = "fits" if result.fits.memory else "DOES NOT FIT"
    free = "free on" if machine.is_here else "on an empty"
    room = f"{size(machine.memory_bytes)} {free} {machine.name}"
    rows.append(_labelled("peak", f"{_column(memory.peak_bytes)}  {verdict}: {room}"))
    if memory.measured_bytes:
        rows.append(
            _labelled("measured", f"{_column(memory.measured_bytes)}  at the peak of the steps that were tried")
        )
    largest = result.largest_batch
    rows.append(
        _labelled("largest batch", f"{largest:>7}  that fits" if largest else "   none  fits, not even one clip")
    )
    return [f"memory of a step, batch {memory.batch_size}", *rows]


def _disk(result: Estimated) -> list[str]:
    disk = result.disk
    there = "there already" if result.data.is_preprocessed else "to come"
    verdict = "fits" if result.fits.disk else "DOES NOT FIT"
    kept = f"{disk.kept} of {size(disk.checkpoint)}: the kept ones and one being written"
    return [
        "disk",
        _labelled("latents", f"{_column(disk.latents)}  {there}"),
        _labelled("text embeddings", f"{_column(disk.text)}  {there}"),
        _labelled("checkpoints", f"{_column(disk.checkpoints)}  {kept if disk.kept > 1 else 'one'}"),
        _labelled("to come", f"{_column(disk.expected)}  {verdict}: {size(disk.free)} free here"),
    ]


def _time(result: Estimated) -> list[str]:
    time = result.time
    if time is None:
        return ["time", "  not known: let it measure three steps (--probe), or name a GPU (--gpu L4)"]
    about = "" if time.is_measured else "about "
    rate = time.clips / time.step_s
    return [
        f"time, from {time.source}",
        _labelled("a step", f"{about}{timing(time.step_s)} ({time.clips} clips, {rate:.3g} clips/s)"),
        _labelled("an epoch", f"{about}{timing(time.epoch_s)} ({grouped(time.steps_per_epoch)} steps)"),
        _labelled("in all", f"{about}{timing(time.total_s)} ({grouped(time.steps)} steps)"),
        _labelled("", "checkpoints and sample videos come on top"),
    ]


def _labelled(label: str, value: str) -> str:
    return f"  {label:<17} {value}".rstrip() if len(label) > 17 else f"  {label:<17}{value}".rstrip()


def _column(size_bytes: float) -> str:
    """Return ` 5.3 GB`, ` 749 MB`: right-aligned so that a column of them can be read."""
    return f"{size(size_bytes):>7}"
