"""Videos made while training, to look at: held-out captions, the same noise at every checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from t2v_core.assemble import load_pipeline
from t2v_core.checkpoints import Checkpoint
from t2v_core.data.frames import write_video
from t2v_core.files import write_json
from t2v_core.job import Job
from t2v_core.training.run import TrainingRun

STEPS, GUIDANCE = 20, 2.0


def write_samples(run: TrainingRun, checkpoint: Checkpoint, job: Job, *, check_stop: Callable[[], None]) -> None:
    """Write `spec.samples` videos to outputs/samples/CHECKPOINT/ from the averaged weights just saved.

    The checkpoint is read back on the CPU first and the pipeline goes away afterwards, so that training's own memory
    never holds both for longer than the samples take.
    """
    rows = (run.held_out or list(run.plan.clips))[: run.spec.samples]
    prompts = [run.store.texts(row)[0] for row in rows]
    pipeline = load_pipeline(checkpoint, device=run.spec.device, precision=run.spec.precision)
    for number, prompt in enumerate(prompts):
        check_stop()
        output = pipeline(
            prompt, num_inference_steps=STEPS, guidance_scale=GUIDANCE, seed=run.spec.seed + number,
            progress=lambda _done, _total: check_stop(),
        )  # fmt: skip
        path = job.workspace.outputs / "samples" / checkpoint.path.name / f"{number}.mp4"
        write_video(path, output.frames[0].numpy(), fps=run.fps)
        write_json(path.with_suffix(".json"), settings_of(path, prompt, run, checkpoint, output.frames[0], number))
        job.events.emit("sample", video=job.workspace.relative(path), prompt=prompt, step=checkpoint.step)


def settings_of(
    path: Path, prompt: str, run: TrainingRun, checkpoint: Checkpoint, frames: Tensor, number: int
) -> dict[str, Any]:
    """What stands beside a sample, in the words of `t2v generate`, which makes it again from the same checkpoint.

    frames: (frames, height, width, 3)
    """
    spec = {
        "prompt": prompt, "seed": run.spec.seed + number, "steps": STEPS, "guidance_scale": GUIDANCE,
        "checkpoint": str(checkpoint.path),
    }  # fmt: skip
    video = {"file": path.name, "frames": len(frames), "size": list(frames.shape[1:3]), "fps": run.fps}
    made_by = {"path": str(checkpoint.path), "step": checkpoint.step, "preset": run.spec.preset}
    return {"verb": "generate", "spec": spec, "video": video, "checkpoint": made_by}
