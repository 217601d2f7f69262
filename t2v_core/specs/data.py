"""What can be asked of a data set, and of the previous system's files."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from t2v_core.specs.base import (
    CLIP_B32,
    DATA,
    FASTEST_FPS,
    MANY,
    MAX_SEED,
    SD_VAE,
    SLOWEST_FPS,
    OnOverlap,
    Precision,
    ProcessCount,
    Spec,
)


class ShapesSpec(Spec):
    """Make the built-in world: a captioned video set of moving coloured shapes."""

    data: Path = Field(Path("data/shapes"), description="folder of the data set to make")
    clips: int = Field(2160, ge=1, le=10**6, description="training clips")
    test_clips: int = Field(
        216, ge=1, le=10**6, description="test clips; half of them show combinations kept out of training"
    )
    frames: int = Field(8, ge=2, le=64, description="frames per clip")
    size: int = Field(64, ge=32, le=512, multiple_of=8, description="height and width in pixels")
    fps: float = Field(8.0, ge=SLOWEST_FPS, le=FASTEST_FPS, description="frames per second")
    seed: int = Field(0, ge=0, le=MAX_SEED, description="random seed of places, sizes and tints")


class PreprocessSpec(Spec):
    """Turn clips into VAE latents and captions into CLIP text embeddings, once."""

    data: Path = Field(DATA, description="data set: videos/ and annotations/ inside")
    model: str | None = Field(
        None,
        description="open model, hub id or local folder, whose encoders prepare the data for t2v train --model; frames "
        "and size are then its makers', unless you set them",
    )
    vae: str = Field(SD_VAE, description="hub id, local folder, or 'embedded'")
    text_encoder: str = Field(CLIP_B32, description="hub id, local folder, or 'embedded'")
    frames: int = Field(16, ge=1, le=512, description="frames per clip")
    stride: int | None = Field(
        None,
        ge=1,
        le=MANY,
        description="take every Nth frame around the middle (default: evenly spaced over the whole clip)",
    )
    size: int | None = Field(
        None, ge=16, le=1024, multiple_of=8, description="height and width in pixels (default: the VAE's own)"
    )
    height: int | None = Field(None, ge=16, le=4096, description="for an open model, in pixels")
    width: int | None = Field(None, ge=16, le=4096, description="for an open model, in pixels")
    buckets: str | None = Field(
        None,
        description="open model: sizes and lengths, WIDTHxHEIGHTxFRAMES with commas between them, or auto; each clip "
        "takes the nearest aspect ratio, then the longest that it fills",
    )
    vae_tiling: Literal["yes", "no"] = Field(
        "no", description="open model: encode piece by piece, which takes less memory"
    )
    dtype: Literal["fp16", "fp32"] = Field("fp16", description="how latents and embeddings are stored")
    batch_frames: int = Field(32, ge=1, le=65536, description="frames through the VAE at a time")
    shard_clips: int = Field(250, ge=1, le=MANY, description="clips per shard file")
    limit: int | None = Field(None, ge=1, le=MANY, description="only the first N clips of each split")
    max_lost: float = Field(
        0.1, ge=0, le=1, description="stop when more than this share of a split's clips cannot be used (and 3 or more)"
    )
    on_overlap: OnOverlap = Field(
        "refuse", description="clips that are in training and test: refuse, or drop-from-train"
    )
    precision: Precision = Field("auto", description="arithmetic of the encoders; the VAE never runs in fp16")
    processes: ProcessCount = Field(1, description="processes that share the work; auto is one for each GPU")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, mps")


class DataCheckSpec(Spec):
    """Decode every clip once, whole, and report what the data set holds."""

    data: Path = Field(DATA, description="data set: videos/ and, if there are any, annotations/ inside")
    workers: int | None = Field(None, ge=1, le=1024, description="decoding processes (default: one per core)")
    timeout_s: float = Field(
        60.0, gt=0, le=86_400, description="seconds that each clip may take; a slower one is set aside"
    )
    frames: int = Field(
        16, ge=1, le=512, description="frames per clip that preprocess would take, to report their rate"
    )
    stride: int | None = Field(
        None, ge=1, le=MANY, description="frames between them (default: evenly spaced over the clip)"
    )


class ManifestSpec(Spec):
    """Write annotations of any form as a manifest in JSON lines."""

    data: Path = Field(DATA, description="data set: annotations/ inside")
    on_overlap: OnOverlap = Field(
        "refuse", description="clips that are in training and test: refuse, or drop-from-train"
    )
    replace: bool = Field(False, description="overwrite a manifest that says something else")
    encoding: str | None = Field(
        None,
        description="encoding of annotation files that are not UTF-8 and do not say so, such as cp1252 (default: "
        "refuse them)",
    )


class ImportLatentsSpec(Spec):
    """Turn the previous system's folders of .pt files into a store that training reads."""

    old_dir: Path = Field(description="folder with latents/VIDEO_ID.pt and text_embeddings/VIDEO_ID.pt")
    data: Path = Field(DATA, description="data set to fill; its annotations/ give captions and splits")
    vae: str = Field(SD_VAE, description="the VAE that made the latents: hub id or local folder")
    text_encoder: str = Field(CLIP_B32, description="the CLIP of the old text: hub id or local folder")
    fps: float = Field(
        8.0,
        ge=SLOWEST_FPS,
        le=FASTEST_FPS,
        description="frames per second that generated videos get; the files do not record it",
    )
    dtype: Literal["fp16", "fp32"] = Field("fp16", description="how latents and embeddings are stored")
    shard_clips: int = Field(250, ge=1, le=MANY, description="clips per shard file")
    on_overlap: OnOverlap = Field(
        "refuse", description="clips that are in training and test: refuse, or drop-from-train"
    )
    precision: Precision = Field("auto", description="arithmetic of the text encoder")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, mps")


class ImportCheckpointSpec(Spec):
    """Turn the previous system's .pt checkpoints into t2v's."""

    old: Path = Field(description="a checkpoint_epoch_N.pt, a final_model.pt, or a folder of them")
    checkpoints: Path = Field(Path("checkpoints"), description="folder for the new checkpoints")
    last: int | None = Field(None, ge=1, le=MANY, description="only the newest N of a folder (default: all)")
    of_epoch: int | None = Field(
        None, ge=1, le=MANY, description="the epoch of a file that does not record one, such as final_model.pt"
    )
    data: Path = Field(DATA, description="data set that training continues with")
    vae: str = Field(SD_VAE, description="the VAE that made its latents: hub id or local folder")
    text_encoder: str = Field(CLIP_B32, description="the CLIP of its text: hub id or local folder")
