"""What the model is trained to answer: from noisy latents and the target, the clean ones come back exactly."""

from __future__ import annotations

import pytest
import torch
from torch import Generator, Tensor

from t2v_core.diffusion import DDPMObjective, FlowObjective, make_objective
from t2v_core.samplers import DDIMSampler, FlowEulerSampler, randn

NAMES = ("epsilon", "v", "flow")
TIMESTEPS = torch.tensor([0.0, 250.0, 700.0, 999.0])


def latents_and_noise() -> tuple[Tensor, Tensor]:
    return randn((4, 2, 4, 3, 3), 1).double(), randn((4, 2, 4, 3, 3), 2).double()


def test_each_objective_brings_the_sampler_that_undoes_it() -> None:
    samplers = {name: make_objective(name).sampler for name in NAMES}
    assert {name: type(sampler) for name, sampler in samplers.items()} == {
        "epsilon": DDIMSampler,
        "v": DDIMSampler,
        "flow": FlowEulerSampler,
    }
    assert [samplers[name].prediction for name in NAMES] == list(NAMES)


def test_epsilon_is_the_noise_and_gives_the_latents_back() -> None:
    latents, noise = latents_and_noise()
    objective = make_objective("epsilon")
    target = objective.target(latents, noise, TIMESTEPS)
    noisy = objective.sampler.add_noise(latents, noise, TIMESTEPS)
    signal, sigma = DDIMSampler().signal_and_sigma(TIMESTEPS, like=latents)
    assert torch.equal(target, noise)
    torch.testing.assert_close((noisy - sigma * target) / signal, latents)


def test_v_gives_both_latents_and_noise_back() -> None:
    latents, noise = latents_and_noise()
    objective = make_objective("v")
    target = objective.target(latents, noise, TIMESTEPS)
    noisy = objective.sampler.add_noise(latents, noise, TIMESTEPS)
    signal, sigma = DDIMSampler().signal_and_sigma(TIMESTEPS, like=latents)
    torch.testing.assert_close(signal * noisy - sigma * target, latents)
    torch.testing.assert_close(sigma * noisy + signal * target, noise)


def test_flow_is_a_straight_line_from_latents_to_noise() -> None:
    latents, noise = latents_and_noise()
    objective = make_objective("flow")
    timesteps = TIMESTEPS.double()
    target = objective.target(latents, noise, timesteps)
    noisy = objective.sampler.add_noise(latents, noise, timesteps)
    sigma = (timesteps / 1000).reshape(-1, 1, 1, 1, 1)
    torch.testing.assert_close(noisy - sigma * target, latents)
    torch.testing.assert_close(noisy + (1 - sigma) * target, noise)


@pytest.mark.parametrize("name", NAMES)
def test_one_step_of_the_sampler_undoes_the_noise_when_the_answer_is_the_target(name: str) -> None:
    latents, noise = latents_and_noise()
    objective = make_objective(name)
    objective.sampler.set_timesteps(1)
    timesteps = objective.sampler.timesteps.expand(4)
    noisy = objective.sampler.add_noise(latents, noise, timesteps)
    answer = objective.target(latents, noise, timesteps)
    torch.testing.assert_close(objective.sampler.step(answer, 0, noisy), latents)


@pytest.mark.parametrize("name", NAMES)
def test_timesteps_lie_in_range_and_follow_from_the_generator(name: str) -> None:
    objective = make_objective(name)
    drawn = objective.draw_timesteps(20_000, Generator().manual_seed(5))
    assert torch.equal(drawn, objective.draw_timesteps(20_000, Generator().manual_seed(5)))
    assert not torch.equal(drawn, objective.draw_timesteps(20_000, Generator().manual_seed(6)))
    assert drawn.dtype == torch.float32
    assert 0 <= float(drawn.min()) < 50
    assert 950 < float(drawn.max()) <= 1000


def test_ddpm_timesteps_are_whole_and_even() -> None:
    drawn = make_objective("epsilon").draw_timesteps(50_000, Generator().manual_seed(5))
    assert torch.equal(drawn, drawn.floor())
    assert float(drawn.max()) == 999
    assert float(drawn.mean()) == pytest.approx(499.5, abs=4)


def test_flow_timesteps_are_logit_normal() -> None:
    drawn = FlowObjective(FlowEulerSampler(), logit_mean=0.5, logit_std=0.8).draw_timesteps(
        50_000, Generator().manual_seed(5)
    )
    logits = torch.logit(drawn / 1000)
    assert float(logits.mean()) == pytest.approx(0.5, abs=0.02)
    assert float(logits.std()) == pytest.approx(0.8, abs=0.02)


@pytest.mark.parametrize("name", NAMES)
def test_timesteps_for_comparing_are_fixed_and_spread_as_those_that_are_drawn(name: str) -> None:
    objective = make_objective(name)
    fixed = objective.quantile_timesteps(8)
    drawn = objective.draw_timesteps(50_000, Generator().manual_seed(5))
    assert torch.equal(fixed, objective.quantile_timesteps(8))
    expected = torch.quantile(drawn, (torch.arange(8) + 0.5) / 8)
    torch.testing.assert_close(fixed, expected, atol=12, rtol=0)


def test_ddpm_quantiles_are_these() -> None:
    objective = DDPMObjective(DDIMSampler())
    assert objective.quantile_timesteps(4).tolist() == [125, 375, 625, 875]
