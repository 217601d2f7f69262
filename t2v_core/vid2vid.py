"""`t2v add-noise` and `t2v refine`: video in, video out."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from t2v_core.assemble import find_checkpoint, load_pipeline
from t2v_core.data.decode import DecodedClip, UnreadableClip, read_all_frames
from t2v_core.data.frames import require_video_target, write_video
from t2v_core.data.resize import resize_and_crop
from t2v_core.errors import AskedWrongly
from t2v_core.generate import step_progress, warn_if_truncated, write_result
from t2v_core.job import Job
from t2v_core.pipeline import TextToVideoPipeline
from t2v_core.sampling_preview import SamplingPreview
from t2v_core.specs import AddNoiseSpec, RefineSpec


def add_noise(spec: AddNoiseSpec, job: Job) -> dict[str, Any]:
    """Mix Gaussian noise into the pixels of a video; size, length and rate stay.

    Raises AskedWrongly when the input cannot be read or the output cannot be written.
    """
    target = require_video_target(job.workspace.resolve(spec.output))
    clip = read_input(job.workspace.resolve(spec.input), job)
    write_video(target, _noised_frames(clip.frames, spec, job), fps=clip.source_fps)
    job.events.emit("sample", video=target, prompt="")
    return {"video": target, "frames": len(clip.frames), "fps": clip.source_fps, "strength": spec.strength}


def _noised_frames(frames: NDArray[np.uint8], spec: AddNoiseSpec, job: Job) -> Iterator[NDArray[np.uint8]]:
    """One by one, as the writer takes them: encoding noise is what takes the time."""
    rng = np.random.default_rng(spec.seed)
    job.events.stage("noise", f"strength {spec.strength:g}, seed {spec.seed}")
    for index, frame in enumerate(frames):
        job.check_stop()
        yield noised(frame, spec.strength, rng)
        job.events.progress(index + 1, len(frames), "frames")


def noised(frame: NDArray[np.uint8], strength: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """√(1 − strength²) · pixels + strength · noise, with pixels in −1 … 1 and unit Gaussian noise, cut off at the ends.

    frame: (height, width, 3) uint8; returns the same
    Source: Ho et al. 2020, eq. 4, which keeps the contrast of a little-noised picture; a straight mix
    (1 − strength) · pixels dims it by 30 % at 0.3, which no refinement can know to undo.
    """
    pixels = frame.astype(np.float32) / 127.5 - 1
    mixed = math.sqrt(1 - strength**2) * pixels + strength * rng.standard_normal(frame.shape, np.float32)
    return np.round((mixed.clip(-1, 1) + 1) * 127.5).astype(np.uint8)


def refine(spec: RefineSpec, job: Job) -> dict[str, Any]:
    """Noise a video to `strength` in latent space and denoise it towards the prompt.

    Raises AskedWrongly when the input cannot be read, the output cannot be written, or no step is left.
    """
    target = require_video_target(job.workspace.resolve(spec.output))
    clip = read_input(job.workspace.resolve(spec.input), job)
    checkpoint = find_checkpoint(spec, job)
    pipeline = load_pipeline(
        checkpoint, device=spec.device, precision=spec.precision, weights=spec.weights, sampler=spec.sampler
    )
    warn_if_truncated(pipeline, spec.prompt, job)
    job.events.stage("refine", describe_strength(pipeline, spec))
    output = pipeline.refine(
        fit_to_model(clip, pipeline, job),
        spec.prompt,
        strength=spec.strength,
        num_inference_steps=spec.steps,
        guidance_scale=spec.guidance_scale,
        guidance_rescale=spec.guidance_rescale,
        seed=spec.seed,
        overlap=spec.overlap,
        progress=step_progress(job),
        look=SamplingPreview(pipeline, job.directory) if spec.preview else None,
    )
    return write_result(target, output.frames[0], clip.source_fps, spec, checkpoint, job)


def describe_strength(pipeline: TextToVideoPipeline, spec: RefineSpec) -> str:
    """`strength 0.3 → 15 of 50 steps from t=299`"""
    sampler = pipeline.scheduler
    sampler.set_timesteps(spec.steps)
    first = sampler.skip_to(spec.strength)
    timestep = round(float(sampler.timesteps[first]))
    return f"strength {spec.strength:g} → {spec.steps - first} of {spec.steps} steps from t={timestep}"


def fit_to_model(clip: DecodedClip, pipeline: TextToVideoPipeline, job: Job) -> torch.Tensor:
    """The clip at the model's own size, (frames, size, size, 3) uint8, with a word when that changes it."""
    size = pipeline.latent_shape[-1] * pipeline.autoencoder.downsampling
    height, width = clip.frames.shape[1:3]
    if (height, width) != (size, size):
        job.events.warning(f"the video is {width}×{height}; its middle goes through the model at {size}×{size}")
    return resize_and_crop(torch.from_numpy(clip.frames), size)


def read_input(path: Path, job: Job) -> DecodedClip:
    """Every frame of an input video. Raises AskedWrongly when it cannot be read whole."""
    job.events.stage("read", str(path))
    try:
        return read_all_frames(path)
    except UnreadableClip as error:
        raise AskedWrongly(f"{path} cannot be read: {error.detail}", hint="name a video file that plays") from error
