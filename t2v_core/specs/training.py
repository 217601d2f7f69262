"""What can be asked of a training, its estimate, and the proof that it resumes exactly."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ModelWrapValidatorHandler, field_validator, model_validator

from t2v_core.presets import PRESET_TRAINING
from t2v_core.specs.base import (
    DATA,
    MANY,
    MAX_SEED,
    Attention,
    AutoYesNo,
    KeepBestBy,
    Objective,
    Precision,
    Preset,
    ProcessCount,
    Spec,
)


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
    lora_rank: int = Field(
        16, ge=1, le=1024, description="rank of the adapter: how many numbers pass through each layer"
    )
    lora_alpha: float | None = Field(
        None, gt=0, le=65536, description="the adapter is scaled by alpha / rank (default: the rank)"
    )
    lora_targets: str = Field(
        "attention", description="layers: attention, all, or names separated by commas, such as to_q,to_v"
    )
    lora_dropout: float = Field(0.0, ge=0, lt=1, description="share of the adapter's input that training drops")
    quantize: Literal["none", "int8", "nf4"] = Field(
        "none",
        description="keep the weights that an adapter of --model lies beside in 8 bits (int8, needs torchao) or 4 "
        "(nf4, needs bitsandbytes), which takes less memory",
    )
    preset: Preset = Field(
        "base",
        description="seed (172 M, frames independent), base (the same size, attention over time), tiny (1 M), unet3d "
        "(7 M, convolutions over time), unet3d-tiny (1 M)",
    )
    data: Path = Field(DATA, description="data set, preprocessed")
    latents: str | None = Field(
        None,
        description="address of a folder with the data set's latents/ and text_embeddings/ (gs://bucket/folder, s3://, "
        "https:// and others of fsspec), read in place of --data; '' with --resume goes back to --data",
    )
    latents_cache: Path = Field(Path(".t2v/latents-cache"), description="folder here through which --latents is read")
    latents_cache_gb: float = Field(
        50.0, gt=0, le=1_000_000, description="that this folder takes at most; what was used last stays"
    )
    checkpoints: Path = Field(Path("checkpoints"), description="folder of the checkpoints")
    resume: bool = Field(False, description="continue from the latest complete checkpoint")
    epochs: int = Field(100, ge=1, le=10**6, description="times through the data")
    max_steps: int | None = Field(
        None, ge=1, le=MANY, description="stop after this many optimiser steps, whatever the epochs"
    )
    batch_size: int = Field(2, ge=1, le=65536, description="clips per forward pass, on each device")
    gradient_accumulation: int = Field(4, ge=1, le=65536, description="forward passes per optimiser step")
    optimizer: Literal["adamw", "adamw8bit", "muon"] = Field(
        "adamw",
        description="adamw8bit: AdamW with its moments in 8 bits (needs bitsandbytes), the default of a LoRA of "
        "--model on a GPU where that is installed; muon: Muon for the layers' weights, AdamW for everything else",
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
    captions_per_clip: int | None = Field(
        None, ge=1, le=10_000, description="draw from the first so many captions of each clip (default: from all)"
    )
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
        description="how hard a prediction is pushed from what another clip of the batch would need (contrastive flow "
        "matching; 0.05 in the literature)",
    )
    layer_sync: float = Field(
        0.0,
        ge=0,
        le=10,
        description="how hard an early layer of a transformer is drawn to say what a later one says (LayerSync; 0.2 in "
        "the literature)",
    )
    token_route: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of a clip's places that go past the middle layers of a transformer in training (TREAD; 0.5 "
        "in the literature, for clips of 1,000 tokens and more)",
    )
    power_averages: bool = Field(
        False,
        description="keep two averages of the weights besides, with snapshots of which t2v export --average-length "
        "makes one of any length",
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
        "generates from fixed prompts",
    )
    score_prompts: int = Field(32, ge=2, le=10_000, description="how many held-out captions serve as these prompts")
    scorer: str | None = Field(
        None, description="CLIP model that scores them: hub id, folder, embedded (default: the data's)"
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
    deterministic: bool = Field(False, description="bit-identical results in every run on a GPU; slower there")
    processes: ProcessCount = Field(1, description="processes that share each step; auto is one for each GPU")
    shard: bool = Field(
        False, description="each process holds only its part of weights, averages and Adam's moments (FSDP2)"
    )
    max_restarts: int = Field(
        0, ge=0, le=1000, description="how often a run restarts from its last checkpoint after a process died"
    )
    device: str = Field("auto", description="auto, cpu, cuda, mps")

    @field_validator("latents")
    @classmethod
    def _none_is_none(cls, value: str | None) -> str | None:
        """A run that was begun with an address is told by an empty one to leave it."""
        return value or None

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
    deterministic: bool = Field(False, description="bit-identical results in every run on a GPU; slower there")
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
    checkpoint: Path | None = Field(
        None, description="checkpoint folder, latest or embedded: estimate the memory of one video of it"
    )
    height: int | None = Field(None, ge=16, le=4096, description="for an open model's videos, in pixels")
    width: int | None = Field(None, ge=16, le=4096, description="for an open model's videos, in pixels")
    buckets: str | None = Field(
        None,
        description="open model: sizes and lengths as of t2v preprocess --buckets, the largest of which decides about "
        "memory",
    )
    stride: int | None = Field(
        None, ge=1, le=MANY, description="as of t2v preprocess: which clips are long enough for which bucket"
    )
    gpu: str | None = Field(None, description="estimate for this GPU, such as L4 or A100-80GB (default: this machine)")
    probe: bool = Field(True, description="measure three real steps here, if they fit into --probe-seconds")
    probe_seconds: float = Field(120.0, gt=0, le=86_400, description="roughly how long the measured steps may take")
    frames: int = Field(16, ge=1, le=512, description="frames per clip, when the data is not preprocessed yet")
    size: int = Field(
        256, ge=16, le=1024, multiple_of=8, description="height and width in pixels, when it is not preprocessed yet"
    )
