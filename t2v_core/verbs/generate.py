"""`t2v generate`: a prompt becomes a video, and a .json beside it that makes it again."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from t2v_core.assemble import Warn
from t2v_core.data.video.beside import write_settings
from t2v_core.data.video.frames import Written
from t2v_core.data.video.showing import require_rate, words_on_rate
from t2v_core.data.video.sound import Sound
from t2v_core.diffusion.denoising import Denoising, Look, Progress
from t2v_core.diffusion.guidance import Guidance
from t2v_core.diffusion.sampling_preview import SamplingPreview
from t2v_core.events import ProgressEvent, SampleEvent
from t2v_core.events.results import VideoMade
from t2v_core.job import Job
from t2v_core.specs import GenerateSpec
from t2v_core.verbs.sources.find_source import find_source
from t2v_core.verbs.sources.model_source import as_written
from t2v_core.verbs.target import Target
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

    Raises InvalidRequest for a place that cannot be written, more frames than the model knows, or no model.
    """
    target = _target(spec, job.workspace).checked()
    source = find_source(spec, job)
    job.events.stage("load", source.words)
    spec = source.suited(spec, job.events.warning)
    fps = require_rate(target.path, spec.fps or source.fps)
    pipeline = source.load(spec, job.keep, job.events.warning)
    warn_if_truncated(pipeline, spec.prompt, job.events.warning)
    job.events.stage(
        "sample", f"{spec.steps} {pipeline.scheduler.name} steps, guidance {spec.guidance_scale:g}, seed {spec.seed}"
    )
    look = SamplingPreview(pipeline, job.directory) if spec.preview else None
    video = sample(pipeline, spec, progress=step_progress(job), look=look)
    return write_result(target, Frames.of(video), fps, spec.prompt, source.record(spec), job)


def sample(
    pipeline: Denoising, spec: GenerateSpec, *, progress: Progress | None = None, look: Look | None = None
) -> Tensor:
    """Draw the frames of one video, (frames, height, width, 3) uint8.

    Raises InvalidRequest for more frames than the model knows.
    """
    latents = pipeline.draw(
        [spec.prompt],
        frames=pipeline.frames_of_latents(spec.frames),
        steps=spec.steps,
        guidance=Guidance(spec.guidance_scale, spec.guidance_rescale),
        seed=spec.seed,
        progress=progress,
        look=look,
    )[0]
    with torch.no_grad():
        return torch.cat(list(pipeline.decode_parts(latents)))


def warn_if_truncated(pipeline: Denoising, prompt: str, warn: Warn) -> None:
    """Say how much of a long prompt the encoder does not read."""
    count, most = pipeline.tokens_read(prompt)
    if count > most:
        warn(
            f"the prompt has {count} tokens and the text encoder reads {most}: the last {count - most} were left out",
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
    prompt: str,
    record: Mapping[str, Any],
    job: Job,
    sound: Sound | None = None,
) -> VideoMade:
    """Write the video and its .json, report it as a sample, and return both paths. record: of `ModelSource`"""
    job.events.stage("write", str(job.workspace.relative(target.path.parent if target.is_new else target.path)))
    if words := words_on_rate(target.path, frames.count, fps):
        job.events.warning(words)
    video, written, settings = save_video(target, frames, fps, record, sound, job=job.directory.name)
    job.events.emit(SampleEvent(str(video), str(settings), prompt))
    return VideoMade(video=str(video), settings=str(settings), frames=written.frames, fps=written.fps)


def save_video(
    target: Target,
    frames: Frames,
    fps: float,
    record: Mapping[str, Any],
    sound: Sound | None = None,
    *,
    job: str | None = None,
) -> tuple[Path, Written, Path]:
    """Write the video, and the .json beside it that makes it again; returns where it lies, what was written, the .json.

    record: of `ModelSource`; job: that made it
    """
    video, written = target.write(frames.each, fps=fps, sound=sound)
    about = {
        "video": {"file": video.name, "frames": written.frames, "size": list(frames.size), "fps": written.fps},
    }
    settings = write_settings(video, {**as_written(record, about), **({"job": job} if job else {})})
    return video, written, settings


def _target(spec: GenerateSpec, workspace: Workspace) -> Target:
    """The place asked for, else a new name in outputs/ after the prompt and the seed."""
    if spec.output is not None:
        return Target(workspace.resolve(spec.output))
    return Target(workspace.outputs / f"{name_of(spec.prompt)}-{spec.seed}.mp4", is_new=True)


def name_of(prompt: str) -> str:
    """Return a file's name after a prompt: its letters and digits in lower case, 60 at most."""
    return re.sub(r"[^a-z0-9]+", "-", prompt.lower()).strip("-")[:60].rstrip("-") or "video"
