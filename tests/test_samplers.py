"""Samplers against closed forms: for Gaussian data the right answer, and the right path, are known."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler
from torch import Tensor

from t2v_core.errors import AskedWrongly
from t2v_core.samplers import DDIMSampler, FlowEulerSampler, randn

MEAN, STD = 1.7, 0.4
SPACINGS = ("trailing", "leading", "linspace")
STEP_COUNTS = (7, 30, 50, 75, 1000)


def ddpm_schedule() -> list[tuple[float, float]]:
    """√ᾱ and √(1−ᾱ) of Stable Diffusion's 1000 timesteps, multiplied up one by one."""
    low, high, product, levels = math.sqrt(0.00085), math.sqrt(0.012), 1.0, []
    for t in range(1000):
        product *= 1 - (low + (high - low) * t / 999) ** 2
        levels.append((math.sqrt(product), math.sqrt(1 - product)))
    return levels


def exact_prediction(kind: str, x: Tensor, signal: float, sigma: float) -> Tensor:
    """What a perfect model says of data N(MEAN, STD²) at x = signal · data + sigma · noise."""
    variance = (signal * STD) ** 2 + sigma**2
    noise = sigma * (x - signal * MEAN) / variance
    clean = MEAN + signal * STD**2 * (x - signal * MEAN) / variance
    return {"epsilon": noise, "v": signal * noise - sigma * clean, "flow": noise - clean}[kind]


def on_the_path(z: Tensor, signal: float, sigma: float) -> Tensor:
    """Where the probability-flow ODE through MEAN + STD · z stands at this noise level."""
    return signal * MEAN + math.sqrt((signal * STD) ** 2 + sigma**2) * z


def sample_ddim(steps: int, spacing: str, prediction: str, z: Tensor) -> Tensor:
    levels = ddpm_schedule()
    sampler = DDIMSampler(prediction=prediction, spacing=spacing)
    sampler.set_timesteps(steps)
    x = on_the_path(z, *levels[int(sampler.timesteps[0])])
    for index, timestep in enumerate(sampler.timesteps.tolist()):
        x = sampler.step(exact_prediction(prediction, x, *levels[int(timestep)]), index, x)
    return x


def sample_flow(steps: int, z: Tensor) -> Tensor:
    sampler = FlowEulerSampler()
    sampler.set_timesteps(steps)
    x = on_the_path(z, 0.0, 1.0)
    for index, timestep in enumerate(sampler.timesteps.tolist()):
        sigma = timestep / 1000
        x = sampler.step(exact_prediction("flow", x, 1 - sigma, sigma), index, x)
    return x


def error_of(samples: Tensor, z: Tensor) -> float:
    return float((samples - (MEAN + STD * z)).abs().mean())


@pytest.mark.parametrize("prediction", ["epsilon", "v"])
@pytest.mark.parametrize("spacing", SPACINGS)
def test_ddim_follows_the_exact_path_closer_with_more_steps(spacing: str, prediction: str) -> None:
    z = randn((4000,), 1).double()
    errors = [error_of(sample_ddim(steps, spacing, prediction, z), z) for steps in STEP_COUNTS]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.003
    assert errors[1] < 0.1


@pytest.mark.parametrize("steps", [30, 75, 400, 1000])
@pytest.mark.parametrize("spacing", SPACINGS)
def test_ddim_samples_have_the_datas_mean_and_deviation(spacing: str, steps: int) -> None:
    z = randn((4000,), 2).double()
    samples = sample_ddim(steps, spacing, "epsilon", (z - z.mean()) / z.std())
    assert float(samples.mean()) == pytest.approx(MEAN, abs=0.01)
    assert float(samples.std()) == pytest.approx(STD, abs=4 / steps + 0.002)


def test_euler_follows_the_exact_path_closer_with_more_steps() -> None:
    z = randn((4000,), 3).double()
    errors = [error_of(sample_flow(steps, z), z) for steps in STEP_COUNTS]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.003


def test_euler_samples_have_the_datas_mean_and_deviation() -> None:
    z = randn((4000,), 4).double()
    samples = sample_flow(400, (z - z.mean()) / z.std())
    assert float(samples.mean()) == pytest.approx(MEAN, abs=0.01)
    assert float(samples.std()) == pytest.approx(STD, abs=0.01)


@pytest.mark.parametrize("prediction", ["epsilon", "v"])
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("steps", [7, 30, 50, 75])
def test_every_ddim_step_goes_to_the_next_timestep_of_its_list(steps: int, spacing: str, prediction: str) -> None:
    levels = ddpm_schedule()
    sampler = DDIMSampler(prediction=prediction, spacing=spacing)
    sampler.set_timesteps(steps)
    timesteps = [int(t) for t in sampler.timesteps]
    x, answer = randn((5,), 5).double(), randn((5,), 6).double()
    for index, timestep in enumerate(timesteps):
        a, s = levels[timestep]
        a_next, s_next = levels[timesteps[index + 1]] if index + 1 < steps else (1.0, 0.0)
        noise = answer if prediction == "epsilon" else s * x + a * answer
        expected = a_next * (x - s * noise) / a + s_next * noise
        torch.testing.assert_close(sampler.step(answer, index, x), expected, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("steps", [1, 7, 30, 50, 75, 333, 1000])
def test_timesteps_fall_from_the_noisiest_and_never_repeat(steps: int) -> None:
    for spacing in SPACINGS:
        sampler = DDIMSampler(spacing=spacing)
        sampler.set_timesteps(steps)
        timesteps = sampler.timesteps.tolist()
        assert len(timesteps) == steps
        assert timesteps == sorted(set(timesteps), reverse=True)
        assert 0 <= timesteps[-1] <= timesteps[0] <= 999
        assert spacing == "leading" or timesteps[0] == 999


@pytest.mark.parametrize("steps", [1, 7, 50])
@pytest.mark.parametrize("prediction", ["epsilon", "v"])
def test_a_perfect_model_of_one_point_leads_to_it(prediction: str, steps: int) -> None:
    point, noise = randn((2, 3), 7).double(), randn((2, 3), 8).double()
    sampler = DDIMSampler(prediction=prediction)
    sampler.set_timesteps(steps)
    x = sampler.add_noise(point, noise, sampler.timesteps[:1].expand(2))
    for index, timestep in enumerate(sampler.timesteps):
        signal, sigma = sampler.signal_and_sigma(timestep[None], like=x)
        true_noise = (x - signal * point) / sigma
        x = sampler.step(true_noise if prediction == "epsilon" else signal * true_noise - sigma * point, index, x)
    torch.testing.assert_close(x, point, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("steps", [1, 7, 50])
def test_a_perfect_velocity_of_one_point_leads_to_it(steps: int) -> None:
    point, x = randn((2, 3), 7).double(), randn((2, 3), 8).double()
    sampler = FlowEulerSampler()
    sampler.set_timesteps(steps)
    for index, timestep in enumerate(sampler.timesteps):
        x = sampler.step((x - point) / (timestep / 1000), index, x)
    torch.testing.assert_close(x, point, atol=1e-6, rtol=1e-6)


def test_noise_is_added_as_ddpm_and_flow_matching_say() -> None:
    latents, noise = randn((3, 2, 4, 2, 2), 9).double(), randn((3, 2, 4, 2, 2), 10).double()
    timesteps = torch.tensor([0.0, 500.0, 999.0])
    ddim = DDIMSampler().add_noise(latents, noise, timesteps)
    flow = FlowEulerSampler().add_noise(latents, noise, timesteps)
    for row, timestep in enumerate((0, 500, 999)):
        signal, sigma = ddpm_schedule()[timestep]
        torch.testing.assert_close(ddim[row], signal * latents[row] + sigma * noise[row])
        mixed = (1 - timestep / 1000) * latents[row] + timestep / 1000 * noise[row]
        torch.testing.assert_close(flow[row], mixed, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(("sampler", "timestep"), [(DDIMSampler(), 299), (FlowEulerSampler(), 300)])
def test_strength_03_of_50_takes_15_steps(sampler: Any, timestep: int) -> None:
    sampler.set_timesteps(50)
    first = sampler.skip_to(0.3)
    assert len(sampler.timesteps) - first == 15
    assert float(sampler.timesteps[first]) == pytest.approx(timestep, abs=1e-3)


@pytest.mark.parametrize(
    ("strength", "steps", "taken"), [(0.29, 100, 29), (0.57, 100, 57), (0.3, 50, 15), (1, 50, 50), (0.35, 10, 3)]
)
def test_strength_counts_steps_as_people_do(strength: float, steps: int, taken: int) -> None:
    for sampler in (DDIMSampler(), FlowEulerSampler()):
        sampler.set_timesteps(steps)
        assert steps - sampler.skip_to(strength) == taken


@pytest.mark.parametrize(("strength", "steps"), [(0, 50), (0.01, 50), (0.3, 3)])
def test_a_strength_that_leaves_no_step_is_refused_with_a_way_out(strength: float, steps: int) -> None:
    sampler = DDIMSampler()
    sampler.set_timesteps(steps)
    with pytest.raises(AskedWrongly, match=f"strength {strength:g} of {steps} steps is less than one step") as caught:
        sampler.skip_to(strength)
    assert "use a strength of at least" in caught.value.hint


@pytest.mark.parametrize("strength", [-0.1, 1.1, 30, float("nan")])
def test_a_strength_outside_0_to_1_is_refused(strength: float) -> None:
    sampler = FlowEulerSampler()
    sampler.set_timesteps(10)
    with pytest.raises(AskedWrongly, match="must lie between 0 and 1"):
        sampler.skip_to(strength)


@pytest.mark.parametrize("sampler", [DDIMSampler(), FlowEulerSampler()])
@pytest.mark.parametrize("steps", [0, -1, 1001])
def test_a_number_of_steps_that_cannot_be_is_refused(sampler: Any, steps: int) -> None:
    with pytest.raises(AskedWrongly, match="between 1 and 1000"):
        sampler.set_timesteps(steps)


@pytest.mark.parametrize(
    "sampler", [DDIMSampler(prediction="v", spacing="linspace", beta_end=0.02), FlowEulerSampler()]
)
def test_a_sampler_is_the_same_after_its_configuration_went_through_a_file(tmp_path: Path, sampler: Any) -> None:
    sampler.save_config(tmp_path)
    loaded = type(sampler).from_pretrained(tmp_path)
    again = type(sampler).from_config(sampler.config)
    for other in (loaded, again):
        sampler.set_timesteps(30)
        other.set_timesteps(30)
        assert other.prediction == sampler.prediction
        assert torch.equal(other.timesteps, sampler.timesteps)
        x, answer = randn((4,), 11), randn((4,), 12)
        assert torch.equal(other.step(answer, 3, x), sampler.step(answer, 3, x))


@pytest.mark.parametrize("steps", [30, 50, 75])
@pytest.mark.parametrize(("prediction", "theirs"), [("epsilon", "epsilon"), ("v", "v_prediction")])
def test_ddim_agrees_with_diffusers_where_that_is_right(prediction: str, theirs: str, steps: int) -> None:
    reference = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=True,
        timestep_spacing="leading",
        prediction_type=theirs,
    )
    sampler = DDIMSampler(prediction=prediction, spacing="leading")
    reference.set_timesteps(steps)
    sampler.set_timesteps(steps)
    assert sampler.timesteps.tolist() == reference.timesteps.tolist()
    x = randn((1, 4, 4, 4), 13)
    ours, expected = x, x
    for index, timestep in enumerate(reference.timesteps):
        answer = randn((1, 4, 4, 4), index)
        ours = sampler.step(answer, index, ours)
        expected = reference.step(answer, timestep, expected).prev_sample
    torch.testing.assert_close(ours, expected, atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize("steps", [7, 50])
def test_euler_agrees_with_diffusers(steps: int) -> None:
    reference, sampler = FlowMatchEulerDiscreteScheduler(), FlowEulerSampler()
    reference.set_timesteps(steps, sigmas=[1 - i / steps for i in range(steps)])
    sampler.set_timesteps(steps)
    torch.testing.assert_close(sampler.timesteps, reference.timesteps, atol=1e-3, rtol=1e-5)
    x = randn((1, 4, 4, 4), 14)
    ours, expected = x, x
    for index, timestep in enumerate(reference.timesteps):
        answer = randn((1, 4, 4, 4), index)
        ours = sampler.step(answer, index, ours)
        expected = reference.step(answer, timestep, expected).prev_sample
    torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-4)


def test_noise_depends_on_its_seed_alone() -> None:
    assert torch.equal(randn((3, 2), 7), randn((3, 2), 7))
    assert not torch.equal(randn((3, 2), 7), randn((3, 2), 8))
