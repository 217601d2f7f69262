"""A video network of the user's own, from one file: TorchScript, or what `torch.export.save` writes."""

from __future__ import annotations

import hashlib
import warnings
import zipfile
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from t2v_core.errors import InvalidRequest
from t2v_core.models.finite import require_finite
from t2v_core.models.loading import pick_device

Form = Literal["plain", "i3d", "videomae"]
# Of ImageNet, which VideoMAE's pictures are normalised by.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
VIDEOMAE_SIDE, VIDEOMAE_FRAMES = 224, 16
EXPORTED = ("archive_format", "serialized_exported_program.json")


class FeatureNetwork:
    """Makes one row of features of each video.

    form: what it takes, one video at a time, (1, 3, frames, height, width) float32 —
        `plain`:    values 0 … 1, the video's own size
        `i3d`:      values 0 … 255, called with rescale, resize and return_features, as the TorchScript file that
                    StyleGAN-V's FVD made common
        `videomae`: 16 frames of 224 × 224, normalised as ImageNet is
    """

    def __init__(self, file: Path, form: Form, *, device: str = "cpu") -> None:
        self.form: Form = form
        self.device = pick_device(device)
        self.sha256 = hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ""
        self._file, self._call = file, _load(file, self.device)

    @property
    def stamp(self) -> dict[str, str]:
        """Return what somebody else needs to compute the same score."""
        return {"network": self._file.name, "sha256": self.sha256[:16], "form": self.form}

    @torch.no_grad()
    def embed(self, frames: Tensor) -> Tensor:
        """Return (dim,) float32 of a video, (frames, height, width, 3) uint8. Raises InvalidRequest, NotFinite."""
        video = frames.permute(3, 0, 1, 2)[None].float().to(self.device)
        try:
            found = self._call(self._suited(video), **self._words())
        except (RuntimeError, TypeError, ValueError, AssertionError) as error:
            raise InvalidRequest(
                f"{self._file.name} cannot take a video of {tuple(video.shape)} as {self.form}: "
                f"{str(error).strip().splitlines()[-1][:200]}",
                hint="another form: --features-form plain, i3d or videomae",
            ) from error
        found = found[0] if isinstance(found, tuple | list) else found
        if not isinstance(found, Tensor) or not found.is_floating_point() or len(found) != 1:
            raise InvalidRequest(
                f"{self._file.name} gives no row of numbers for one video", hint="it has to return (1, features)"
            )
        row = found[0].float().cpu()
        require_finite(row, f"the feature network {self._file.name}", "name another one: --features")
        return row.reshape(-1, row.shape[-1]).mean(0) if row.ndim else row[None]

    def _suited(self, video: Tensor) -> Tensor:
        if self.form == "i3d":
            return video
        video = video / 255
        if self.form == "plain":
            return video
        size = (VIDEOMAE_FRAMES, VIDEOMAE_SIDE, VIDEOMAE_SIDE)
        chosen = torch.linspace(0, video.shape[2] - 1, VIDEOMAE_FRAMES).round().long()
        video = functional.interpolate(video[:, :, chosen], size=size, mode="trilinear", align_corners=False)
        mean, std = (torch.tensor(values, device=video.device)[None, :, None, None, None] for values in (MEAN, STD))
        return (video - mean) / std

    def _words(self) -> dict[str, bool]:
        return {"rescale": True, "resize": True, "return_features": True} if self.form == "i3d" else {}


def _load(file: Path, device: torch.device) -> Any:
    if not file.is_file():
        raise InvalidRequest(f"there is no file {file}", hint="name a TorchScript or torch.export file")
    try:
        with zipfile.ZipFile(file) as archive:
            is_exported = any(name.endswith(EXPORTED) for name in archive.namelist())
        if is_exported:
            return torch.export.load(str(file)).module().to(device)
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # such files are what people have
            return torch.jit.load(str(file), map_location=device).eval()
    except Exception as error:  # torch raises what it likes of a file that is none of these
        why = (str(error).strip() or "empty").splitlines()[0][:200]
        raise InvalidRequest(
            f"{file} is not a TorchScript or torch.export file: {why}",
            hint="write one with torch.jit.save or torch.export.save; a state dict alone has no network in it",
        ) from error
