"""The trained model that a distillation starts from, and learns from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from t2v_core import embedded
from t2v_core.assemble import build_denoiser
from t2v_core.checkpoints.base import stamp_of
from t2v_core.checkpoints.checkpoints import Checkpoint
from t2v_core.checkpoints.open import open_checkpoint
from t2v_core.data.store.latents import LatentStore
from t2v_core.diffusion.guidance import Guidance
from t2v_core.diffusion.samplers import FlowEulerSampler, FlowMapSampler
from t2v_core.diffusion.schedules import TRAIN_TIMESTEPS
from t2v_core.errors import InvalidRequest
from t2v_core.job import Job
from t2v_core.models.conditioning import Conditioning
from t2v_core.models.denoisers.denoiser import Denoiser
from t2v_core.models.denoisers.flow_map import FlowMapTransformer
from t2v_core.models.denoisers.video_transformer import VideoTransformer
from t2v_core.presets import DISTILLING, PRESET_TRAINING
from t2v_core.specs import TrainSpec, asked_values, make_spec
from t2v_core.training.base.own import require_same_data


@dataclass(frozen=True)
class Teacher:
    """The trained model that a flow map is made of. stamp: what its weights are, for a run that goes on"""

    checkpoint: Checkpoint
    model: Denoiser
    guidance: Guidance
    stamp: str

    @classmethod
    def of(cls, spec: TrainSpec, store: LatentStore, job: Job, device: torch.device) -> Teacher | None:
        """Open the one that a run asks for; None for a run that distils nothing.

        Raises InvalidRequest for one that cannot be distilled, or whose data was another.
        """
        if spec.distill is None:
            return None
        checkpoint = teacher_checkpoint(spec, job)
        require_same_data(str(spec.distill), checkpoint, store)
        model = build_denoiser(checkpoint.info["model"], checkpoint.weights("ema"), str(checkpoint.path))
        model.to(device).eval().requires_grad_(False)
        return cls(checkpoint, model, Guidance(spec.distill_guidance), stamp_of(checkpoint))

    def student(self) -> tuple[FlowMapTransformer, dict[str, Any]]:
        """Return the flow map that begins as the teacher, and its configuration."""
        config = dict(self.checkpoint.info["model"]) | {"class": FlowMapTransformer.__name__}
        student = FlowMapTransformer(**{name: value for name, value in config.items() if name != "class"})
        student.begin_as(self.model.state_dict())
        return student, config

    def velocity(self, x: Tensor, t: Tensor, prompts: Conditioning, null: Conditioning) -> Tensor:
        """Return the guided velocity at (batch,) times."""
        both = [torch.cat(pair) for pair in ((prompts.tokens, null.tokens), (prompts.mask, null.mask))]
        pooled = torch.cat([prompts.pooled, null.pooled])
        answers = self.model(torch.cat([x, x]), torch.cat([t, t]) * TRAIN_TIMESTEPS, *both, pooled).float()
        conditional, unconditional = answers.chunk(2)
        return self.guidance.combine(conditional, unconditional)


def teacher_checkpoint(spec: TrainSpec, job: Job) -> Checkpoint:
    """Open the checkpoint to distil. Raises InvalidRequest for none, and for one that is no transformer of flow."""
    assert spec.distill is not None
    checkpoint = open_checkpoint(
        spec.distill if str(spec.distill) in embedded.MODELS else job.workspace.resolve(spec.distill)
    )
    sampler, model = checkpoint.info["sampler"]["class"], checkpoint.info["model"].get("class")
    if sampler == FlowMapSampler.__name__:
        raise InvalidRequest(
            f"{checkpoint.path} is distilled already", hint="distil the model that it was made of, with other settings"
        )
    if checkpoint.is_adapter or sampler != FlowEulerSampler.__name__ or model not in (None, VideoTransformer.__name__):
        raise InvalidRequest(
            f"{checkpoint.path} cannot be distilled: it takes a transformer that was trained with --objective flow",
            hint="train one: t2v train --preset base",
        )
    return checkpoint


def suited_to_distill(spec: TrainSpec, job: Job) -> TrainSpec:
    """Return the spec with the teacher's preset and what a distillation takes, where nobody asked for something else.

    Raises InvalidRequest for another preset than the teacher's, and as `teacher_checkpoint`.
    """
    taught = teacher_checkpoint(spec, job).info["spec"]
    preset = taught["preset"]
    if "preset" in spec.model_fields_set and spec.preset != preset:
        raise InvalidRequest(
            f"the model to distil is of the preset {preset}, and {spec.preset} was asked for",
            hint="leave --preset out",
        )
    rate = PRESET_TRAINING[preset].get("learning_rate", TrainSpec.model_fields["learning_rate"].default) / 2
    as_taught = {"preset": preset, "objective": "flow", "attention": taught["attention"], "learning_rate": rate}
    suited = make_spec("train", DISTILLING | as_taught | asked_values(spec))
    assert isinstance(suited, TrainSpec)  # make_spec("train", …) makes nothing else
    return suited
