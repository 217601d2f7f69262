"""DPM-Solver++ as a part: what it remembers and forgets, its first and last steps, and where it takes them."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from t2v_core.diffusion.samplers import DPMSolverSampler, FlowDPMSolverSampler, choose_sampler, randn
from t2v_core.errors import InvalidRequest

SECOND_ORDER = [DPMSolverSampler(prediction="v"), DPMSolverSampler(), FlowDPMSolverSampler()]


@pytest.mark.parametrize("sampler", SECOND_ORDER)
@pytest.mark.parametrize("first", [1, 4, 9])
def test_a_run_that_begins_anywhere_takes_nothing_from_the_one_before(sampler: Any, first: int) -> None:
    def from_first(other: Any) -> list[Any]:
        x, places = randn((5,), 1).double(), []
        for index in range(first, 10):
            x = other.step(randn((5,), index).double(), index, x)
            places.append(x)
        return places

    fresh = type(sampler)(**{key: value for key, value in sampler.config.items() if key[0] != "_"})
    for each in (sampler, fresh):
        each.set_timesteps(10)
    for index in range(first):  # a run that was ended just before
        sampler.step(randn((5,), 50 + index).double(), index, randn((5,), 60).double())
    sampler.restart()
    for ours, expected in zip(from_first(sampler), from_first(fresh), strict=True):
        assert torch.equal(ours, expected)


@pytest.mark.parametrize("sampler", SECOND_ORDER)
def test_choosing_steps_anew_forgets_the_steps_taken(sampler: Any) -> None:
    x, answer = randn((5,), 1).double(), randn((5,), 2).double()
    sampler.set_timesteps(10)
    alone = sampler.step(answer, 4, x)
    sampler.step(randn((5,), 3).double(), 3, x)
    assert not torch.equal(sampler.step(answer, 4, x), alone)
    sampler.step(randn((5,), 3).double(), 3, x)
    sampler.set_timesteps(10)
    assert torch.equal(sampler.step(answer, 4, x), alone)


@pytest.mark.parametrize("sampler", SECOND_ORDER)
def test_a_step_that_does_not_follow_the_last_one_is_a_first_step(sampler: Any) -> None:
    x, answer = randn((5,), 1).double(), randn((5,), 2).double()
    sampler.set_timesteps(10)
    alone = sampler.step(answer, 4, x)
    for other in (2, 5, 9):
        sampler.step(randn((5,), 3).double(), other, x)
        assert torch.equal(sampler.step(answer, 4, x), alone)


@pytest.mark.parametrize("sampler", SECOND_ORDER)
def test_the_first_and_the_last_step_are_the_first_order_methods(sampler: Any) -> None:
    plain = choose_sampler(sampler, "euler" if sampler.prediction == "flow" else "ddim")
    for steps in (1, 2, 7):
        sampler.set_timesteps(steps)
        plain.timesteps = sampler.timesteps
        answers = [randn((5,), index).double() for index in range(steps)]
        x = randn((5,), 9).double()
        first = sampler.step(answers[0], 0, x)
        torch.testing.assert_close(first, plain.step(answers[0], 0, x), atol=1e-6, rtol=1e-6)
        if steps > 1:
            sampler.step(answers[-2], steps - 2, x)
            last = sampler.step(answers[-1], steps - 1, x)
            torch.testing.assert_close(last, plain.step(answers[-1], steps - 1, x), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(("strength", "steps", "taken"), [(0.3, 50, 20), (0.5, 10, 5), (1, 50, 50), (0.9, 50, 38)])
def test_a_strength_means_the_same_noise_where_steps_are_not_even(strength: float, steps: int, taken: int) -> None:
    sampler = FlowDPMSolverSampler()
    sampler.set_timesteps(steps)
    first = sampler.skip_to(strength)
    assert steps - first == taken
    assert float(sampler.timesteps[first]) == pytest.approx(1000 * strength, abs=12)
    with pytest.raises(InvalidRequest, match="less than one step"):
        sampler.skip_to(0.01)
    with pytest.raises(InvalidRequest, match="must lie between 0 and 1"):
        sampler.skip_to(1.1)


@pytest.mark.parametrize("steps", [1, 2, 7, 30, 333, 1000])
def test_steps_of_dpm_solver_on_the_straight_path_are_even_in_the_logarithm_of_the_snr(steps: int) -> None:
    sampler = FlowDPMSolverSampler()
    sampler.set_timesteps(steps)
    timesteps = sampler.timesteps.double().tolist()
    assert (len(timesteps), timesteps[0]) == (steps, 1000)
    assert timesteps == sorted(set(timesteps), reverse=True)
    for index, timestep in enumerate(timesteps[1:], 1):
        u = 1 - index / steps
        assert math.log((1000 - timestep) / timestep) == pytest.approx(2 * math.log((1 - u) / u), abs=0.05)  # float32
