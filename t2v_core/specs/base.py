"""What every spec has, and what several of them speak of: the choices there are, their defaults and bounds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Precision = Literal["auto", "fp32", "bf16", "fp16"]
Attention = Literal["frame", "temporal", "joint", "joint+temporal"]
Objective = Literal["epsilon", "v", "flow"]
Preset = Literal["seed", "base", "tiny", "unet3d", "unet3d-tiny"]
OnOverlap = Literal["refuse", "drop-from-train"]
Sampler = Literal["auto", "ddim", "euler", "dpm++", "map"]
Offload = Literal["auto", "none", "model", "group"]
KeepBestBy = Literal["held_out_loss", "score"]
Quantize = Literal["auto", "none", "int8", "nf4"]
AutoYesNo = Literal["auto", "yes", "no"]
ProcessCount = Annotated[int, Field(ge=1, le=1024)] | Literal["auto"]

DATA = Path("data/msr-vtt")
SD_VAE = "stabilityai/sd-vae-ft-mse"
CLIP_B32 = "openai/clip-vit-base-patch32"


# What torch's generators take; what is counted on from a seed begins again at 0 behind it.
MAX_SEED = 2**64 - 1
# More than anybody has of anything that is counted one by one.
MANY = 10**9
SLOWEST_FPS, FASTEST_FPS = 0.1, 120.0
SCALE_BOUNDS = (1, 30)
# Videos of one sheet: smaller ones show nothing any more.
MOST_CELLS = 400


class Spec(BaseModel):
    """What one verb is asked to do. Every number has both its bounds: what lies beyond is said, not tried."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
