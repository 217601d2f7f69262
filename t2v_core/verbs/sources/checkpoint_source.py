"""A checkpoint of ours as `generate` and `refine` ask for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from t2v_core.assemble import SpecT, Warn, load_asked, sampler_name, suited
from t2v_core.checkpoints.checkpoints import Checkpoint
from t2v_core.checkpoints.old_names import ORIGIN
from t2v_core.diffusion.denoising import Denoising
from t2v_core.errors import InvalidRequest
from t2v_core.models.lora.asked import AskedLora
from t2v_core.settings import flag_name
from t2v_core.specs import SamplingSpec, VideoSpec, all_values
from t2v_core.verbs.sources.model_source import VERB_OF, FilmSize
from t2v_core.version import __version__

OPEN_ONLY = ("height", "width", "negative_prompt", "offload", "vae_tiling", "quantize")


@dataclass(frozen=True)
class CheckpointSource:
    """A checkpoint of ours, or of the previous system."""

    checkpoint: Checkpoint
    where: str = ""
    loras: tuple[AskedLora, ...] = ()

    @property
    def name(self) -> str:
        """Return what people call it: `Epoch 100`, `Step 1200`, or the name of its folder or file."""
        info, step = self.checkpoint.info, self.checkpoint.step
        epoch, per_epoch = info.get("epoch"), info.get("steps_per_epoch") or 0
        if epoch and (not per_epoch or step % per_epoch == 0):
            return f"Epoch {epoch}"
        return f"Step {step}" if step else self.checkpoint.path.stem

    @property
    def words(self) -> str:
        """Return where it lies, and `step 1200`, or `epoch 100 of the previous system`."""
        epoch, step = self.checkpoint.info.get("epoch"), self.checkpoint.step
        if self.checkpoint.info.get("origin") == ORIGIN and epoch is not None:
            return f"{self.where}, epoch {epoch} of the {ORIGIN}"
        return f"{self.where}, " + (f"step {step}" if step else f"of the {ORIGIN}")

    @property
    def fps(self) -> float:
        """Return the frame rate of its training data."""
        return float(self.checkpoint.info["fps"])

    @property
    def label(self) -> str:
        """Return the name of its folder or file."""
        return self.checkpoint.path.name

    @property
    def stride(self) -> int | None:
        """Return how far apart the frames were that it learned from; None for evenly spaced."""
        found: int | None = self.checkpoint.info["latents"].get("stride")
        return found

    @property
    def scorer(self) -> str:
        """Return the CLIP whose text it was trained on."""
        return str(self.checkpoint.info["text"]["encoder"]["source"])

    @property
    def stamp(self) -> dict[str, Any]:
        """Return where it lies and its step."""
        return {"checkpoint": str(self.checkpoint.path), "step": self.checkpoint.step}

    def suited(self, spec: SpecT, warn: Warn) -> SpecT:
        """Return the spec as the checkpoint needs it. Raises InvalidRequest for what only open models have."""
        for name in OPEN_ONLY:
            if name in spec.model_fields_set and getattr(spec, name) != type(spec).model_fields[name].default:
                raise InvalidRequest(
                    f"{flag_name(name)} is for an open model, and none is named",
                    hint=f"leave {flag_name(name)} out, or name one with --model",
                )
        return suited(spec, self.checkpoint, warn)

    def load(self, spec: VideoSpec, keep: dict[str, Any], warn: Warn, *, videos: int = 1) -> Denoising:
        """Return its pipeline."""
        return load_asked(self.checkpoint, spec, warn, self.loras, videos=videos, keep=keep)

    def load_for(self, film: FilmSize, spec: VideoSpec, keep: dict[str, Any], warn: Warn) -> Denoising:
        """Return its pipeline, with a word when the model's size is another than the film's."""
        pipeline = load_asked(self.checkpoint, spec, warn, self.loras, keep=keep)
        rows, columns = pipeline.frame_size
        if (film.height, film.width) != (rows, columns):
            warn(f"the video is {film.width}×{film.height}; its middle goes through the model at {columns}×{rows}")
        return pipeline

    def record(self, spec: SamplingSpec) -> dict[str, Any]:
        """Return the settings with checkpoint and sampler as they were, and the checkpoint's step and versions."""
        path, info = str(self.checkpoint.path), self.checkpoint.info
        return {
            "verb": VERB_OF[type(spec)],
            "spec": all_values(spec) | {"checkpoint": path, "sampler": sampler_name(spec, self.checkpoint)},
            "checkpoint": {"path": path, "step": self.checkpoint.step, "preset": info["spec"]["preset"]},
            "versions": info["versions"] | {"t2v": __version__},
        }
