"""A workspace with results in it, as training and sampling leave them, in real but small files; and a state of it."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from remote.replies.job_row import JobRow
from t2v_core.data.video.frames import write_video
from t2v_core.disk.files import seal, write_json
from t2v_core.workspace import Workspace
from t2v_tui.store.state import HostKind, HostView, JobKey, JobView, LinkView, Reach, State

# The clock of every snapshot.
NOW = 1_764_000_000.0


def add_checkpoint(
    root: Path, epoch: int, *, loss: float | None = None, is_whole: bool = True, size: int = 60_000
) -> Path:
    """A folder as training writes it; its tensors are zeros."""
    folder = root / "checkpoints" / f"checkpoint_epoch_{epoch}"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(bytes(size))
    (folder / "ema.safetensors").write_bytes(bytes(size))
    trainer = {"step": epoch * 540, "epoch": epoch, "held_out_loss": loss, "spec": {"preset": "tiny"}}
    (folder / "trainer.json").write_text(json.dumps(trainer))
    if is_whole:
        seal(folder, {})
    for path in (*folder.iterdir(), folder):
        os.utime(path, (NOW - 1000 + epoch, NOW - 1000 + epoch))
    return folder


def moving_square(*, frames: int = 8, size: int = 64, colour: tuple[int, int, int] = (230, 40, 40)) -> Any:
    """(frames, size, size, 3) uint8: a square that goes to the right."""
    video = np.full((frames, size, size, 3), 30, np.uint8)
    for number in range(frames):
        left = 4 + number * (size - 28) // frames
        video[number, size // 3 : 2 * size // 3, left : left + 20] = colour
    return video


def add_video(
    root: Path, path: str, prompt: str, *, seed: int = 0, epoch: int = 20, age_s: float = 0, **spec: Any
) -> Path:
    """A video with the .json beside it that sampling writes."""
    file = root / "outputs" / path
    file.parent.mkdir(parents=True, exist_ok=True)
    colour = (230, 40, 40) if "red" in prompt else (40, 90, 230)
    write_video(file, moving_square(colour=colour), fps=8.0)
    checkpoint = f"checkpoints/checkpoint_epoch_{epoch}"
    settings = {"prompt": prompt, "seed": seed, "steps": 20, "guidance_scale": 2.0, "checkpoint": checkpoint, **spec}
    write_json(
        file.with_suffix(".json"),
        {
            "verb": "refine" if "strength" in spec else "generate",
            "spec": settings,
            "video": {"file": file.name, "frames": 8, "size": [64, 64], "fps": 8.0},
            "checkpoint": {"path": checkpoint, "step": epoch * 540, "preset": "tiny"},
        },
    )
    os.utime(file, (NOW - age_s, NOW - age_s))
    return file


def results(root: Path) -> Workspace:
    """Four checkpoints, one torn, with samples, scores and videos."""
    workspace = Workspace(root)
    for epoch, loss in ((5, 0.4211), (10, 0.2034), (15, 0.1187)):
        add_checkpoint(root, epoch, loss=loss)
    add_checkpoint(root, 20, is_whole=False)
    add_video(root, "samples/checkpoint_epoch_15/0.mp4", "a red square moving right", epoch=15, age_s=900)
    add_video(root, "samples/checkpoint_epoch_15/1.mp4", "a blue circle growing", epoch=15, seed=1, age_s=890)
    add_video(root, "a-red-square-moving-right-7.mp4", "a red square moving right", epoch=15, seed=7, age_s=300)
    add_video(root, "a-blue-circle-growing-3.mp4", "a blue circle growing", epoch=10, seed=3, age_s=200)
    add_video(root, "refined.mp4", "a red square, sharper", epoch=15, seed=2, age_s=100, strength=0.3, input="in.mp4")
    scores = {"all_obeyed_seen": {"value": 0.9312}, "clip_generated": {"value": 0.2710}}
    write_json(
        workspace.outputs / "scores" / "checkpoint_epoch_15-job.json",
        {"checkpoint": str(root / "checkpoints/checkpoint_epoch_15"), "step": 8100, "scores": scores},
    )
    return workspace


def state_of(workspace: Workspace, *, reach: Reach = Reach.UP, host: str = "vm") -> State:
    """This machine and one host, chosen."""
    here = HostView("local", HostKind.LOCAL, "this machine", link=LinkView(Reach.UP, NOW, NOW, 0.001))
    there = HostView("vm", HostKind.SSH, "198.51.100.7", "~/text2video", LinkView(reach, NOW - 4, NOW - 4, 0.034))
    return State(workspace.root, {"local": here, "vm": there}, host=host)


def with_job(
    state: State, verb: str, job_state: str = "running", *, host: str = "local", **row: Any
) -> tuple[State, JobKey]:
    """A job more."""
    key = JobKey(host, f"20251124-16{len(state.jobs):02}00-{verb}-3f2a")
    made = JobRow(key.job, verb, job_state, started_t=NOW - 40, queued_t=NOW - 42, **row)
    return replace(state, jobs={**state.jobs, key: JobView(key, made, NOW)}), key
