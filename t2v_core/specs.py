"""What can be asked of the engine: one pydantic model per verb, and the presets.

A spec crosses every boundary as JSON. Paths are absolute or relative to the workspace. `model_fields_set` says what was
asked; the rest are defaults, the preset's where it has its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from t2v_core.disk.plain_json import read_table
from t2v_core.disk.plain_text import prompts_in, require_utf8
from t2v_core.errors import InvalidRequest
from t2v_core.presets import PRESET_TRAINING
from t2v_core.validation import sentence_of

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
        description="open model: hub id or local folder; its encoders make the set, for t2v train --model, and frames "
        "and size are its makers' unless you say others",
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
    data: Path = Field(DATA, description="data set that training goes on with")
    vae: str = Field(SD_VAE, description="the VAE that made its latents: hub id or local folder")
    text_encoder: str = Field(CLIP_B32, description="the CLIP of its text: hub id or local folder")


class TrainSpec(Spec):
    """Train a video diffusion model on precomputed latents."""

    distill: Path | None = Field(
        None,
        description="checkpoint of a trained model (or 'embedded') to distil into a flow map, which makes a video in "
        "4 passes",
    )
    distill_guidance: float = Field(2.0, ge=1, le=30, description="guidance scale that the map is distilled with")
    base: Path | None = Field(
        None, description="checkpoint of a trained model (or 'embedded') to continue from, with other data"
    )
    model: str | None = Field(
        None, description="open model to continue from: hub id or local folder, as the data was preprocessed for"
    )
    lora: bool = Field(
        False, description="leave the weights of --base or --model as they are, and train an adapter beside them"
    )
    lora_rank: int = Field(16, ge=1, le=1024, description="of the adapter: how many numbers pass through each layer")
    lora_alpha: float | None = Field(
        None, gt=0, le=65536, description="the adapter counts alpha / rank times (default: the rank)"
    )
    lora_targets: str = Field(
        "attention", description="layers: attention, all, or names with commas between them, such as to_q,to_v"
    )
    lora_dropout: float = Field(0.0, ge=0, lt=1, description="share of what goes into the adapter that is left out")
    preset: Preset = Field(
        "base",
        description="seed (172 M, frames independent), base (the same size, attention over time), tiny (1 M), unet3d "
        "(7 M, convolutions over time), unet3d-tiny (1 M)",
    )
    data: Path = Field(DATA, description="data set, preprocessed")
    checkpoints: Path = Field(Path("checkpoints"), description="folder of the checkpoints")
    resume: bool = Field(False, description="go on from the latest complete checkpoint")
    epochs: int = Field(100, ge=1, le=10**6, description="times through the data")
    max_steps: int | None = Field(
        None, ge=1, le=MANY, description="stop after this many optimiser steps, whatever the epochs"
    )
    batch_size: int = Field(2, ge=1, le=65536, description="clips per forward pass, on each device")
    gradient_accumulation: int = Field(4, ge=1, le=65536, description="forward passes per optimiser step")
    optimizer: Literal["adamw", "muon"] = Field(
        "adamw", description="muon: for the weights of the layers, beside adamw for all else"
    )
    learning_rate: float = Field(1e-4, gt=0, le=10, description="peak learning rate")
    weight_decay: float = Field(0.01, ge=0, le=100, description="of AdamW")
    adam_beta2: float = Field(0.999, gt=0, lt=1, description="of AdamW")
    lr_schedule: Literal["constant", "cosine", "one-cycle"] = Field(
        "constant", description="learning rate after the warm-up"
    )
    warmup_steps: int | None = Field(
        0, ge=0, le=MANY, description="steps of linear warm-up (default: 8 % for one-cycle)"
    )
    max_grad_norm: float = Field(1.0, gt=0, le=1e9, description="gradients are scaled down to this norm")
    ema_decay: float = Field(0.9999, ge=0, lt=1, description="decay of the averaged weights that generation uses")
    caption_dropout: float = Field(0.1, ge=0, lt=1, description="share of captions replaced by the null prompt")
    objective: Objective = Field("epsilon", description="what the model predicts: epsilon, v or flow")
    timestep_logit_mean: float = Field(
        0.0,
        ge=-3,
        le=3,
        description="mean of the logit of flow's timesteps; above 0 trains more on noise: layout and colour come first",
    )
    min_snr_gamma: float | None = Field(
        None, gt=0, le=1000, description="min-SNR weights for epsilon and v, 5 in the literature (default: no weights)"
    )
    contrast: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="how much a prediction is kept from what another clip of the batch would need (contrastive flow "
        "matching; 0.05 in the literature)",
    )
    zero_terminal_snr: bool = Field(
        False,
        description="with v: the schedule ends in pure noise, where sampling starts, so videos can be dark or bright",
    )
    attention: Attention = Field("frame", description="over time: frame (none), temporal, joint, joint+temporal")
    precision: Precision = Field("auto", description="auto takes bf16 or fp16 where the hardware has it, else fp32")
    gradient_checkpointing: bool = Field(False, description="less memory, about a third slower")
    checkpoint_every: int = Field(5, ge=1, le=10**6, description="epochs between checkpoints")
    keep_last: int = Field(2, ge=1, le=10**6, description="checkpoints kept, newest first")
    keep_best: int = Field(1, ge=0, le=10**6, description="checkpoints kept in addition, the best first")
    keep_best_by: KeepBestBy = Field(
        "held_out_loss",
        description="what makes one the best: held_out_loss, or score, the CLIP score of videos that each checkpoint "
        "draws of fixed prompts",
    )
    score_prompts: int = Field(32, ge=2, le=10_000, description="how many held-out captions these prompts are")
    scorer: str | None = Field(
        None, description="CLIP model that scores them: hub id, folder, embedded (default: the one of the data's text)"
    )
    held_out_clips: int = Field(64, ge=0, le=10**6, description="clips kept out for the held-out loss")
    samples: int = Field(2, ge=0, le=1000, description="videos generated at each checkpoint")
    log_with: Literal["tensorboard", "wandb", "trackio"] = Field(
        "tensorboard", description="TensorBoard's files are always written; wandb and trackio get the figures as well"
    )
    threads: int | None = Field(None, ge=1, le=1024, description="CPU threads (default: one per core)")
    latents_in_memory: AutoYesNo = Field("auto", description="hold the data set in memory")
    compile: AutoYesNo = Field(
        "auto",
        description="have torch compile the model's layers, which takes a minute and saves time afterwards; auto does "
        "so on a GPU, for long runs",
    )
    seed: int = Field(0, ge=0, le=MAX_SEED, description="random seed of initial weights, data order, noise and samples")
    deterministic: bool = Field(False, description="identical results on a GPU in every run, to the bit; slower there")
    processes: ProcessCount = Field(1, description="processes that share each step; auto is one for each GPU")
    shard: bool = Field(
        False, description="each process holds only its part of weights, averages and Adam's moments (FSDP2)"
    )
    max_restarts: int = Field(
        0, ge=0, le=1000, description="times that a run of which a process died starts again from its last checkpoint"
    )
    device: str = Field("auto", description="auto, cpu, cuda, mps")

    @model_validator(mode="wrap")
    @classmethod
    def _preset_defaults(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Fill in what the preset says and the asker did not; `model_fields_set` stays what was asked."""
        if not isinstance(values, dict):
            return handler(values)
        preset = values.get("preset", cls.model_fields["preset"].default)
        spec = handler(PRESET_TRAINING.get(preset, {}) | values)
        spec.model_fields_set.intersection_update(values)
        return spec


class VerifyResumeSpec(Spec):
    """Prove that a training which is killed and resumed ends as one that was not."""

    preset: Preset = Field("tiny", description="model and settings to try, as in t2v train")
    steps: int = Field(12, ge=8, le=1000, description="optimiser steps of each run; it is killed about half-way")
    processes: int = Field(1, ge=1, le=8, description="processes that share each run")
    deterministic: bool = Field(False, description="identical results on a GPU in every run, to the bit; slower there")
    precision: Precision = Field("auto", description="as in t2v train")
    seed: int = Field(0, ge=0, le=MAX_SEED, description="random seed of the runs")
    device: str = Field("auto", description="auto, cpu, cuda, mps")


class EstimateSpec(TrainSpec):
    """Say beforehand what a training takes: memory, disk and time, and whether they are there."""

    model: str | None = Field(
        None,
        description="open model, hub id or local folder: estimate one video of it, or with --lora its training, from "
        "its configuration",
    )
    height: int | None = Field(None, ge=16, le=4096, description="for an open model's videos, in pixels")
    width: int | None = Field(None, ge=16, le=4096, description="for an open model's videos, in pixels")
    gpu: str | None = Field(None, description="estimate for this GPU, such as L4 or A100-80GB (default: this machine)")
    probe: bool = Field(True, description="measure three real steps here, if they fit into --probe-seconds")
    probe_seconds: float = Field(120.0, gt=0, le=86_400, description="roughly how long the measured steps may take")
    frames: int = Field(16, ge=1, le=512, description="frames per clip, when the data is not preprocessed yet")
    size: int = Field(
        256, ge=16, le=1024, multiple_of=8, description="height and width in pixels, when it is not preprocessed yet"
    )


class DoctorSpec(Spec):
    """Check everything: Python, packages, accelerator, encoders, data, disk, workspace, checkpoints."""

    data: Path | None = Field(None, description="data set to look at (default: the one that training takes)")
    checkpoints: Path | None = Field(None, description="folder to look at (default: the one that training takes)")
    checksums: bool = Field(False, description="also read all data and the newest checkpoint, about 1 GB/s")


class SamplingSpec(Spec):
    """What every verb that draws samples can be told."""

    checkpoint: Path | None = Field(
        None, description="checkpoint folder, or a .pt of the previous system (default: the latest complete one)"
    )
    lora: str | None = Field(
        None,
        description="adapter beside the model: a .safetensors file or a checkpoint of t2v train --lora, as FILE or "
        "FILE:SCALE; several with commas between them, or --lora again",
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
        1, description="processes that share the drawing of videos; auto is one for each GPU"
    )
    vbench: Path | None = Field(
        None, description="Python of an environment in which VBench is installed: adds its scores of the videos"
    )
    vbench_dimensions: str = Field(
        "", description="of VBench, with commas between them (default: the six for prompts of one's own)"
    )
    vbench_layout: bool = Field(False, description="write the videos to outputs/vbench/ as VBench reads them")


class ServeSpec(Spec):
    """Keep an engine resident: it does the jobs that are handed to it, with the last model loaded."""

    idle_s: float = Field(600.0, gt=0, le=365 * 86_400, description="seconds without a job after which it ends")


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


class PublishSpec(Spec):
    """Put an exported model on the hub."""

    id: str = Field(min_length=1, max_length=200, description="where on the hub, OWNER/NAME")
    folder: Path = Field(description="folder that t2v export wrote")
    public: bool = Field(False, description="a repository that is new can be seen by everybody; else by you alone")
    yes: bool = Field(False, description="upload; without it, what would be is listed")


SPECS: dict[str, type[Spec]] = {
    "shapes": ShapesSpec,
    "check": DataCheckSpec,
    "preprocess": PreprocessSpec,
    "manifest": ManifestSpec,
    "import-latents": ImportLatentsSpec,
    "import-checkpoint": ImportCheckpointSpec,
    "train": TrainSpec,
    "generate": GenerateSpec,
    "sheet": SheetSpec,
    "add-noise": AddNoiseSpec,
    "refine": RefineSpec,
    "evaluate": EvaluateSpec,
    "estimate": EstimateSpec,
    "verify-resume": VerifyResumeSpec,
    "doctor": DoctorSpec,
    "serve": ServeSpec,
    "models": ModelsSpec,
    "fetch": FetchSpec,
    "export": ExportSpec,
    "publish": PublishSpec,
}


def make_spec(verb: str, values: dict[str, Any]) -> Spec:
    """Validate what was asked; raise InvalidRequest with one sentence for the first thing that is wrong."""
    require_utf8(values)
    try:
        return SPECS[verb].model_validate(values)
    except ValidationError as error:
        raise InvalidRequest(*sentence_of(SPECS[verb], error)) from error


def read_spec(verb: str, path: Path) -> Spec:
    """Read the spec of a job. Raises InvalidRequest when it is missing or wrong."""
    try:
        values = read_table(path)
    except (OSError, ValueError) as error:
        raise InvalidRequest(f"{path} cannot be read: {error}", hint="submit the job again") from error
    return make_spec(verb, values)


def all_values(spec: Spec) -> dict[str, Any]:
    """Return the spec as JSON-ready values, defaults included: what a result is stamped with."""
    return spec.model_dump(mode="json")


def asked_values(spec: Spec) -> dict[str, Any]:
    """Return only what was asked.

    `spec.json` holds that, so that a resumed training knows what is wanted otherwise.
    """
    return spec.model_dump(mode="json", exclude_unset=True)
