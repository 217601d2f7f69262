"""What a checkpoint's `trainer.json` has to say before anything is made of it, whoever wrote or edited it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from t2v_core.errors import InvalidRequest


class _Part(BaseModel):
    model_config = ConfigDict(extra="allow", allow_inf_nan=False, strict=True)


class _Encoder(_Part):
    source: str
    sha256: str


class _Latents(_Part):
    encoder: _Encoder
    settings: dict[str, Any] = Field(default_factory=dict)
    stride: int | None = None


class _Text(_Part):
    encoder: _Encoder
    settings: dict[str, Any] = Field(default_factory=dict)
    padded_to: int | None = Field(None, ge=1, le=100_000)


class _Spec(_Part):
    preset: str


class _Sampler(_Part):
    kind: str = Field(alias="class")


class TrainerInfo(_Part):
    """The fields that generation and training read."""

    step: int = Field(ge=0)
    epoch: int | None = None
    steps_per_epoch: int | None = Field(None, ge=1)
    processes: int | None = None
    fps: float = Field(gt=0, le=1e6)
    spec: _Spec
    model: dict[str, Any]
    sampler: _Sampler
    latents: _Latents
    text: _Text
    video_ids: str = ""
    scaler: dict[str, Any] | None = None
    versions: dict[str, Any] = Field(default_factory=dict)


def require_usable(path: Path, info: dict[str, Any], *, said_in: str = "trainer.json") -> None:
    """Raise InvalidRequest that names the first field of `trainer.json` that is missing or no such thing.

    said_in: the file where it stands
    """
    try:
        TrainerInfo.model_validate(info)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        what = f"it has no {where}" if first["type"] == "missing" else f"{where} is none"
        raise InvalidRequest(
            f"checkpoint {path} is damaged: {said_in}: {what}", hint="use another checkpoint"
        ) from error
