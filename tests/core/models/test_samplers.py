"""Samplers: which timesteps they take, where they begin, what they remember, and which model they fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from support.engine.gaussian import ddpm_levels, levels_of, on_the_path, walk

from t2v_core.diffusion.samplers import (
    SAMPLERS,
    DDIMSampler,
    DPMSolverSampler,
    FlowDPMSolverSampler,
    FlowEulerSampler,
    choose_sampler,
    randn,
)
from t2v_core.errors import InvalidRequest

SPACINGS = ("trailing", "leading", "linspace")


@pytest.mark.parametrize("prediction", ["epsilon", "v"])
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("steps", [7, 30, 50, 75])
def test_every_ddim_step_goes_to_the_next_timestep_of_its_list(steps: int, spacing: str, prediction: str) -> None:
    levels = ddpm_levels()
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
@pytest.mark.parametrize("kind", [DDIMSampler, DPMSolverSampler])
def test_a_perfect_model_of_one_point_leads_to_it(kind: Any, prediction: str, steps: int) -> None:
    point, noise = randn((2, 3), 7).double(), randn((2, 3), 8).double()
    sampler = kind(prediction=prediction)
    sampler.set_timesteps(steps)
    x = sampler.add_noise(point, noise, sampler.timesteps[:1].expand(2))
    for index, timestep in enumerate(sampler.timesteps):
        signal, sigma = sampler.signal_and_sigma(timestep[None], like=x)
        true_noise = (x - signal * point) / sigma
        x = sampler.step(true_noise if prediction == "epsilon" else signal * true_noise - sigma * point, index, x)
    torch.testing.assert_close(x, point, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("steps", [1, 7, 50])
@pytest.mark.parametrize("kind", [FlowEulerSampler, FlowDPMSolverSampler])
def test_a_perfect_velocity_of_one_point_leads_to_it(kind: Any, steps: int) -> None:
    point, x = randn((2, 3), 7).double(), randn((2, 3), 8).double()
    sampler = kind()
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
        signal, sigma = ddpm_levels()[timestep]
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
    with pytest.raises(InvalidRequest, match=f"strength {strength:g} of {steps} steps is less than one step") as caught:
        sampler.skip_to(strength)
    assert "use a strength of at least" in caught.value.hint


@pytest.mark.parametrize("strength", [-0.1, 1.1, 30, float("nan")])
def test_a_strength_outside_0_to_1_is_refused(strength: float) -> None:
    sampler = FlowEulerSampler()
    sampler.set_timesteps(10)
    with pytest.raises(InvalidRequest, match="must lie between 0 and 1"):
        sampler.skip_to(strength)


@pytest.mark.parametrize("sampler", [DDIMSampler(), FlowEulerSampler()])
@pytest.mark.parametrize("steps", [0, -1, 1001])
def test_a_number_of_steps_that_cannot_be_is_refused(sampler: Any, steps: int) -> None:
    with pytest.raises(InvalidRequest, match="between 1 and 1000"):
        sampler.set_timesteps(steps)


@pytest.mark.parametrize(
    "sampler",
    [
        DDIMSampler(prediction="v", spacing="linspace", beta_end=0.02),
        DPMSolverSampler(prediction="v", zero_terminal_snr=True),
        FlowEulerSampler(),
        FlowDPMSolverSampler(),
    ],
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


def test_noise_depends_on_its_seed_alone() -> None:
    assert torch.equal(randn((3, 2), 7), randn((3, 2), 7))
    assert not torch.equal(randn((3, 2), 7), randn((3, 2), 8))


@pytest.mark.parametrize("name", ["ddim", "dpm++"])
def test_an_answer_at_zero_snr_leads_on_with_finite_numbers(name: str) -> None:
    sampler = choose_sampler(DDIMSampler(prediction="v", zero_terminal_snr=True), name)
    for steps in (1, 2, 30):
        sampler.set_timesteps(steps)
        assert sampler.level(0) == (0.0, 1.0)
        assert levels_of(sampler)[0] == (0.0, 1.0)
        places = walk(sampler, on_the_path(randn((50,), 1), 0.0, 1.0))
        assert all(bool(place.isfinite().all()) for place in places)


def test_zero_terminal_snr_keeps_the_first_level_and_takes_all_signal_from_the_last() -> None:
    plain, zero = DDIMSampler(prediction="v"), DDIMSampler(prediction="v", zero_terminal_snr=True)
    assert float(zero.alphas_cumprod[-1]) == 0
    assert float(zero.alphas_cumprod[0]) == pytest.approx(float(plain.alphas_cumprod[0]), rel=1e-12)
    assert zero.alphas_cumprod.tolist() == sorted(zero.alphas_cumprod.tolist(), reverse=True)
    expected = torch.tensor([signal for signal, _ in ddpm_levels(ends_in_noise=True)], dtype=torch.float64)
    torch.testing.assert_close(zero.alphas_cumprod.sqrt(), expected)


@pytest.mark.parametrize("kind", [DDIMSampler, DPMSolverSampler])
def test_zero_terminal_snr_is_refused_with_epsilon(kind: Any) -> None:
    with pytest.raises(InvalidRequest, match="zero terminal SNR does not work with epsilon") as caught:
        kind(prediction="epsilon", zero_terminal_snr=True)
    assert "--objective v" in caught.value.hint


@pytest.mark.parametrize(
    ("trained", "name", "kind"),
    [
        (DDIMSampler(), "auto", DDIMSampler),
        (DDIMSampler(), "dpm++", DPMSolverSampler),
        (DPMSolverSampler(), "ddim", DDIMSampler),
        (FlowEulerSampler(), "auto", FlowEulerSampler),
        (FlowEulerSampler(), "euler", FlowEulerSampler),
        (FlowEulerSampler(), "dpm++", FlowDPMSolverSampler),
    ],
)
def test_another_way_back_is_chosen_by_name(trained: Any, name: str, kind: Any) -> None:
    assert type(choose_sampler(trained, name)) is kind


def test_another_way_back_keeps_the_schedule() -> None:
    trained = DDIMSampler(prediction="v", beta_end=0.02, spacing="linspace", zero_terminal_snr=True)
    chosen = choose_sampler(trained, "dpm++")
    assert {k: v for k, v in chosen.config.items() if k[0] != "_"} == {
        k: v for k, v in trained.config.items() if k[0] != "_"
    }
    for each in (trained, chosen):
        each.set_timesteps(30)
    assert torch.equal(chosen.timesteps, trained.timesteps)
    assert chosen.level(7) == trained.level(7)


@pytest.mark.parametrize(
    ("trained", "name", "fitting"),
    [
        (DDIMSampler(prediction="v"), "euler", "ddim or dpm++"),
        (FlowEulerSampler(), "ddim", "dpm++ or euler"),
        (FlowDPMSolverSampler(), "ddim", "dpm++ or euler"),
    ],
)
def test_a_way_back_that_does_not_fit_is_refused_with_those_that_do(trained: Any, name: str, fitting: str) -> None:
    with pytest.raises(InvalidRequest, match=f"the sampler {name} does not fit this model") as caught:
        choose_sampler(trained, name)
    assert caught.value.message.endswith(f"which predicts {trained.prediction}")
    assert fitting in caught.value.hint


def test_samplers_are_found_by_the_names_that_checkpoints_have() -> None:
    assert {name: kind.name for name, kind in SAMPLERS.items()} == {
        "DDIMSampler": "ddim",
        "FlowEulerSampler": "euler",
        "DPMSolverSampler": "dpm++",
        "FlowDPMSolverSampler": "dpm++",
        "FlowMapSampler": "map",
    }
