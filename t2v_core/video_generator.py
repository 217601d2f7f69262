"""Videos from Python: what `t2v generate` does, with the model kept loaded between two prompts."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from t2v_core import embedded
from t2v_core.assemble import load_pipeline, newest_of_any, open_or_latest, suited
from t2v_core.checkpoints.checkpoints import Checkpoint
from t2v_core.data.video.resize import resize_and_crop
from t2v_core.diffusion.denoising import Progress
from t2v_core.errors import InvalidRequest
from t2v_core.models.lora.asked import asked_loras
from t2v_core.specs import GenerateSpec, make_spec
from t2v_core.verbs.generate import Frames, sample, save_video, warn_if_truncated
from t2v_core.verbs.sources.checkpoint_source import CheckpointSource
from t2v_core.verbs.target import Target
from t2v_core.workspace import Workspace, expanded

LARGEST_SIDE = 4096
# What a video is called until it has a prompt: the other settings are checked before a model is loaded.
_NO_PROMPT = "-"


@dataclass(frozen=True, eq=False)
class Video:
    """The frames that were made for a prompt; a sequence of them.

    frames: (frames, height, width, 3) uint8, RGB
    fps:    frames a second
    """

    frames: NDArray[np.uint8]
    fps: float
    _spec: GenerateSpec = field(repr=False)
    _checkpoint: Checkpoint = field(repr=False)

    @property
    def prompt(self) -> str:
        """Return what the video shows."""
        return self._spec.prompt

    def save(self, path: str | Path) -> Path:
        """Write an mp4, gif or webp by its suffix, whole or not at all, and a .json beside it that makes it again.

        Returns the path. Raises InvalidRequest for another suffix or a place that cannot be written.
        """
        target = Target(expanded(Path(path)).absolute()).checked()
        record = CheckpointSource(self._checkpoint).record(self._spec)
        save_video(target, Frames.of(torch.from_numpy(self.frames)), self.fps, record)
        return target.path

    def __len__(self) -> int:
        return len(self.frames)

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        return iter(self.frames)

    def __getitem__(self, index: int | slice) -> NDArray[np.uint8]:
        """One frame, (height, width, 3), or some of them."""
        return self.frames[index]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """The frames, for `np.asarray(video)`."""
        return np.array(self.frames, dtype=dtype, copy=copy)


class VideoGenerator:
    """A loaded checkpoint that makes videos.

    checkpoint: the one that is used
    """

    checkpoint: Checkpoint

    def __init__(
        self,
        checkpoint_path: str | Path | None = None,
        *,
        device: str = "auto",
        precision: str = "auto",
        weights: str = "ema",
        sampler: str = "auto",
        vae: str | None = None,
        text_encoder: str | None = None,
        lora: str | None = None,
    ) -> None:
        """Load a checkpoint, its encoders and its sampler.

        checkpoint_path: a checkpoint folder, a `.pt` of the previous system, or "embedded", the small model that comes
            with t2v; without it the one that `find_latest_checkpoint` names
        device, precision, weights, sampler, vae, text_encoder, lora: as the options of `t2v generate`
        Raises InvalidRequest when there is no such checkpoint or a setting is wrong.
        """
        self._settings = {
            "device": device, "precision": precision, "weights": weights, "sampler": sampler, "vae": vae,
            "text_encoder": text_encoder, "lora": lora,
        }  # fmt: skip
        spec = self._spec(prompt=_NO_PROMPT)
        asked = None if checkpoint_path is None else expanded(Path(checkpoint_path))
        if asked is not None and str(asked) not in embedded.MODELS:
            asked = asked.absolute()
        self.checkpoint = open_or_latest(asked, Workspace.find(Path.cwd()), _warn)
        self._pipeline = load_pipeline(
            self.checkpoint, device=spec.device, precision=spec.precision, weights=spec.weights, sampler=spec.sampler,
            encoders=(spec.vae, spec.text_encoder), loras=asked_loras(lora, lambda path: expanded(path).absolute()),
        )  # fmt: skip

    def generate(
        self,
        prompt: str,
        *,
        frames: int | None = None,
        steps: int = 20,
        guidance: float | None = None,
        seed: int = 0,
        size: int | None = None,
        fps: float | None = None,
        guidance_rescale: float = 0.0,
        progress: Progress | None = None,
    ) -> Video:
        """Make one video; the same arguments give the same frames as `t2v generate` does.

        frames:   how many; by default, and at most, what the model was trained on
        guidance: pull towards the prompt, 1 … 30; by default as `t2v generate` takes it
        size:     side in pixels that the finished frames are scaled to; by default the model's own
        fps:      by default the data set's
        progress: called with (steps done, steps) after each step; what it raises ends the run
        Raises InvalidRequest for a value outside its range, or more frames than the model knows.
        """
        if size is not None and not 1 <= size <= LARGEST_SIDE:
            raise InvalidRequest(f"size = {size}: a side is 1 … {LARGEST_SIDE} pixels")
        values: dict[str, Any] = {
            "prompt": prompt, "frames": frames, "steps": steps, "seed": seed, "fps": fps,
            "guidance_rescale": guidance_rescale,
        }  # fmt: skip
        spec = self._spec(**values | ({} if guidance is None else {"guidance_scale": guidance}))
        spec = suited(spec, self.checkpoint, _warn)
        warn_if_truncated(self._pipeline, prompt, _warn)
        made = sample(self._pipeline, spec, progress=progress)
        if size is not None:
            made = resize_and_crop(made, size)
        return Video(made.numpy(), spec.fps or float(self.checkpoint.info["fps"]), spec, self.checkpoint)

    def generate_frame(
        self,
        prompt: str,
        *,
        steps: int = 20,
        guidance: float | None = None,
        seed: int = 0,
        size: int | None = None,
    ) -> NDArray[np.uint8]:
        """Make one picture, (height, width, 3) uint8 RGB: a video of one frame. Arguments as of `generate`."""
        return self.generate(prompt, frames=1, steps=steps, guidance=guidance, seed=seed, size=size).frames[0]

    def _spec(self, **values: Any) -> GenerateSpec:
        given = {name: value for name, value in (self._settings | values).items() if value is not None}
        return cast(GenerateSpec, make_spec("generate", given))


def find_latest_checkpoint(folder: str | Path | None = None) -> Path | None:
    """Return the path of the newest complete checkpoint of a folder.

    Else it is that of the newest `.pt` of the previous system; None without either.

    folder: by default `checkpoints/` of the workspace around the current folder
    """
    place = Workspace.find(Path.cwd()).checkpoints if folder is None else expanded(Path(folder)).absolute()
    found = newest_of_any(place, _warn)
    return found.path if found else None


def _warn(message: str, hint: str = "") -> None:
    """As Python warns, at the line that called us."""
    warnings.warn(f"{message}; {hint}" if hint else message, stacklevel=3)
