"""What can be asked of whole models: which there are, one brought here, one given to others."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from t2v_core.specs.base import Spec


class ModelsSpec(Spec):
    """List the open models that lie on a machine."""

    folder: Path = Field(Path("models"), description="folder of models, listed beside the hub's cache")


class FetchSpec(Spec):
    """Bring an open model from the hub into its cache."""

    id: str = Field(min_length=1, max_length=200, description="the model's hub id, OWNER/NAME")


class ExportSpec(Spec):
    """Write a trained model as a folder that others can use."""

    folder: Path = Field(description="folder to make")
    checkpoint: Path | None = Field(None, description="checkpoint to export (default: the latest)")
    format: Literal["diffusers", "comfyui", "kohya"] = Field(
        "diffusers", description="of a LoRA: also a file that these programs load"
    )
    weights: Literal["ema", "raw"] = Field("ema", description="ema: averaged; raw: of the last step")
    average_length: float | None = Field(
        None,
        ge=0.005,
        le=0.28,
        description="average the weights over this share of the training (standard deviation), of a run with "
        "--power-averages",
    )


class PublishSpec(Spec):
    """Put an exported model on the hub."""

    id: str = Field(min_length=1, max_length=200, description="where on the hub, OWNER/NAME")
    folder: Path = Field(description="folder that t2v export wrote")
    public: bool = Field(False, description="make a new repository visible to everybody; otherwise only you see it")
    yes: bool = Field(False, description="upload; without it, only list what would be uploaded")
