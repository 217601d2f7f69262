"""Samplers against closed forms: for Gaussian data the right answer and the right path are known at every noise level;
and against diffusers' own, where those are right."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, FlowMatchEulerDiscreteScheduler
from support.engine.gaussian import MEAN, STD, levels_of, on_the_path, walk
from torch import Tensor

from t2v_core.diffusion.samplers import DDIMSampler, DPMSolverSampler, FlowDPMSolverSampler, FlowEulerSampler, randn
from t2v_core.diffusion.schedules import Sampler

STEP_COUNTS = (7, 30, 75, 333)  # none divides 1000
# Nearer to 0, steps in λ are never small, and the last one is infinite: there the order of a method does not show.
# (On DDPM's schedule σ² is nearly linear in t, so that the last step from 1000 / N alone errs by the order of 1 / N.)
FROM_TIMESTEP = 300

Make = Callable[[], Sampler]


def made(kind: Any, **config: Any) -> Any:
    """A maker of one sampler, named in the test's id."""
    name = "-".join([kind.__name__, *(str(value) for value in config.values())])
    return pytest.param(lambda: kind(**config), id=name)


def on_ddpm(kind: Any) -> list[Any]:
    kinds = itertools.product(("epsilon", "v"), ("trailing", "leading", "linspace"))
    plain = [made(kind, prediction=prediction, spacing=spacing) for prediction, spacing in kinds]
    return [*plain, made(kind, prediction="v", zero_terminal_snr=True)]


FIRST_ORDER = [*on_ddpm(DDIMSampler), made(FlowEulerSampler)]
SECOND_ORDER = [*on_ddpm(DPMSolverSampler), made(FlowDPMSolverSampler)]


def errors_of(sampler: Sampler, steps: int) -> tuple[float, float]:
    """The largest mean distance from the exact path at timesteps from FROM_TIMESTEP, and the one at the end."""
    z = randn((500,), 1).double()
    sampler.set_timesteps(steps)
    levels = levels_of(sampler)
    places = walk(sampler, on_the_path(z, *levels[0]))
    distances = [
        float((place - on_the_path(z, *level)).abs().mean())
        for place, level in zip(places, [*levels[1:], (1.0, 0.0)], strict=True)
    ]
    far = sum(timestep >= FROM_TIMESTEP for timestep in sampler.timesteps[1:].tolist())
    return max(distances[:far]), distances[-1]


def order(make: Make, steps: int) -> float:
    """By which power of 2 the error falls when steps are doubled."""
    return math.log2(errors_of(make(), steps)[0] / errors_of(make(), 2 * steps)[0])


@pytest.mark.parametrize("steps", [30, 75, 166])
@pytest.mark.parametrize("make", FIRST_ORDER)
def test_twice_the_steps_halve_the_error_of_ddim_and_euler(make: Make, steps: int) -> None:
    assert order(make, steps) == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize("steps", [30, 75, 166])
@pytest.mark.parametrize("make", SECOND_ORDER)
def test_twice_the_steps_quarter_the_error_of_dpm_solver(make: Make, steps: int) -> None:
    assert order(make, steps) == pytest.approx(2, abs=0.2)


@pytest.mark.parametrize("steps", STEP_COUNTS)
@pytest.mark.parametrize("make", FIRST_ORDER)
def test_ddim_and_euler_keep_to_the_exact_path(make: Make, steps: int) -> None:
    assert errors_of(make(), steps)[0] < 0.2 / steps


@pytest.mark.parametrize("steps", STEP_COUNTS)
@pytest.mark.parametrize("make", SECOND_ORDER)
def test_dpm_solver_keeps_to_the_exact_path(make: Make, steps: int) -> None:
    assert errors_of(make(), steps)[0] < 2 / steps**2


@pytest.mark.parametrize("make", [*FIRST_ORDER, *SECOND_ORDER])
def test_every_sampler_ends_nearer_to_the_data_with_more_steps(make: Make) -> None:
    ends = [errors_of(make(), steps)[1] for steps in STEP_COUNTS]
    assert ends == sorted(ends, reverse=True)
    assert ends[-1] < 0.006


@pytest.mark.parametrize(("first", "second"), list(zip(FIRST_ORDER, SECOND_ORDER, strict=True)))
def test_dpm_solver_keeps_nearer_to_the_path_than_the_first_order_method(first: Any, second: Any) -> None:
    (make_first,), (make_second,) = first.values, second.values
    for steps in (30, 75, 333):
        assert errors_of(make_second(), steps)[0] < errors_of(make_first(), steps)[0] / 3


@pytest.mark.parametrize("kind", [DDIMSampler, DPMSolverSampler])
def test_from_pure_noise_only_zero_terminal_snr_leads_to_the_datas_mean(kind: Any) -> None:
    z = randn((4000,), 2).double()
    noise = (z - z.mean()) / z.std()
    means = {}
    for ends_in_noise in (False, True):
        sampler = kind(prediction="v", zero_terminal_snr=ends_in_noise)
        sampler.set_timesteps(333)
        samples = walk(sampler, noise)[-1]
        means[ends_in_noise] = float(samples.mean())
        assert float(samples.std()) == pytest.approx(STD, abs=0.01)
    assert means[True] == pytest.approx(MEAN, abs=0.002)
    # The plain schedule expects 0.068 of the mean in what it starts from, and noise has none of it.
    assert means[False] == pytest.approx(MEAN - STD * MEAN * 0.0683, abs=0.003)


def theirs(kind: Any, prediction: str, **config: Any) -> Any:
    """diffusers' scheduler with Stable Diffusion's betas, and latents never clipped."""
    name = {"epsilon": "epsilon", "v": "v_prediction"}[prediction]
    betas = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    return kind(prediction_type=name, **betas, **config)


def walks(reference: Any, sampler: Sampler) -> tuple[Tensor, Tensor]:
    """Where the same answers lead with theirs and with ours."""
    expected = ours = randn((1, 4, 4, 4), 13)
    for index, timestep in enumerate(reference.timesteps):
        answer = randn((1, 4, 4, 4), index)
        expected = reference.step(answer, timestep, expected).prev_sample
        ours = sampler.step(answer, index, ours)
    return expected, ours


@pytest.mark.parametrize("steps", [30, 50, 75])
@pytest.mark.parametrize("prediction", ["epsilon", "v"])
def test_ddim_agrees_with_diffusers_where_that_is_right(prediction: str, steps: int) -> None:
    reference = theirs(DDIMScheduler, prediction, clip_sample=False, set_alpha_to_one=True, timestep_spacing="leading")
    sampler = DDIMSampler(prediction=prediction, spacing="leading")
    reference.set_timesteps(steps)
    sampler.set_timesteps(steps)
    assert sampler.timesteps.tolist() == reference.timesteps.tolist()
    expected, ours = walks(reference, sampler)
    torch.testing.assert_close(ours, expected, atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize("steps", [20, 50])
def test_zero_terminal_snr_agrees_with_diffusers(steps: int) -> None:
    options = {"clip_sample": False, "timestep_spacing": "trailing", "rescale_betas_zero_snr": True}
    reference = theirs(DDIMScheduler, "v", **options)
    sampler = DDIMSampler(prediction="v", zero_terminal_snr=True)
    reference.set_timesteps(steps)
    sampler.set_timesteps(steps)
    assert sampler.timesteps.tolist() == reference.timesteps.tolist()
    expected, ours = walks(reference, sampler)
    torch.testing.assert_close(ours, expected, atol=2e-3, rtol=1e-3)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' own
@pytest.mark.parametrize("steps", [10, 20, 50])
@pytest.mark.parametrize("prediction", ["epsilon", "v"])
def test_dpm_solver_agrees_with_diffusers(prediction: str, steps: int) -> None:
    reference = theirs(DPMSolverMultistepScheduler, prediction, timestep_spacing="trailing")
    sampler = DPMSolverSampler(prediction=prediction)
    reference.set_timesteps(steps)
    sampler.set_timesteps(steps)
    assert sampler.timesteps.tolist() == reference.timesteps.tolist()
    expected, ours = walks(reference, sampler)
    torch.testing.assert_close(ours, expected, atol=5e-3, rtol=1e-3)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' own
@pytest.mark.parametrize("steps", [7, 20, 50])
def test_dpm_solver_on_the_straight_path_agrees_with_diffusers(steps: int) -> None:
    reference = DPMSolverMultistepScheduler(use_flow_sigmas=True, prediction_type="flow_prediction")
    sampler = FlowDPMSolverSampler()
    sampler.set_timesteps(steps)
    reference.set_timesteps(steps)
    reference.sigmas = torch.cat([sampler.timesteps / 1000, torch.zeros(1)])  # its own begin at 0.999
    expected, ours = walks(reference, sampler)
    torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("steps", [7, 50])
def test_euler_agrees_with_diffusers(steps: int) -> None:
    reference, sampler = FlowMatchEulerDiscreteScheduler(), FlowEulerSampler()
    reference.set_timesteps(steps, sigmas=[1 - i / steps for i in range(steps)])
    sampler.set_timesteps(steps)
    torch.testing.assert_close(sampler.timesteps, reference.timesteps, atol=1e-3, rtol=1e-5)
    expected, ours = walks(reference, sampler)
    torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-4)
