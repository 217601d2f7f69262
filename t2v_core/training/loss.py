"""How far a model's prediction is from what it should be."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from t2v_core.models.conditioning import Conditioning
from t2v_core.training.run import TrainingRun


def prediction_error(
    run: TrainingRun,
    model: nn.Module,
    latents: Tensor,
    noise: Tensor,
    timesteps: Tensor,
    prompts: Conditioning,
    weights: Tensor | None = None,
    contrast: float = 0.0,
) -> Tensor:
    """Return the mean squared error of a prediction of noisy latents, each clip's times its weight.

    contrast: of the error from another clip's target so much is taken off (Stoica et al. 2025, eq. 6)
    model: that of the run, as it is or wrapped by Accelerate
    latents, noise: (batch, frames, channels, height, width); timesteps, weights: (batch,); all of it on the CPU
    """
    device = run.accelerator.device
    latents, noise, timesteps = latents.to(device), noise.to(device), timesteps.to(device)
    prompts = prompts.to(device, torch.float32)
    noisy = run.objective.sampler.add_noise(latents, noise, timesteps)
    prediction = model(noisy, timesteps, prompts.tokens, prompts.mask, prompts.pooled)
    target = run.objective.target(latents, noise, timesteps)
    errors = (prediction.float() - target).square()
    if contrast:
        errors = errors - contrast * (prediction.float() - target.roll(1, 0)).square()
    return errors.mean() if weights is None else (errors.flatten(1).mean(1) * weights.to(device)).mean()
