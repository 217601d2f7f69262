"""`t2v add-noise` and `t2v refine`: video in, video out."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from t2v_core.data.video.beside import write_settings
from t2v_core.data.video.decode import Film, UnreadableClip, open_film
from t2v_core.data.video.frames import require_memory
from t2v_core.data.video.orientation import shown_size
from t2v_core.data.video.resize import shrink_to
from t2v_core.data.video.showing import require_rate, words_on_rate
from t2v_core.data.video.sound import MOST_UNEVEN_S
from t2v_core.diffusion.denoising import Denoising
from t2v_core.diffusion.guidance import Guidance
from t2v_core.diffusion.pipeline import BATCH_FRAMES
from t2v_core.diffusion.sampling_preview import SamplingPreview
from t2v_core.diffusion.windows import windows_over
from t2v_core.errors import InvalidRequest
from t2v_core.events import SampleEvent, StageEvent
from t2v_core.events.results import VideoMade
from t2v_core.job import Job
from t2v_core.specs import AddNoiseSpec, RefineSpec, all_values
from t2v_core.verbs.generate import Frames, step_progress, warn_if_truncated, write_result
from t2v_core.verbs.refine_log import RefineLog, Seen
from t2v_core.verbs.sources.find_source import find_source
from t2v_core.verbs.sources.model_source import FilmSize
from t2v_core.verbs.sources.sound import sound_for
from t2v_core.verbs.target import Target
from t2v_core.version import __version__


def add_noise(spec: AddNoiseSpec, job: Job) -> VideoMade:
    """Mix Gaussian noise into the pixels of a video; size, length and rate stay.

    Raises InvalidRequest when the input cannot be read or the output cannot be written.
    """
    target = Target(job.workspace.resolve(spec.output), spec.keep_existing).checked()
    source = job.workspace.resolve(spec.input)
    film = read_input(source, job)
    fps = require_rate(target.path, film.source_fps)
    require_memory(target.path, film.total_frames, film.width, film.height)
    if words := words_on_rate(target.path, film.total_frames, fps):
        job.events.warning(words)
    sound = sound_for(target.path, source, film, job, is_wanted=spec.sound)
    noised_frames = _noised_frames(film, spec, job)
    path, written = target.write(noised_frames, fps=fps, pixel_aspect=film.pixel_aspect, sound=sound)
    video = {
        "file": path.name,
        "frames": written.frames,
        "size": [film.height, film.width],
        "fps": written.fps,
    }
    settings = write_settings(
        path,
        {
            "verb": "add-noise",
            "spec": all_values(spec),
            "video": video,
            "versions": {"t2v": __version__},
            "job": job.directory.name,
        },
    )
    job.events.emit(SampleEvent(str(path), str(settings)))
    return VideoMade(
        video=str(path), settings=str(settings), frames=written.frames, fps=written.fps, strength=spec.strength
    )


def _noised_frames(film: Film, spec: AddNoiseSpec, job: Job) -> Iterator[NDArray[np.uint8]]:
    """One by one, read as the writer takes them: encoding noise is what takes the time."""
    rng = np.random.default_rng(spec.seed)
    job.events.stage("noise", f"strength {spec.strength:g}, seed {spec.seed}")
    for index, frame in enumerate(_frames(film)):
        job.check_stop()
        yield noised(frame, spec.strength, rng)
        job.events.progress(index + 1, film.total_frames, "frames")


def noised(frame: NDArray[np.uint8], strength: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return √(1 − strength²) · pixels + strength · noise, cut off at the ends.

    Pixels lie in −1 … 1, and the noise is unit Gaussian.

    frame: (height, width, 3) uint8; returns the same
    Source: Ho et al. 2020, eq. 4, which keeps the contrast of a little-noised picture; a straight mix
    (1 − strength) · pixels dims it by 30 % at 0.3, which no refinement can know to undo.
    """
    pixels = frame.astype(np.float32) / 127.5 - 1
    mixed = math.sqrt(1 - strength**2) * pixels + strength * rng.standard_normal(frame.shape, np.float32)
    return np.round((mixed.clip(-1, 1) + 1) * 127.5).astype(np.uint8)


def refine(spec: RefineSpec, job: Job) -> VideoMade:
    """Noise a video to `strength` in latent space and denoise it towards the prompt.

    Raises InvalidRequest when the input cannot be read, the output cannot be written, or no step is left.
    """
    target = Target(job.workspace.resolve(spec.output), spec.keep_existing).checked()
    source = job.workspace.resolve(spec.input)
    film = read_input(source, job)
    fps = require_rate(target.path, film.source_fps)
    sound = sound_for(target.path, source, film, job, is_wanted=spec.sound)
    model = find_source(spec, job)
    spec = model.suited(spec, job.events.warning)
    width, height = shown_size(film.width, film.height, film.pixel_aspect)
    pipeline = model.load_for(FilmSize(film.total_frames, width, height), spec, job.keep, job.events.warning)
    warn_if_truncated(pipeline, spec.prompt, job.events.warning)
    rows, columns = pipeline.frame_size
    require_memory(target.path, film.total_frames, columns, rows)
    pipeline.set_steps(spec.steps)
    steps = pipeline.count_steps(spec.strength)
    windows_over(film.total_frames, pipeline.latent_shape[0], spec.overlap)
    seen = Seen()
    clean = encoded(film, pipeline, seen, job)
    job.events.emit(StageEvent("refine", describe_strength(pipeline, spec), model=model.name, steps=steps))
    details = RefineLog(pipeline, seen, clean, steps)
    latents = _denoised(clean, seen.count, pipeline, spec, details, job)
    decoded = Seen()
    each = islice(decoded_frames(latents, pipeline, decoded, job), seen.count)
    frames = Frames(each, seen.count, (rows, columns))
    result = write_result(target, frames, fps, spec.prompt, model.record(spec), job, sound)
    details.end(decoded)
    return result


def _denoised(
    clean: Tensor, frames: int, pipeline: Denoising, spec: RefineSpec, details: RefineLog, job: Job
) -> Tensor:
    """The film's latents, (frames, channels, h, w), noised and denoised, each step told of and looked at."""
    preview = SamplingPreview(pipeline, job.directory) if spec.preview else None
    report = step_progress(job)

    def progress(done: int, total: int) -> None:
        report(done, total)
        if done == total:
            job.events.emit(StageEvent("decode", f"{frames} frames", frames=frames))

    def look(latents: Tensor) -> None:
        details.step(latents)
        if preview is not None:
            preview(latents)

    return pipeline.refine_latents(
        clean,
        spec.prompt,
        strength=spec.strength,
        num_inference_steps=spec.steps,
        guidance=Guidance(spec.guidance_scale, spec.guidance_rescale),
        seed=spec.seed,
        overlap=spec.overlap,
        progress=progress,
        look=look,
    )[0]


def describe_strength(pipeline: Denoising, spec: RefineSpec) -> str:
    """Return `strength 0.3 → 15 of 50 steps from t=299`; its steps are chosen already."""
    taken = pipeline.count_steps(spec.strength)
    said = f"strength {spec.strength:g} → {taken} of {spec.steps} steps"
    return f"{said} from t={round(float(pipeline.scheduler.timesteps[-taken]))}" if taken else said


def encoded(film: Film, pipeline: Denoising, seen: Seen, job: Job) -> Tensor:
    """Return the film's latents, (frames, channels, h, w).

    Each frame is shrunk as soon as it is decoded, and few wait for the VAE: an hour of a phone's film would be 670 GB.
    """
    return pipeline.encode_parts(_shrunk(film, pipeline.frame_size, seen, job))


def _shrunk(film: Film, size: tuple[int, int], seen: Seen, job: Job) -> Iterator[Tensor]:
    """Its frames, (n, height, width, 3) uint8, a few at a time."""
    shrink = shrink_to(size)
    small = (torch.from_numpy(shrink(frame, film.pixel_aspect)) for frame in _frames(film))
    while waiting := list(islice(small, BATCH_FRAMES)):
        job.check_stop()
        batch = torch.stack(waiting)
        seen.add(batch)
        yield batch
        job.events.progress(seen.count, film.total_frames, "frames")


def decoded_frames(latents: Tensor, pipeline: Denoising, seen: Seen, job: Job) -> Iterator[NDArray[np.uint8]]:
    """Yield the frames of latents (frames, channels, h, w), a few decoded at a time, as the writer takes them."""
    with torch.no_grad():
        for part in pipeline.decode_parts(latents):
            job.check_stop()
            seen.add(part)
            yield from part.numpy()


def read_input(path: Path, job: Job) -> Film:
    """Open an input video. Raises InvalidRequest when it cannot be read."""
    job.events.stage("read", str(path))
    try:
        film = open_film(path)
    except UnreadableClip as error:
        raise _unreadable(path, error) from error
    if film.unevenness_s > MOST_UNEVEN_S:
        job.events.warning(
            f"the frames come at uneven times and are written at an even rate: some are {film.unevenness_s:.2f} s off"
        )
    return film


def _frames(film: Film) -> Iterator[NDArray[np.uint8]]:
    """Its frames, as they are wanted. Raises InvalidRequest where it is damaged."""
    try:
        yield from film.frames()
    except UnreadableClip as error:
        raise _unreadable(film.path, error) from error


def _unreadable(path: Path, error: UnreadableClip) -> InvalidRequest:
    return InvalidRequest(f"{path} cannot be read: {error.detail}", hint="name a video file that plays")
