"""`t2v generate`: a prompt becomes a video, and a .json beside it that makes it again."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from t2v_core.assemble import Warn, find_checkpoint, load_asked, sampler_name, suited
from t2v_core.checkpoints.checkpoints import Checkpoint
from t2v_core.checkpoints.old_names import ORIGIN
from t2v_core.data.video.beside import write_settings
from t2v_core.data.video.frames import Written
from t2v_core.data.video.showing import require_rate, words_on_rate
from t2v_core.data.video.sound import Sound
from t2v_core.diffusion.pipeline import Look, Progress, TextToVideoPipeline
from t2v_core.diffusion.sampling_preview import SamplingPreview
from t2v_core.errors import InvalidRequest
from t2v_core.events import ProgressEvent, SampleEvent
from t2v_core.events.results import VideoMade
from t2v_core.job import Job
from t2v_core.specs import GenerateSpec, SamplingSpec, all_values
from t2v_core.verbs.target import Target
from t2v_core.version import __version__
from t2v_core.workspace import Workspace


@dataclass(frozen=True)
class Frames:
    """What is to be written, made only as it is taken. each: (height, width, 3) uint8; size: (height, width)"""

    each: Iterable[NDArray[np.uint8]]
    count: int
    size: tuple[int, int]

    @classmethod
    def of(cls, frames: Tensor) -> Frames:
        """Take those that are there already: (frames, height, width, 3) uint8."""
        return cls(frames.numpy(), len(frames), (frames.shape[1], frames.shape[2]))


def generate(spec: GenerateSpec, job: Job) -> VideoMade:
    """Make one video and return where it lies.

    Raises InvalidRequest for a place that cannot be written, more frames than the model knows, or no checkpoint.
    """
    target = _target(spec, job.workspace).checked()
    checkpoint = find_checkpoint(spec, job)
    job.events.stage("load", f"{job.workspace.relative(checkpoint.path)}, {training_so_far(checkpoint)}")
    spec = suited(spec, checkpoint, job.events.warning)
    fps = require_rate(target.path, spec.fps or float(checkpoint.info["fps"]))
    pipeline = load_asked(checkpoint, spec, keep=job.keep)
    warn_if_truncated(pipeline, spec.prompt, job.events.warning)
    job.events.stage(
        "sample", f"{spec.steps} {pipeline.scheduler.name} steps, guidance {spec.guidance_scale:g}, seed {spec.seed}"
    )
    look = SamplingPreview(pipeline, job.directory) if spec.preview else None
    video = sample(pipeline, spec, progress=step_progress(job), look=look)
    return write_result(target, Frames.of(video), fps, spec, checkpoint, job)


def sample(
    pipeline: TextToVideoPipeline, spec: GenerateSpec, *, progress: Progress | None = None, look: Look | None = None
) -> Tensor:
    """Draw the frames of one video, (frames, height, width, 3) uint8. Raises InvalidRequest as `frame_count`."""
    return pipeline(
        spec.prompt,
        num_frames=frame_count(pipeline, spec.frames),
        num_inference_steps=spec.steps,
        guidance_scale=spec.guidance_scale,
        guidance_rescale=spec.guidance_rescale,
        seed=spec.seed,
        progress=progress,
        look=look,
    ).frames[0]


def training_so_far(checkpoint: Checkpoint) -> str:
    """Return `step 1200`, or `epoch 100 of the previous system`."""
    epoch = checkpoint.info.get("epoch")
    if checkpoint.info.get("origin") != ORIGIN or epoch is None:
        return f"step {checkpoint.step}" if checkpoint.step else f"of the {ORIGIN}"
    return f"epoch {epoch} of the {ORIGIN}"


def frame_count(pipeline: TextToVideoPipeline, asked: int | None) -> int:
    """Return what was asked for, else the model's own. Raises InvalidRequest beyond it."""
    most = pipeline.latent_shape[0]
    if asked is not None and asked > most:
        raise InvalidRequest(
            f"{asked} frames were asked for, and this model was trained on {most}", hint=f"use --frames {most} or fewer"
        )
    return asked or most


def warn_if_truncated(pipeline: TextToVideoPipeline, prompt: str, warn: Warn) -> None:
    """Say how much of a long prompt the encoder does not read."""
    encoder = pipeline.prompt_encoder
    count = encoder.count_tokens(prompt)
    if count > encoder.max_length:
        warn(
            f"the prompt has {count} tokens and the text encoder reads {encoder.max_length}: "
            f"the last {count - encoder.max_length} were left out",
            hint="put what matters first, or say it in fewer words",
        )


def step_progress(job: Job) -> Progress:
    """Report each denoising step, and end between two when asked to."""

    def report(done: int, total: int) -> None:
        job.events.emit(ProgressEvent(done, total, "steps"))  # each: a thousand at most
        job.check_stop()

    return report


def write_result(
    target: Target,
    frames: Frames,
    fps: float,
    spec: SamplingSpec,
    checkpoint: Checkpoint,
    job: Job,
    sound: Sound | None = None,
) -> VideoMade:
    """Write the video and its .json, report it as a sample, and return both paths."""
    job.events.stage("write", str(job.workspace.relative(target.path.parent if target.is_new else target.path)))
    if words := words_on_rate(target.path, frames.count, fps):
        job.events.warning(words)
    video, written, settings = save_video(target, frames, fps, spec, checkpoint, sound, job=job.directory.name)
    job.events.emit(SampleEvent(str(video), str(settings), getattr(spec, "prompt", "")))
    return VideoMade(video=str(video), settings=str(settings), frames=written.frames, fps=written.fps)


def save_video(
    target: Target,
    frames: Frames,
    fps: float,
    spec: SamplingSpec,
    checkpoint: Checkpoint,
    sound: Sound | None = None,
    *,
    job: str | None = None,
) -> tuple[Path, Written, Path]:
    """Write the video, and the .json beside it that makes it again; returns where it lies, what was written, the .json.

    job: that made it
    """
    video, written = target.write(frames.each, fps=fps, sound=sound)
    verb = {"GenerateSpec": "generate", "RefineSpec": "refine"}[type(spec).__name__]
    settings = write_settings(
        video,
        {
            "verb": verb,
            "spec": all_values(spec) | {"checkpoint": str(checkpoint.path), "sampler": sampler_name(spec, checkpoint)},
            "video": {
                "file": video.name,
                "frames": written.frames,
                "size": list(frames.size),
                "fps": written.fps,
            },
            "checkpoint": {
                "path": str(checkpoint.path),
                "step": checkpoint.step,
                "preset": checkpoint.info["spec"]["preset"],
            },
            "versions": checkpoint.info["versions"] | {"t2v": __version__},
            **({"job": job} if job else {}),
        },
    )
    return video, written, settings


def _target(spec: GenerateSpec, workspace: Workspace) -> Target:
    """The place asked for, else a new name in outputs/ after the prompt and the seed."""
    if spec.output is not None:
        return Target(workspace.resolve(spec.output))
    words = re.sub(r"[^a-z0-9]+", "-", spec.prompt.lower()).strip("-")[:60].rstrip("-") or "video"
    return Target(workspace.outputs / f"{words}-{spec.seed}.mp4", is_new=True)
