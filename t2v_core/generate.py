"""`t2v generate`: a prompt becomes a video, and a .json beside it that makes it again."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from torch import Tensor

from t2v_core import __version__
from t2v_core.assemble import find_checkpoint, load_pipeline, sampler_name
from t2v_core.checkpoints import Checkpoint
from t2v_core.data.frames import require_video_target, write_video
from t2v_core.errors import AskedWrongly
from t2v_core.files import write_json
from t2v_core.job import Job
from t2v_core.pipeline import Progress, TextToVideoPipeline
from t2v_core.sampling_preview import SamplingPreview
from t2v_core.specs import GenerateSpec, SamplingSpec, all_values
from t2v_core.workspace import Workspace


def generate(spec: GenerateSpec, job: Job) -> dict[str, Any]:
    """Make one video and return where it lies.

    Raises AskedWrongly for a place that cannot be written, more frames than the model knows, or no checkpoint.
    """
    target = require_video_target(_target(spec, job.workspace))
    checkpoint = find_checkpoint(spec, job)
    job.events.stage("load", f"{job.workspace.relative(checkpoint.path)}, step {checkpoint.step}")
    pipeline = load_pipeline(
        checkpoint, device=spec.device, precision=spec.precision, weights=spec.weights, sampler=spec.sampler
    )
    frames = frame_count(pipeline, spec.frames)
    warn_if_truncated(pipeline, spec.prompt, job)
    job.events.stage(
        "sample", f"{spec.steps} {pipeline.scheduler.name} steps, guidance {spec.guidance_scale:g}, seed {spec.seed}"
    )
    output = pipeline(
        spec.prompt,
        num_frames=frames,
        num_inference_steps=spec.steps,
        guidance_scale=spec.guidance_scale,
        guidance_rescale=spec.guidance_rescale,
        seed=spec.seed,
        progress=step_progress(job),
        look=SamplingPreview(pipeline, job.directory) if spec.preview else None,
    )
    fps = spec.fps or float(checkpoint.info["fps"])
    return write_result(target, output.frames[0], fps, spec, checkpoint, job)


def frame_count(pipeline: TextToVideoPipeline, asked: int | None) -> int:
    """What was asked for, else the model's own. Raises AskedWrongly beyond it."""
    most = pipeline.latent_shape[0]
    if asked is not None and asked > most:
        raise AskedWrongly(
            f"{asked} frames were asked for, and this model was trained on {most}", hint=f"use --frames {most} or fewer"
        )
    return asked or most


def warn_if_truncated(pipeline: TextToVideoPipeline, prompt: str, job: Job) -> None:
    """Say how much of a long prompt the encoder does not read."""
    encoder = pipeline.prompt_encoder
    count = encoder.count_tokens(prompt)
    if count > encoder.max_length:
        job.events.warning(
            f"the prompt has {count} tokens and the text encoder reads {encoder.max_length}: "
            f"the last {count - encoder.max_length} were left out",
            hint="put what matters first, or say it in fewer words",
        )


def step_progress(job: Job) -> Progress:
    """Report each denoising step, and end between two when asked to."""

    def report(done: int, total: int) -> None:
        job.events.progress(done, total, "steps")
        job.check_stop()

    return report


def write_result(
    target: Path, frames: Tensor, fps: float, spec: SamplingSpec, checkpoint: Checkpoint, job: Job
) -> dict[str, Any]:
    """Write the video and its .json, report it as a sample, and return both paths.

    frames: (frames, height, width, 3) uint8
    """
    job.events.stage("write", str(job.workspace.relative(target)))
    write_video(target, frames.numpy(), fps=fps)
    settings = target.with_suffix(".json")
    verb = {"GenerateSpec": "generate", "RefineSpec": "refine"}[type(spec).__name__]
    write_json(
        settings,
        {
            "verb": verb,
            "spec": all_values(spec) | {"checkpoint": str(checkpoint.path), "sampler": sampler_name(spec, checkpoint)},
            "video": {"file": target.name, "frames": len(frames), "size": list(frames.shape[1:3]), "fps": fps},
            "checkpoint": {
                "path": str(checkpoint.path),
                "step": checkpoint.step,
                "preset": checkpoint.info["spec"]["preset"],
            },
            "versions": checkpoint.info["versions"] | {"t2v": __version__},
        },
    )
    job.events.emit("sample", video=target, prompt=getattr(spec, "prompt", ""))
    return {"video": target, "settings": settings, "frames": len(frames), "fps": fps}


def _target(spec: GenerateSpec, workspace: Workspace) -> Path:
    """The place asked for, else a new name in outputs/ after the prompt and the seed."""
    if spec.output is not None:
        return workspace.resolve(spec.output)
    words = re.sub(r"[^a-z0-9]+", "-", spec.prompt.lower()).strip("-")[:60].rstrip("-") or "video"
    stem = f"{words}-{spec.seed}"
    candidates = (workspace.outputs / f"{stem}{suffix}.mp4" for suffix in ("", *(f"-{n}" for n in range(2, 10_000))))
    return next(path for path in candidates if not path.exists())
