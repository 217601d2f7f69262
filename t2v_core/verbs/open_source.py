"""An open model as `generate` and `refine` ask for it: found, its licence named, placed where it fits."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import diffusers
import torch

from t2v_core.assemble import SpecT, Warn
from t2v_core.diffusion.denoising import Denoising
from t2v_core.diffusion.open_pipeline import OpenPipeline
from t2v_core.disk.private import OWN, make_folder
from t2v_core.errors import InvalidRequest
from t2v_core.job import Job
from t2v_core.models.compiling import pays_to_compile, sampling_passes
from t2v_core.models.loading import pick_device, pick_dtype
from t2v_core.models.open.base import OpenModel, Usual
from t2v_core.models.open.families import open_model
from t2v_core.models.open.finding import find_open_model
from t2v_core.models.open.footprint import place
from t2v_core.models.open.licence import Licence, licence_of
from t2v_core.models.open.parts import Placing
from t2v_core.settings import flag_name
from t2v_core.specs import SamplingSpec, VideoSpec, all_values
from t2v_core.verbs.model_source import VERB_OF, FilmSize
from t2v_core.version import __version__
from t2v_core.workspace import Workspace

# What an open model brings itself, or has not.
NOT_FOR_OPEN = ("checkpoint", "vae", "text_encoder", "weights")


@dataclass(frozen=True)
class OpenSource:
    """An open model, found and seen to be whole; no weights are loaded.

    asked: as it was named; model: of its configurations
    """

    asked: str
    model: OpenModel
    licence: Licence

    @classmethod
    def find(cls, spec: VideoSpec, job: Job) -> OpenSource:
        """Find the model that a spec names. Raises InvalidRequest for one that cannot be had, or does not fit the rest.

        A licence that is not open is said once in each workspace.
        """
        assert spec.model is not None
        for name in NOT_FOR_OPEN:
            if getattr(spec, name) != type(spec).model_fields[name].default:
                raise InvalidRequest(
                    f"{flag_name(name)} is for a checkpoint of t2v's own, and --model names an open model",
                    hint=f"leave {flag_name(name)} or --model out",
                )
        folder = find_open_model(spec.model)
        device = pick_device(spec.device)
        model = open_model(folder, Placing(device, _dtype(spec, device)))
        licence = licence_of(folder, model.licence)
        _name_licence(licence, spec.model, job)
        return cls(spec.model, model, licence)

    @property
    def name(self) -> str:
        """Return the family."""
        return self.model.name

    @property
    def words(self) -> str:
        """Return what was asked for, the family and the licence."""
        return f"{self.asked}, {self.model.name}, {self.licence.name}"

    @property
    def fps(self) -> float:
        """Return the frame rate of its family."""
        return self.usual.fps

    @property
    def usual(self) -> Usual:
        """Return what its makers draw when nothing is said."""
        return self.model.usual

    def suited(self, spec: SpecT, warn: Warn) -> SpecT:
        """Return the spec with the makers' steps and guidance where nothing was said."""
        own = {"steps": self.usual.steps, "guidance_scale": self.usual.guidance}
        return spec.model_copy(update={name: value for name, value in own.items() if name not in spec.model_fields_set})

    def load(self, spec: VideoSpec, keep: dict[str, Any], warn: Warn) -> Denoising:
        """Return its pipeline for a video of the size and length asked for. Raises InvalidRequest for one it cannot."""
        rows, columns = self.usual.size
        frames = getattr(spec, "frames", None) or self.usual.frames
        return self._pipeline(frames, (spec.height or rows, spec.width or columns), spec, keep, warn)

    def load_for(self, film: FilmSize, spec: VideoSpec, keep: dict[str, Any], warn: Warn) -> Denoising:
        """Return its pipeline for a film: of the film's own size, or as much smaller as makes it the makers' size."""
        size = self._size_for(film, spec)
        if (film.height, film.width) != size:
            warn(f"the video is {film.width}×{film.height}; its middle goes through the model at {size[1]}×{size[0]}")
        frames = min(self.usual.frames, self.model.frames_around(film.frames)[1])
        return self._pipeline(frames, size, spec, keep, warn)

    def _size_for(self, film: FilmSize, spec: VideoSpec) -> tuple[int, int]:
        if spec.height and spec.width:
            return spec.height, spec.width
        rows, columns = self.usual.size
        scale = min(1.0, (rows * columns / (film.height * film.width)) ** 0.5)
        step = self.model.side_step
        height, width = (max(step, int(side * scale) // step * step) for side in (film.height, film.width))
        return spec.height or height, spec.width or width

    def _pipeline(
        self, frames: int, size: tuple[int, int], spec: VideoSpec, keep: dict[str, Any], warn: Warn
    ) -> OpenPipeline:
        self.model.require_shape(frames, *size)
        placing = place(self.model, (frames, *size), offload=spec.offload, tiling=spec.vae_tiling, warn=warn)
        if placing.offload == "none":
            is_compiled = pays_to_compile(spec.compile, placing.device, sampling_passes(spec), warn)
            placing = replace(placing, compiled=is_compiled)
        elif spec.compile == "yes":
            warn("the model is not compiled, since parts of it wait off the device", "--offload none has it all there")
        folder = self.model.parts.folder
        wanted = (folder, placing)
        if keep.get("wanted") != wanted:
            keep.clear()  # before the next is loaded: two may be more than the device holds
            keep["open"], keep["wanted"] = open_model(folder, placing), wanted
        model: OpenModel = keep["open"]
        model.fps = getattr(spec, "fps", None) or self.usual.fps
        return OpenPipeline(model, frames, size, sampler=spec.sampler, negative_prompt=spec.negative_prompt)

    def record(self, spec: SamplingSpec) -> dict[str, Any]:
        """Return the settings, and which model it was: id or folder, family, licence, and the hub's revision."""
        folder = self.model.parts.folder
        revision = folder.name if folder.parent.name == "snapshots" else None
        return {
            "verb": VERB_OF[type(spec)],
            "spec": all_values(spec),
            "model": {"id": self.asked, "family": self.model.name, "licence": self.licence.name, "revision": revision},
            "versions": {"t2v": __version__, "torch": torch.__version__, "diffusers": diffusers.__version__},
        }


def _dtype(spec: VideoSpec, device: torch.device) -> torch.dtype:
    """As asked; `auto` is bf16 where there is one, else fp32: most families are black in fp16."""
    dtype = pick_dtype(spec.precision, device)
    return torch.float32 if spec.precision == "auto" and dtype is torch.float16 else dtype


def _name_licence(licence: Licence, asked: str, job: Job) -> None:
    """Say a licence that is not an open one before the model's first use in a workspace."""
    if licence.is_open:
        return
    told = _told(job.workspace, asked, licence)
    if told.exists():
        return
    job.events.warning(
        f"{asked} is not free for every use: its licence is {licence.name}",
        hint=f"read it first: {licence.link or f'https://huggingface.co/{asked}'}; this is said once in a workspace",
    )
    make_folder(told.parent)
    told.touch()


def _told(workspace: Workspace, asked: str, licence: Licence) -> Path:
    name = hashlib.sha256(f"{asked}\n{licence.name}".encode()).hexdigest()[:16]
    return workspace.root / OWN / "licences" / name
