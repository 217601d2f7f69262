"""What can be asked of those that draw videos, alter them or score them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from t2v_core.disk.plain_text import prompts_in
from t2v_core.specs.base import (
    DATA,
    FASTEST_FPS,
    MANY,
    MAX_SEED,
    SCALE_BOUNDS,
    SLOWEST_FPS,
    AutoYesNo,
    Offload,
    Precision,
    ProcessCount,
    Quantize,
    Sampler,
    Spec,
)


class SamplingSpec(Spec):
    """What every verb that draws samples can be told."""

    checkpoint: Path | None = Field(
        None, description="checkpoint folder, or a .pt of the previous system (default: the latest complete one)"
    )
    lora: str | None = Field(
        None,
        description="adapter beside the model: a .safetensors file or a checkpoint of t2v train --lora, as FILE or "
        "FILE:SCALE; several separated by commas, or --lora again",
    )
    guidance_scale: float = Field(
        2.0,
        ge=SCALE_BOUNDS[0],
        le=SCALE_BOUNDS[1],
        description="how strongly the prompt steers the video; 1 is not at all, and twice as fast",
    )
    guidance_rescale: float = Field(
        0.0, ge=0, le=1, description="tones down what strong guidance exaggerates; 0.7 for zero terminal SNR"
    )
    sampler: Sampler = Field(
        "auto",
        description="ddim (epsilon, v), euler (flow), dpm++ (both) or map (distilled); auto is the one trained for",
    )
    seed: int = Field(
        0, ge=0, le=MAX_SEED, description="random seed of the initial noise; the same seed gives the same video"
    )
    weights: Literal["ema", "raw"] = Field("ema", description="averaged weights, or those of the last step")
    vae: str | None = Field(
        None, description="hub id or local folder (default: the one that the training data was made with)"
    )
    text_encoder: str | None = Field(None, description="hub id or local folder (default: the same)")
    precision: Precision = Field("auto", description="arithmetic of the denoiser")
    compile: AutoYesNo = Field(
        "auto",
        description="have torch compile the model's layers, which takes a minute and saves time afterwards; auto does "
        "so on a GPU, for 2,000 passes and more",
    )
    device: str = Field("auto", description="auto, cpu, cuda, mps")


class VideoSpec(SamplingSpec):
    """What those that draw videos can be told of an open model, which then draws in place of a checkpoint."""

    model: str | None = Field(
        None,
        description="open model: hub id or local folder in diffusers' layout (Wan, LTX-Video, CogVideoX, Mochi, "
        "HunyuanVideo); steps, guidance, frames and size are then its makers', unless you set them",
    )
    height: int | None = Field(None, ge=16, le=4096, description="for an open model's video, in pixels")
    width: int | None = Field(None, ge=16, le=4096, description="for an open model's video, in pixels")
    negative_prompt: str = Field("", description="what an open model's guidance pulls away from")
    offload: Offload = Field(
        "auto",
        description="open model: none keeps all of it on the device, model only the part at work, group moves it "
        "there block by block; auto takes the first that fits",
    )
    vae_tiling: AutoYesNo = Field(
        "auto", description="open model: decode piece by piece, which takes less memory; auto does so where it must"
    )
    quantize: Quantize = Field(
        "auto",
        description="open model: keep weights in 8 bits (int8, needs torchao) or 4 (nf4, needs bitsandbytes), which "
        "takes less memory and changes videos a little; auto does so where nothing else fits",
    )


class GenerateSpec(VideoSpec):
    """Make a video from a prompt."""

    prompt: str = Field(min_length=1, description="what the video shows")
    output: Path | None = Field(None, description="mp4, gif or webp (default: outputs/, named after the prompt)")
    steps: int = Field(20, ge=1, le=1000, description="denoising steps")
    frames: int | None = Field(
        None, ge=1, le=512, description="frames (default, and at most: what the model was trained on)"
    )
    fps: float | None = Field(
        None, ge=SLOWEST_FPS, le=FASTEST_FPS, description="frames per second (default: the data set's)"
    )
    preview: bool = Field(
        False, description="write a preview of the unfinished video to the job's folder, about once a second"
    )


class SheetSpec(VideoSpec):
    """Make a video for each prompt, seed and guidance scale, and one video that shows all of them side by side."""

    prompts: str = Field(
        min_length=1, max_length=MANY, description="what the videos show: one prompt, @FILE with one per line, or lines"
    )
    output: Path | None = Field(
        None, description="the sheet: mp4, gif or webp (default: outputs/sheets/, named after the first prompt)"
    )
    seeds: int = Field(
        1, ge=1, le=100, description="videos of each prompt, with seeds seed, seed + 1, …: a column each"
    )
    guidance_scales: str = Field(
        "", description="guidance scales to compare, such as 1,2,4: a row each (default: --guidance-scale alone)"
    )
    steps: int = Field(20, ge=1, le=1000, description="denoising steps")
    frames: int | None = Field(
        None, ge=1, le=512, description="frames (default, and at most: what the model was trained on)"
    )
    fps: float | None = Field(
        None, ge=SLOWEST_FPS, le=FASTEST_FPS, description="frames per second (default: the data set's)"
    )
    preview: bool = Field(
        False, description="write a preview of the unfinished video to the job's folder, about once a second"
    )

    @property
    def prompt_list(self) -> list[str]:
        """Return the prompts, one for each line that says something and is no comment (#)."""
        return prompts_in(self.prompts)

    @property
    def scales(self) -> list[float]:
        """Return the guidance scales, the one of `guidance_scale` when no others were asked for."""
        return [float(word) for word in self.guidance_scales.split(",") if word.strip()] or [self.guidance_scale]

    @field_validator("prompts")
    @classmethod
    def _require_a_prompt(cls, text: str) -> str:
        if not prompts_in(text):
            raise PydanticCustomError("prompts", "no line of it is a prompt")
        return text

    @field_validator("guidance_scales")
    @classmethod
    def _require_scales(cls, text: str) -> str:
        lowest, highest = SCALE_BOUNDS
        try:
            is_within = all(lowest <= float(word) <= highest for word in text.split(",") if word.strip())
        except ValueError:
            is_within = False
        if not is_within:
            raise PydanticCustomError("scales", f"numbers from {lowest} to {highest} with commas between are expected")
        return text


class AddNoiseSpec(Spec):
    """Mix noise into a video."""

    input: Path = Field(description="video to read")
    output: Path = Field(description="video to write: mp4, gif or webp")
    strength: float = Field(0.3, ge=0, le=1, description="0 leaves it as it is, 1 is pure noise")
    sound: bool = Field(True, description="copy the input's sound into an mp4")
    seed: int = Field(0, ge=0, le=MAX_SEED, description="random seed of the noise")
    keep_existing: bool = Field(
        False, description="if there is a file of that name already, take the next free one, such as out-2.mp4"
    )


class RefineSpec(VideoSpec):
    """Clean up or change a video: noise it by `strength`, then denoise it towards the prompt."""

    input: Path = Field(description="video to read")
    output: Path = Field(description="video to write: mp4, gif or webp")
    prompt: str = Field(min_length=1, description="what the video should show")
    strength: float = Field(0.3, ge=0, le=1, description="about 0.3 cleans up, more changes; 1 ignores the input")
    steps: int = Field(
        50, ge=1, le=1000, description="denoising steps of a whole run; strength × steps are taken, or more (dpm++)"
    )
    overlap: int | None = Field(
        None, ge=0, le=511, description="frames that neighbouring windows share (default: half a window)"
    )
    sound: bool = Field(True, description="copy the input's sound into an mp4")
    keep_existing: bool = Field(
        False, description="if there is a file of that name already, take the next free one, such as out-2.mp4"
    )
    preview: bool = Field(
        False, description="write a preview of the unfinished video to the job's folder, about once a second"
    )


class EvaluateSpec(VideoSpec):
    """Score a model: CLIP score with ceiling and floor, and on the built-in world whether prompts are obeyed."""

    data: Path = Field(DATA, description="data set whose test captions are the prompts")
    prompts: int = Field(48, ge=2, le=10**6, description="how many test captions")
    seeds: int = Field(2, ge=1, le=10_000, description="videos per prompt, with seeds seed, seed + 1, …")
    frames: int | None = Field(
        None, ge=1, le=512, description="frames (default, and at most: what the model was trained on)"
    )
    steps: int = Field(20, ge=1, le=1000, description="denoising steps")
    combinations: Literal["all", "seen", "unseen"] = Field(
        "all", description="on the built-in world: only combinations that training saw, or never saw"
    )
    scorer: str | None = Field(
        None,
        description="CLIP model that scores: hub id, folder, embedded (default: the model's; for an open model "
        "openai/clip-vit-base-patch32)",
    )
    prefix: str = Field("", description='text before each caption, such as CLIPScore\'s "A photo depicts "')
    features: Path | None = Field(
        None, description="a video network, as TorchScript or torch.export file: adds FVD and MMD from the real clips"
    )
    features_form: Literal["plain", "i3d", "videomae"] = Field(
        "plain",
        description="what --features takes: plain (1, 3, frames, height, width) in 0 … 1; i3d, as StyleGAN-V's FVD "
        "calls it; videomae, 16 frames of 224×224, normalised",
    )
    degradations: bool = Field(
        False,
        description="also score the real clips made worse in six ways, and say which of them a score does not see",
    )
    processes: ProcessCount = Field(
        1, description="processes that share the generating of videos; auto is one for each GPU"
    )
    vbench: Path | None = Field(
        None, description="Python of an environment in which VBench is installed: adds its scores of the videos"
    )
    vbench_dimensions: str = Field(
        "", description="VBench's, separated by commas (default: the six for custom prompts)"
    )
    vbench_layout: bool = Field(False, description="write the videos to outputs/vbench/ as VBench reads them")
