"""What the model is trained to answer: from noisy latents and the target, the clean ones come back exactly."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from support.engine.engine import job_here
from support.engine.gaussian import ddpm_levels
from support.engine.training_set import asked, make_run
from support.hosts.door import through_the_door
from torch import Generator, Tensor

from t2v_core.data.store.batches import load_batch
from t2v_core.diffusion.objectives import DDPMObjective, FlowObjective, make_objective
from t2v_core.diffusion.samplers import DDIMSampler, FlowEulerSampler, randn
from t2v_core.models.conditioning import Conditioning
from t2v_core.training.callbacks.held_out_loss import HeldOutLoss
from t2v_core.training.loss import prediction_error
from t2v_core.training.run import TrainingRun
from t2v_core.training.trainer import Trainer

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


# Weights


def snr_at(timestep: int, *, ends_in_noise: bool = False) -> float:
    signal, sigma = ddpm_levels(ends_in_noise=ends_in_noise)[timestep]
    return (signal / sigma) ** 2


@pytest.mark.parametrize("gamma", [1.0, 5.0])
def test_min_snr_weights_are_the_papers(gamma: float) -> None:
    timesteps = torch.arange(0, 1000, 37).float()
    epsilon = make_objective("epsilon", min_snr_gamma=gamma).weights(timesteps)
    v = make_objective("v", min_snr_gamma=gamma).weights(timesteps)
    assert epsilon is not None
    assert v is not None
    snrs = [snr_at(int(t)) for t in timesteps]
    assert epsilon.tolist() == pytest.approx([min(snr, gamma) / snr for snr in snrs], rel=1e-5)
    assert v.tolist() == pytest.approx([min(snr, gamma) / (snr + 1) for snr in snrs], rel=1e-5)


def test_the_timestep_without_signal_is_trained_at_full_weight() -> None:
    objective = make_objective("v", min_snr_gamma=5.0, zero_terminal_snr=True)
    weights = objective.weights(torch.tensor([0.0, 500.0, 998.0, 999.0]))
    assert weights is not None
    assert bool(weights.isfinite().all())
    assert weights[3] == 1
    assert float(weights[1]) == pytest.approx(
        min(snr_at(500, ends_in_noise=True), 5) / (snr_at(500, ends_in_noise=True) + 1), rel=1e-5
    )


def test_min_snr_weighs_the_clean_latents_error_alike_for_epsilon_and_v() -> None:
    timesteps = torch.arange(0, 1000, 37).float()
    epsilon, v = (make_objective(name, min_snr_gamma=5.0).weights(timesteps) for name in ("epsilon", "v"))
    assert epsilon is not None
    assert v is not None
    snr = torch.tensor([snr_at(int(t)) for t in timesteps])
    # |ε̂ − ε|² = SNR · |x̂₀ − x₀|² and |v̂ − v|² = (SNR + 1) · |x̂₀ − x₀|²
    torch.testing.assert_close(epsilon * snr, v * (snr + 1))
    assert float((epsilon * snr).max()) == pytest.approx(5, rel=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_without_gamma_all_timesteps_weigh_the_same(name: str) -> None:
    assert make_objective(name).weights(TIMESTEPS) is None


def trainer(root: Path, **values: Any) -> Trainer:
    """At step 0, with an output that is not zero."""
    run: TrainingRun = make_run(root, objective="v", **values)
    with torch.no_grad():
        run.plain_model.output_proj.weight.normal_(std=0.1, generator=Generator().manual_seed(1))
    return Trainer(run, job_here(root))


def one(prompts: Conditioning, row: int) -> Conditioning:
    return Conditioning(prompts.tokens[row : row + 1], prompts.mask[row : row + 1], prompts.pooled[row : row + 1])


@torch.no_grad()
def test_training_weighs_each_clips_error_and_the_held_out_loss_does_not(tmp_path: Path) -> None:
    plain, weighted = trainer(tmp_path / "plain"), trainer(tmp_path / "weighted", min_snr_gamma=5.0)
    run = plain.run
    latents = load_batch(run.store, [0, 1], 0, 0).latents
    prompts = run.fit(load_batch(run.store, [0, 1], 0, 0).prompts)
    noise, timesteps = randn(tuple(latents.shape), 3), torch.tensor([40.0, 700.0])
    weights = weighted.run.objective.weights(timesteps)
    assert weights is not None

    together = prediction_error(weighted.run, weighted.run.model, latents, noise, timesteps, prompts, weights)

    alone = [
        prediction_error(run, run.model, latents[i : i + 1], noise[i : i + 1], timesteps[i : i + 1], one(prompts, i))
        for i in range(2)
    ]
    expected = (float(alone[0]) * float(weights[0]) + float(alone[1]) * float(weights[1])) / 2
    assert float(together) == pytest.approx(expected, rel=1e-4)
    batch = load_batch(run.store, [0, 1], 0, 0)
    assert float(plain._loss(batch, 0)) != pytest.approx(float(weighted._loss(batch, 0)), rel=0.01)
    assert HeldOutLoss().measure(plain) == HeldOutLoss().measure(weighted)


@pytest.mark.parametrize(
    ("values", "sentence", "hint"),
    [
        ({"objective": "flow", "min_snr_gamma": 5}, "min-SNR weights are for epsilon and v", "--objective v"),
        ({"objective": "flow", "zero_terminal_snr": True}, "zero terminal SNR is for v", "--objective v"),
        ({"objective": "epsilon", "zero_terminal_snr": True}, "zero terminal SNR does not work with epsilon", "v"),
    ],
)
def test_what_an_objective_cannot_have_is_refused_before_any_work(
    values: dict[str, Any], sentence: str, hint: str, tmp_path: Path
) -> None:
    ended = through_the_door(tmp_path, "train", **asked(**values))
    assert sentence in ended.sentence
    assert hint in ended.error["hint"]
    assert not (tmp_path / "checkpoints").exists()


def test_a_run_with_zero_terminal_snr_and_min_snr_trains_resumes_and_stays_itself(tmp_path: Path) -> None:
    values = {"objective": "v", "zero_terminal_snr": True, "min_snr_gamma": 5, "max_steps": 3}
    ended = through_the_door(tmp_path, "train", **asked(**values))
    assert ended.code == 0
    assert all(math.isfinite(event["loss"]) for event in ended.of("step"))
    resumed = through_the_door(tmp_path, "train", **asked(resume=True, min_snr_gamma=1, max_steps=5))
    assert "min_snr_gamma was 5.0, now 1.0" in resumed.sentence
    again = through_the_door(tmp_path, "train", **asked(resume=True, max_steps=5))
    assert (again.code, again.of("step")[-1]["step"]) == (0, 5)
