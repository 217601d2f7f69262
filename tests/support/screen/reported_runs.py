"""Trainings with all that a report shows, whose names and prompts would do harm where they were not escaped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from support.engine.ended_jobs import add_ended, of_training
from support.engine.results_world import moving_square
from t2v_core.data.video.frames import write_video
from t2v_core.disk.files import write_json
from t2v_core.workspace import Workspace
from t2v_tui.library.runs.labels import Label, keep_label
from t2v_tui.store.state import JobKey

T = 1_790_000_000.0
HOSTILE = '<script>window.hacked = 1</script><img src=x onerror="window.hacked = 1">\' " & ]]>'
PROMPTS = ("a red square moving right", HOSTILE)


def add_run(root: Path, number: int, name: str, *, steps: tuple[int, ...] = (100, 200, 300), **spec: Any) -> str:
    """A training with samples at some steps, a checkpoint, an evaluation of it and a warning."""
    own = f"checkpoints/{number:04x}"
    events: list[dict[str, Any]] = of_training(300)[:-1]
    for step in steps:
        for place, prompt in enumerate(PROMPTS):
            video = f"outputs/samples/{own}/checkpoint_step_{step}/{place}.mp4"
            events.append({"kind": "sample", "video": video, "prompt": prompt, "step": step})
    events += [
        {"kind": "checkpoint", "path": f"{own}/checkpoint_step_300", "step": 300},
        {"kind": "warning", "message": f"look: {HOSTILE}", "hint": "mend it"},
        {"kind": "stage", "name": "estimate", "detail": "", "machine": {"device": "A100", "memory_bytes": 85 * 10**9}},
        {"kind": "done", "seconds": 60.0},
    ]
    job = add_ended(root, "train", T + number, events, number=number, **{"preset": "tiny", "checkpoints": own, **spec})
    keep_label(Workspace(root), JobKey("local", job), Label(name))
    for event in events:
        if event["kind"] == "sample":
            add_sample(root / event["video"], job)
    scores = {
        "clip_generated": {"value": 0.26, "model": "embedded", "prefix": HOSTILE},
        "clip_real_ceiling": {"value": 0.31}, "clip_shuffled_floor": {"value": 0.21},
        "fvd": {"value": 91.5, "interval_95": [80.25, 99.5], "real_floor": 12.5, "videos": 40,
                "blindness": {"blind_to": ["shuffled"], "is_blind_to_time": True}},
    }  # fmt: skip
    write_json(
        root / f"outputs/scores/{job}.json", {"checkpoint": f"{root}/{own}/checkpoint_step_300", "scores": scores}
    )
    return job


def add_sample(path: Path, job: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, moving_square(frames=4, size=32), fps=8.0)
    write_json(path.with_suffix(".json"), {"video": {"file": path.name}, "job": job})
