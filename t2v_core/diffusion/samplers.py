"""From noise to latents: DDIM, Euler and DPM-Solver++. The schedule is training's, saved with the checkpoint."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from t2v_core.diffusion.schedules import TRAIN_TIMESTEPS, DDPMSchedule, FlowSchedule, Sampler
from t2v_core.errors import InvalidRequest
from t2v_core.specs import MAX_SEED


class DDIMSampler(DDPMSchedule):
    """Deterministic DDIM. Source: Song et al. 2021, eq. 12 with σ = 0."""

    name = "ddim"

    def step(self, prediction: Tensor, index: int, sample: Tensor) -> Tensor:
        """Mix the clean latents and the noise that the prediction tells anew, at the next level."""
        clean, noise = self.predict_x0_and_noise(prediction, index, sample)
        signal, sigma = self.level(index + 1)
        return signal * clean + sigma * noise


class FlowEulerSampler(FlowSchedule):
    """Euler's method on the straight path. Source: Esser et al. 2024, eq. 13; Liu et al. 2022, algorithm 1."""

    name = "euler"

    def step(self, prediction: Tensor, index: int, sample: Tensor) -> Tensor:
        """Go straight along the predicted velocity to the next timestep, or to 0 after the last."""
        following = self.timesteps[index + 1] if index + 1 < len(self.timesteps) else self.timesteps.new_zeros(())
        change = (following - self.timesteps[index]) / TRAIN_TIMESTEPS
        return sample + change.to(sample) * prediction


class FlowMapSampler(FlowEulerSampler):
    """The way of a distilled model along the straight path: each step is its mean velocity from there to the next.

    So a step is exact, as far as the model is, whatever its length. Source: Geng et al. 2025, eq. 12.
    """

    name = "map"
    prediction = "flow-map"

    def model_time(self, index: int) -> Tensor:
        """Return the timesteps from and to, (2,); behind the last one comes 0."""
        return torch.cat([self.timesteps, self.timesteps.new_zeros(1)])[index : index + 2]


class _DPMSolver2M(Sampler):
    """The second-order multistep method: x̂₀ is extrapolated over λ = log(signal / σ) from this step and the one before.

    The first step of a run has none before it, and the last one goes to λ = ∞: both are DDIM's, of first order.
    Source: Lu et al. 2022 (DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Models), algorithm 2.
    """

    name = "dpm++"
    _before: tuple[int, Tensor] | None = None

    def restart(self) -> None:
        """Forget the step before: the next one is of first order."""
        self._before = None

    def step(self, prediction: Tensor, index: int, sample: Tensor) -> Tensor:
        """Go to the next level; of second order where the step before is known and this is not the last one."""
        clean, _ = self.predict_x0_and_noise(prediction, index, sample)
        extrapolated = clean
        if self._before is not None and self._before[0] == index - 1 and index + 1 < len(self.timesteps):
            extrapolated = clean + self._half_step_ratio(index) * (clean - self._before[1])
        self._before = (index, clean)
        signal, sigma = self.level(index)
        next_signal, next_sigma = self.level(index + 1)
        # Algorithm 2's −α(e^(−h) − 1), without the logarithms that are infinite where there is only noise, or none.
        ratio = next_sigma / sigma
        return ratio * sample + (next_signal - ratio * signal) * extrapolated

    def _half_step_ratio(self, index: int) -> float:
        """1 / 2r of algorithm 2: half of this step's length in λ over the length of the one before.

        It is 0 where the one before came from pure noise, λ = −∞.
        """
        before, here, following = (_log_snr(*self.level(index + offset)) for offset in (-1, 0, 1))
        return (following - here) / (2 * (here - before))


class DPMSolverSampler(_DPMSolver2M, DDPMSchedule):
    """DPM-Solver++ (2M) on DDPM's schedule, for epsilon and v."""


class FlowDPMSolverSampler(_DPMSolver2M, FlowSchedule):
    """DPM-Solver++ (2M) on the straight path, whose signal is 1 − σ, with steps that are shorter towards both ends.

    Even steps of σ are endless in λ at both ends, and the method is then no better than Euler's: 8 of them leave the
    shipped model's latents 0.093 (root mean square) from the converged ones, Euler's 0.099, these 0.058.
    """

    def set_timesteps(self, steps: int) -> None:
        """Choose σ = u² / (u² + (1 − u)²), so that λ = 2 · log((1 − u) / u), for even steps of u from 1 to 0."""
        super().set_timesteps(steps)
        even = torch.linspace(1, 0, steps + 1, dtype=torch.float64)[:-1]
        self.timesteps = (even**2 / (even**2 + (1 - even) ** 2)).float() * TRAIN_TIMESTEPS

    def skip_to(self, strength: float) -> int:
        """Return the index of the timestep nearest to 1000 · strength.

        So a strength means the same noise with every sampler.

        strength 0.3 of 50 steps takes 20, from timestep 308. Raises InvalidRequest as the others do.
        """
        super().skip_to(strength)
        return int((self.timesteps - strength * TRAIN_TIMESTEPS).abs().argmin())


# By the class's name, as checkpoints and saved pipelines have it.
SAMPLERS: dict[str, type[DDPMSchedule | FlowSchedule]] = {
    kind.__name__: kind
    for kind in (DDIMSampler, FlowEulerSampler, DPMSolverSampler, FlowDPMSolverSampler, FlowMapSampler)
}


def choose_sampler(trained: Sampler, name: str) -> Sampler:
    """Return another way back for what `trained` takes: `ddim`, `euler` or `dpm++`; `auto` is the one it has.

    Raises InvalidRequest for one that does not fit what the model predicts.
    """
    if name in ("auto", trained.name):
        return trained
    fitting = {kind.name: kind for kind in SAMPLERS.values() if _family(kind) is _family(type(trained))}
    if name not in fitting:
        raise InvalidRequest(
            f"the sampler {name} does not fit this model, which predicts {trained.prediction}",
            hint=f"use --sampler {' or '.join(sorted(fitting))}, or leave it out",
        )
    return fitting[name](**{key: value for key, value in trained.config.items() if key[0] != "_"})


def _family(kind: type[Sampler]) -> type[Sampler]:
    """Samplers of one family take the same answers of a model."""
    return next(family for family in (FlowMapSampler, FlowSchedule, DDPMSchedule) if issubclass(kind, family))


def randn(shape: tuple[int, ...], seed: int) -> Tensor:
    """Draw noise that is the same on every device: on the CPU, float32. Behind the largest seed comes 0."""
    return torch.randn(shape, generator=Generator().manual_seed(seed % (MAX_SEED + 1)))


def _log_snr(signal: float, sigma: float) -> float:
    """λ of DPM-Solver, half the logarithm of the signal-to-noise ratio; −∞ where there is only noise."""
    return math.log(signal / sigma) if signal > 0 else -math.inf
