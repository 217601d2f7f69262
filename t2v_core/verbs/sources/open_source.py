"""An open model as `generate` and `refine` ask for it: found, its licence named, placed where it fits."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import diffusers
import torch

from t2v_core.assemble import SpecT, Warn
from t2v_core.checkpoints.checkpoints import EMA, MODEL, Checkpoint
from t2v_core.checkpoints.trainer_info import require_usable
from t2v_core.diffusion.denoising import Denoising
from t2v_core.diffusion.open_pipeline import OpenPipeline
from t2v_core.errors import InvalidRequest
from t2v_core.job import Job
from t2v_core.models.compiling import pays_to_compile, sampling_passes
from t2v_core.models.loading import pick_device
from t2v_core.models.lora.asked import asked_loras
from t2v_core.models.lora.files import Lora
from t2v_core.models.open.base import OpenModel, Usual
from t2v_core.models.open.families import open_model
from t2v_core.models.open.finding import find_open_model
from t2v_core.models.open.licence import Licence, licence_of
from t2v_core.models.open.memory.placing import place
from t2v_core.models.open.parts import Placing, arithmetic
from t2v_core.settings import flag_name
from t2v_core.specs import CLIP_B32, SamplingSpec, VideoSpec, all_values
from t2v_core.verbs.open.named_licence import name_licence
from t2v_core.verbs.sources.model_source import VERB_OF, FilmSize
from t2v_core.version import __version__

# What an open model brings itself, or has not.
ENCODERS = ("vae", "text_encoder")
NOT_FOR_OPEN = ("checkpoint", *ENCODERS, "weights")


@dataclass(frozen=True)
class OpenSource:
    """An open model, found and seen to be whole; no weights are loaded.

    asked: as it was named; model: of its configurations; loras: adapters beside it
    checkpoint: what was trained of it, if that is what is drawn with
    """

    asked: str
    model: OpenModel
    licence: Licence
    loras: tuple[Lora, ...] = ()
    checkpoint: Checkpoint | None = None

    @classmethod
    def find(cls, spec: VideoSpec, job: Job, checkpoint: Checkpoint | None = None) -> OpenSource:
        """Find the model that a spec names, or that a checkpoint was trained on.

        Raises InvalidRequest for one that cannot be had, or does not fit the rest. A licence that is not open is said
        once in each workspace.
        """
        asked = spec.model if checkpoint is None else checkpoint.open_model
        assert asked is not None
        for name in NOT_FOR_OPEN if checkpoint is None else ENCODERS:
            if getattr(spec, name) != type(spec).model_fields[name].default:
                raise InvalidRequest(
                    f"{flag_name(name)} is for a checkpoint of t2v's own, and "
                    + (
                        "--model names an open model" if checkpoint is None else f"{checkpoint.path.name} is of {asked}"
                    ),
                    hint=f"leave {flag_name(name)} or --model out" if checkpoint is None else "leave it out",
                )
        folder = find_open_model(asked)
        device = pick_device(spec.device)
        model = open_model(folder, Placing(device, arithmetic(spec.precision, device)))
        licence = licence_of(folder, model.licence)
        name_licence(licence, asked, job)
        loras = [model.lora(one.path, one.scale) for one in asked_loras(spec.lora, job.workspace.resolve)]
        if checkpoint is not None and checkpoint.is_adapter:
            loras.insert(0, model.lora(_weights(checkpoint, spec)))
        if checkpoint is not None and not checkpoint.is_adapter:
            model.parts.tuned = _weights(checkpoint, spec)
        return cls(asked, model, licence, tuple(loras), checkpoint)

    @property
    def name(self) -> str:
        """Return the family."""
        return self.model.name

    @property
    def words(self) -> str:
        """Return what was asked for, the family and the licence."""
        trained = "" if self.checkpoint is None else f", with {self.checkpoint.path.name}"
        return f"{self.asked}, {self.model.name}, {self.licence.name}{trained}"

    @property
    def fps(self) -> float:
        """Return the frame rate of its family."""
        return self.usual.fps

    @property
    def label(self) -> str:
        """Return the name of the checkpoint, or the last part of what was asked for."""
        return Path(self.asked).name if self.checkpoint is None else self.checkpoint.path.name

    @property
    def stride(self) -> int | None:
        """Return how far apart the frames were that a checkpoint learned from; None for evenly spaced."""
        return None if self.checkpoint is None else self.checkpoint.info["latents"].get("stride")

    @property
    def scorer(self) -> str:
        """Return the usual CLIP: no open model has one of pictures."""
        return CLIP_B32

    @property
    def stamp(self) -> dict[str, Any]:
        """Return which model it is, and the checkpoint and its step if there is one."""
        trained = self.checkpoint
        step = {} if trained is None else {"checkpoint": str(trained.path), "step": trained.step}
        return {"model": self._identity} | step

    @property
    def usual(self) -> Usual:
        """Return what its makers draw when nothing is said; of a checkpoint, in the size that it was trained in."""
        usual = self.model.usual
        if self.checkpoint is None:
            return usual
        frames, _, height, width = self.checkpoint.info["latents"]["shape"]
        time, side = self.model.ratios
        size, fps = (height * side, width * side), float(self.checkpoint.info["fps"])
        return replace(usual, size=size, frames=(frames - 1) * time + 1, fps=fps)

    def suited(self, spec: SpecT, warn: Warn) -> SpecT:
        """Return the spec with the makers' steps and guidance where nothing was said."""
        own = {"steps": self.usual.steps, "guidance_scale": self.usual.guidance}
        return spec.model_copy(update={name: value for name, value in own.items() if name not in spec.model_fields_set})

    def load(self, spec: VideoSpec, keep: dict[str, Any], warn: Warn, *, videos: int = 1) -> Denoising:
        """Return its pipeline for a video of the size and length asked for. Raises InvalidRequest for one it cannot."""
        rows, columns = self.usual.size
        frames = getattr(spec, "frames", None) or self.usual.frames
        size = (spec.height or rows, spec.width or columns)
        return self._pipeline(frames, size, spec, keep, warn, videos=videos)

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
        self,
        frames: int,
        size: tuple[int, int],
        spec: VideoSpec,
        keep: dict[str, Any],
        warn: Warn,
        *,
        videos: int = 1,
    ) -> OpenPipeline:
        self.model.require_shape(frames, *size)
        asked = {"offload": spec.offload, "tiling": spec.vae_tiling, "quantize": spec.quantize}
        placing = place(self.model, (frames, *size), **asked, warn=warn)
        if placing.offload == "none":
            is_compiled = pays_to_compile(spec.compile, placing.device, sampling_passes(spec, videos), warn)
            placing = replace(placing, compiled=is_compiled)
        elif spec.compile == "yes":
            warn("the model is not compiled, since parts of it wait off the device", "--offload none has it all there")
        folder = self.model.parts.folder
        wanted = (folder, placing, self.model.parts.tuned, tuple((lora.path, lora.scale) for lora in self.loras))
        if keep.get("wanted") != wanted or self.loras:  # a file of that name may be another by now
            keep.clear()  # before the next is loaded: two may be more than the device holds
            keep["open"], keep["wanted"] = open_model(folder, placing), wanted
            keep["open"].parts.loras, keep["open"].parts.tuned = self.loras, self.model.parts.tuned
        model: OpenModel = keep["open"]
        model.fps = getattr(spec, "fps", None) or self.usual.fps
        return OpenPipeline(model, frames, size, sampler=spec.sampler, negative_prompt=spec.negative_prompt)

    def record(self, spec: SamplingSpec) -> dict[str, Any]:
        """Return the settings, and which model it was: id or folder, family, licence, and the hub's revision."""
        trained = self.checkpoint
        return {
            "verb": VERB_OF[type(spec)],
            "spec": all_values(spec) | ({} if trained is None else {"checkpoint": str(trained.path)}),
            **({} if trained is None else {"checkpoint": {"path": str(trained.path), "step": trained.step}}),
            "model": self._identity,
            "versions": {"t2v": __version__, "torch": torch.__version__, "diffusers": diffusers.__version__},
        }

    @property
    def _identity(self) -> dict[str, Any]:
        folder = self.model.parts.folder
        revision = folder.name if folder.parent.name == "snapshots" else None
        return {"id": self.asked, "family": self.model.name, "licence": self.licence.name, "revision": revision}


def _weights(checkpoint: Checkpoint, spec: VideoSpec) -> Path:
    """The file of averages, or of the last step. Raises InvalidRequest for one that a later t2v wrote."""
    checkpoint.require_known_format()
    require_usable(checkpoint.path, checkpoint.info)
    return checkpoint.path / (EMA if spec.weights == "ema" else MODEL)
