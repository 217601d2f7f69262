"""What `generate` and `refine` draw with: a checkpoint of ours, or an open model. Both are asked the same things."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from t2v_core.assemble import SpecT, Warn
from t2v_core.diffusion.denoising import Denoising
from t2v_core.specs import GenerateSpec, RefineSpec, SamplingSpec, VideoSpec

VERB_OF: dict[type[SamplingSpec], str] = {GenerateSpec: "generate", RefineSpec: "refine"}


class ModelSource(Protocol):
    """A model that is not loaded yet.

    name: what people call it; words: which one it is, for the job's events; fps: of what it makes
    label: for the name of a file; stride: between the frames of a clip that it learned from, None for evenly spaced
    scorer: the CLIP that scores its videos unless another is named; stamp: which model it was, for its scores
    """

    @property
    def name(self) -> str: ...
    @property
    def words(self) -> str: ...
    @property
    def fps(self) -> float: ...
    @property
    def label(self) -> str: ...
    @property
    def stride(self) -> int | None: ...
    @property
    def scorer(self) -> str: ...
    @property
    def stamp(self) -> dict[str, Any]: ...

    def suited(self, spec: SpecT, warn: Warn) -> SpecT:
        """Return the spec with what this model has of its own where nothing was said. Raises InvalidRequest."""

    def load(self, spec: VideoSpec, keep: dict[str, Any], warn: Warn, *, videos: int = 1) -> Denoising:
        """Return its pipeline for prompts. keep: what stays loaded from one job to the next; videos: how many of them

        Raises InvalidRequest for a size or length that it cannot make.
        """

    def load_for(self, film: FilmSize, spec: VideoSpec, keep: dict[str, Any], warn: Warn) -> Denoising:
        """Return its pipeline for a film of that size."""

    def record(self, spec: SamplingSpec) -> dict[str, Any]:
        """Return what a video's .json says of model and settings, so that it can be made again."""


@dataclass(frozen=True)
class FilmSize:
    """Of a video to refine; width and height as it is shown, in pixels."""

    frames: int
    width: int
    height: int


def as_written(record: Mapping[str, Any], about: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record with what is said about the video, in the order in which the .json has it."""
    first = {name: record[name] for name in ("verb", "spec")}
    return {**first, **about, **{name: value for name, value in record.items() if name not in first}}
