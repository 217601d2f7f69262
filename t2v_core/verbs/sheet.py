"""`t2v sheet`: prompts, seeds and guidance scales as a grid of videos, each of which is a file of its own as well.

The model is loaded once. What a run that was interrupted has made is kept: the same command makes the rest.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from t2v_core.data.video.beside import find_settings, read_settings
from t2v_core.data.video.decode import UnreadableClip, read_all_frames
from t2v_core.data.video.showing import require_rate
from t2v_core.diffusion.denoising import Denoising, Progress
from t2v_core.diffusion.sampling_preview import SamplingPreview
from t2v_core.errors import InvalidRequest
from t2v_core.events import ProgressEvent, SampleEvent
from t2v_core.events.results import SheetMade
from t2v_core.job import Job
from t2v_core.specs import MAX_SEED, MOST_CELLS, GenerateSpec, SheetSpec, all_values
from t2v_core.verbs.generate import Frames, name_of, sample, save_video, warn_if_truncated
from t2v_core.verbs.sources.find_source import find_source
from t2v_core.verbs.sources.model_source import ModelSource
from t2v_core.verbs.target import Target
from t2v_core.version import __version__

# What players and codecs of every kind take, in pixels.
WIDEST, HIGHEST = 3840, 2160
GAP = 2
DARK = 24
Video = NDArray[np.uint8]


@dataclass(frozen=True)
class Cell:
    """One video of the sheet. number: from 0, row by row"""

    number: int
    prompt: str
    seed: int
    scale: float

    def spec(self, sheet: SheetSpec) -> GenerateSpec:
        """Return what `generate` would be asked for the same video; what was not asked stays unasked."""
        shared = sheet.model_fields_set & GenerateSpec.model_fields.keys() - {"output", "preview"}
        asked = {name: getattr(sheet, name) for name in shared}
        scale = {"guidance_scale": self.scale} if sheet.guidance_scales or "guidance_scale" in shared else {}
        return GenerateSpec.model_validate({**asked, **scale, "prompt": self.prompt, "seed": self.seed})

    def file_in(self, folder: Path) -> Path:
        """Return where its video belongs."""
        return folder / f"{self.number + 1:03}-{name_of(self.prompt)}-{self.scale:g}-{self.seed}.mp4"


def cells_of(spec: SheetSpec) -> tuple[list[Cell], int]:
    """Return the cells row by row, and how many columns there are.

    A row for each prompt and guidance scale, a column for each seed; a list that would be one column is made a square.
    Raises InvalidRequest for more than a sheet has room for.
    """
    if (count := len(spec.prompt_list) * spec.seeds * len(spec.scales)) > MOST_CELLS:
        raise InvalidRequest(
            f"{count} videos are more than the {MOST_CELLS} that a sheet has room for",
            hint="ask for fewer prompts, seeds or guidance scales at once",
        )
    rows = [(prompt, scale) for prompt in spec.prompt_list for scale in spec.scales]
    seeds = [(spec.seed + number) % (MAX_SEED + 1) for number in range(spec.seeds)]
    asked = [(prompt, scale, seed) for prompt, scale in rows for seed in seeds]
    cells = [Cell(number, prompt, seed, scale) for number, (prompt, scale, seed) in enumerate(asked)]
    return cells, len(seeds) if len(seeds) > 1 else math.ceil(math.sqrt(len(cells)))


def sheet(spec: SheetSpec, job: Job) -> SheetMade:
    """Make what is missing of the videos, then the one that shows all of them.

    Raises InvalidRequest for a place that cannot be written, more frames than the model knows, or no model.
    """
    cells, columns = cells_of(spec)
    target = _target(spec, job).checked()
    folder = target.path.with_suffix("")
    source = find_source(spec, job)
    drawing = _Drawing(spec, job, source, len(cells))
    job.events.stage("sample", f"{len(cells)} videos: {len(spec.prompt_list)} prompts, {spec.seeds} seeds, "
                               f"{len(spec.scales)} guidance scales")  # fmt: skip
    shown: list[Video] = []
    files: list[str] = []
    for cell in cells:
        file, frames = drawing.made(cell, folder)
        shown.append(small(frames, columns, -(-len(cells) // columns)))
        files.append(str(job.workspace.relative(file)))
    job.events.stage("write", str(job.workspace.relative(target.path.parent)))
    record = {
        "verb": "sheet", "spec": all_values(spec), "cells": files, "columns": columns, "versions": {"t2v": __version__},
    }  # fmt: skip
    fps = require_rate(target.path, spec.fps or source.fps)
    video, _, settings = save_video(target, tiled(shown, columns), fps, record, job=job.directory.name)
    title = spec.prompt_list[0] if len(spec.prompt_list) == 1 else f"{len(spec.prompt_list)} prompts"
    job.events.emit(SampleEvent(str(video), str(settings), f"{title}, {len(cells)} videos"))
    return SheetMade(
        video=str(video), settings=str(settings), cells=tuple(files), kept=drawing.kept, columns=columns
    )  # fmt: skip


def _target(spec: SheetSpec, job: Job) -> Target:
    if spec.output is not None:
        return Target(job.workspace.resolve(spec.output))
    name = f"{name_of(spec.prompt_list[0])}-{spec.seed}.mp4"
    return Target(job.workspace.outputs / "sheets" / name, is_new=True)


class _Drawing:
    """Draws cell after cell with one pipeline, which is loaded for the first that is not there yet."""

    def __init__(self, spec: SheetSpec, job: Job, source: ModelSource, count: int) -> None:
        self.spec, self.job, self.source, self.count = spec, job, source, count
        self.kept = 0
        self._pipeline: Denoising | None = None

    def made(self, cell: Cell, folder: Path) -> tuple[Path, Video]:
        """Return a cell's file and its frames, (frames, height, width, 3), made now unless it is there."""
        self.job.check_stop()
        asked = self.source.suited(cell.spec(self.spec), self.job.events.warning)
        file, record = cell.file_in(folder), self.source.record(asked)
        if (video := _as_it_was(file, record["spec"])) is not None:
            self.kept += 1
            self._report(cell, 1.0)
            return file, video
        pipeline = self._loaded(asked)
        warn_if_truncated(pipeline, asked.prompt, self.job.events.warning)
        look = SamplingPreview(pipeline, self.job.directory) if self.spec.preview else None
        frames = Frames.of(sample(pipeline, asked, progress=self._progress(cell), look=look))
        fps = require_rate(file, asked.fps or self.source.fps)
        place = Target(file, is_new=True)
        path, _, _ = save_video(place, frames, fps, record, job=self.job.directory.name)
        return path, np.stack(list(frames.each))

    def _loaded(self, asked: GenerateSpec) -> Denoising:
        if self._pipeline is None:
            self.job.events.stage("load", self.source.words)
            self._pipeline = self.source.load(asked, self.job.keep, self.job.events.warning)
            self.job.events.stage("sample", f"{asked.steps} {self._pipeline.scheduler.name} steps each")
        return self._pipeline

    def _progress(self, cell: Cell) -> Progress:
        def report(done: int, total: int) -> None:
            self._report(cell, done / total)
            self.job.check_stop()

        return report

    def _report(self, cell: Cell, share: float) -> None:
        self.job.events.emit(ProgressEvent(round(cell.number + share, 2), self.count, "videos"))


def _as_it_was(file: Path, asked: dict[str, object]) -> Video | None:
    """The frames of a video that was made as it is asked for now; None when there is none, or another."""
    beside = find_settings(file) if file.is_file() else None
    if beside is None or read_settings(beside).get("spec") != asked:
        return None
    try:
        return read_all_frames(file).frames
    except UnreadableClip:
        return None


def small(video: Video, columns: int, rows: int) -> Video:
    """Return the frames in the size that so many beside and below each other have room for, with even sides."""
    _, height, width, _ = video.shape
    scale = min(1.0, (WIDEST / columns - GAP) / width, (HIGHEST / rows - GAP) / height)
    size = (max(2, int(width * scale) // 2 * 2), max(2, int(height * scale) // 2 * 2))
    if size == (width, height):
        return video
    return np.stack([np.asarray(Image.fromarray(one).resize(size, Image.Resampling.BOX)) for one in video])


def tiled(videos: list[Video], columns: int) -> Frames:
    """Return one video that shows all of them, row by row with a gap between; a shorter one holds its last frame."""
    count, (height, width) = max(map(len, videos)), videos[0].shape[1:3]
    rows = -(-len(videos) // columns)
    size = (rows * (height + GAP) - GAP, columns * (width + GAP) - GAP)

    def frames() -> Iterator[Video]:
        for number in range(count):
            whole = np.full((*size, 3), DARK, np.uint8)
            for at, video in enumerate(videos):
                top, left = at // columns * (height + GAP), at % columns * (width + GAP)
                whole[top : top + height, left : left + width] = video[min(number, len(video) - 1)]
            yield whole

    return Frames(frames(), count, size)
