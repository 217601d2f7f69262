"""The way back that an open model ships with, as one of ours."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from t2v_core.diffusion.samplers import DDIMSampler, FlowEulerSampler, choose_sampler
from t2v_core.diffusion.schedules import TRAIN_TIMESTEPS, DDPMSchedule, FlowSchedule, Sampler
from t2v_core.errors import InvalidRequest

PREDICTIONS = {"epsilon": "epsilon", "v_prediction": "v"}


class UniPCSampler(FlowSchedule):
    """UniPC on the straight path, stepped by diffusers. Source: Zhao et al. 2023, algorithm 5 and 6.

    own: diffusers' scheduler
    """

    name = "unipc"

    def __init__(self, own: Any) -> None:
        super().__init__()
        self.own = own

    def set_timesteps(self, steps: int) -> None:
        """Choose the steps that diffusers' scheduler has by itself."""
        super().set_timesteps(steps)
        self.own.set_timesteps(steps)
        self.timesteps = self.own.timesteps.float()  # whole numbers; `level` has what they are rounded from

    def level(self, index: int) -> tuple[float, float]:
        """Return (1 − σ, σ) at timestep `index` of the list; after the last it is (1, 0)."""
        sigma = float(self.own.sigmas[index])
        return 1 - sigma, sigma

    def add_noise(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Return (1 − σ)·latents + σ·noise, with the σ that belongs to each timestep of the list."""
        places = [int((self.timesteps - timestep).abs().argmin()) for timestep in timesteps]
        sigma = self.own.sigmas[places].reshape(-1, *[1] * (latents.dim() - 1)).to(latents)
        return (1 - sigma) * latents + sigma * noise

    def restart(self) -> None:
        """Forget the steps taken: diffusers keeps them until steps are chosen anew."""
        if len(self.timesteps):
            self.own.set_timesteps(len(self.timesteps))

    def step(self, prediction: Tensor, index: int, sample: Tensor) -> Tensor:
        """Go to the next level; corrected by this answer where the step before is known."""
        if self.own.step_index is None:
            self.own.set_begin_index(index)
        return self.own.step(prediction, self.own.timesteps[index], sample, return_dict=False)[0]


def sampler_for(own: Any, name: str) -> Sampler:
    """Return a way back along the schedule of diffusers' scheduler `own`; `auto` is the one that it has itself.

    Raises InvalidRequest as `choose_sampler`, and for a scheduler that is not known.
    """
    shipped = _like(own)
    chosen = choose_sampler(shipped, name)
    if isinstance(chosen, DDPMSchedule) and isinstance(shipped, DDPMSchedule):
        chosen.alphas_cumprod = shipped.alphas_cumprod
    return chosen


def _like(own: Any) -> Sampler:
    """The sampler of ours that does what diffusers' scheduler does.

    CogVideoX 5B ships one that adds noise at each step; without it that one is DDIM, on the same schedule.
    Raises InvalidRequest for one that there is none for.
    """
    kind = type(own).__name__
    if kind == "FlowMatchEulerDiscreteScheduler":
        return FlowEulerSampler()
    if kind == "UniPCMultistepScheduler" and own.config.use_flow_sigmas:
        return UniPCSampler(own)
    if kind in ("CogVideoXDDIMScheduler", "CogVideoXDPMScheduler"):
        sampler = DDIMSampler(PREDICTIONS[own.config.prediction_type], spacing=own.config.timestep_spacing)
        sampler.alphas_cumprod = own.alphas_cumprod.double()
        return sampler
    raise InvalidRequest(
        f"this model ships with {kind}, which t2v has no sampler for", hint="name another --model, or update t2v"
    )


def flow_timesteps(own: Any) -> Tensor:
    """Return the timesteps that diffusers' scheduler chose, (steps,) float64 from the noisiest down, 1000 · σ.

    Mochi takes 1000 − t: where that is small, float32 would leave three digits of it.
    """
    sigmas = own.sigmas[:-1].double()
    if getattr(own.config, "invert_sigmas", False):
        sigmas = 1 - sigmas
    return sigmas * TRAIN_TIMESTEPS
