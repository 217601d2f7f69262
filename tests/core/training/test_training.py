"""What training learns, keeps and says; and when it stops rather than spoil the weights."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from support.engine.engine import StopsAfter, events_of, job_here
from support.engine.training_set import CLIPS, STEPS_AN_EPOCH, asked, contents, data_set, make_run
from support.engine.warm_engine import begin, run_warm
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from t2v_core.assemble import load_pipeline
from t2v_core.checkpoints.open import open_checkpoint
from t2v_core.data.store.batches import load_batch
from t2v_core.data.store.latents import LatentStore
from t2v_core.data.store.shards import Shard, write_shard
from t2v_core.errors import InvalidRequest, Stopped, WorkFailed
from t2v_core.models.conditioning import null_prompt
from t2v_core.models.denoisers.by_name import make_denoiser
from t2v_core.specs import TrainSpec
from t2v_core.training.callbacks.held_out_loss import HeldOutLoss
from t2v_core.training.callbacks.order import training_callbacks
from t2v_core.training.optimizers.optimizer import optimizer_tensors
from t2v_core.training.resume import restore
from t2v_core.training.setup import model_config
from t2v_core.training.trainer import Trainer
from t2v_core.verbs.train import train
from t2v_core.workspace import Dataset


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with one training of 66 steps."""
    root = tmp_path_factory.mktemp("trained")
    child = begin(root, "train", **asked(epochs=6, learning_rate=5e-3, ema_decay=0.9))
    assert child.end().code == 0
    child.directory.rename(root / "jobs/first")
    return root


@pytest.fixture(scope="module")
def events(root: Path) -> list[dict[str, Any]]:
    return events_of(root / "jobs/first")


@pytest.fixture(scope="module")
def checkpoint(root: Path) -> Path:
    return root / "checkpoints/checkpoint_epoch_6"


@pytest.fixture(scope="module")
def store() -> LatentStore:
    return LatentStore.open(Dataset(data_set()), "train")


def of(events: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [event for event in events if event["kind"] == kind]


# Learning, and what is said of it


def test_the_loss_goes_down_on_a_small_set(events: list[dict[str, Any]]) -> None:
    losses = [event["loss"] for event in of(events, "step")]
    held_out = [event["value"] for event in of(events, "score")]
    assert sum(losses[-11:]) < 0.6 * sum(losses[:11])
    assert held_out[-1] < 0.7 * held_out[0]


def test_events_say_what_they_are_documented_to_say(events: list[dict[str, Any]], root: Path) -> None:
    steps, total = of(events, "step"), 6 * STEPS_AN_EPOCH
    assert [event["step"] for event in steps] == list(range(1, total + 1))
    fields = {"step", "total", "epoch", "loss", "learning_rate", "grad_norm", "samples_per_s", "data_wait"}
    assert all(fields <= event.keys() for event in steps)
    assert [event["epoch"] for event in steps] == [1 + number // STEPS_AN_EPOCH for number in range(total)]
    assert {event["total"] for event in steps} == {total}
    assert all(0 <= event["data_wait"] <= 1 and event["samples_per_s"] > 0 for event in steps)
    assert [(e["path"], e["epoch"], e["step"], e["reason"]) for e in of(events, "checkpoint")] == [
        (f"checkpoints/checkpoint_epoch_{epoch}", epoch, epoch * STEPS_AN_EPOCH, "due") for epoch in range(1, 7)
    ]
    assert [(e["name"], e["step"]) for e in of(events, "score")] == [
        ("held_out_loss", epoch * STEPS_AN_EPOCH) for epoch in range(1, 7)
    ]
    done = of(events, "done")[0]
    assert (done["checkpoint"], done["steps"]) == (str(root / "checkpoints/checkpoint_epoch_6"), total)
    assert done["seconds"] > 0
    assert done["loss"] == pytest.approx(steps[-1]["loss"], abs=1e-6)
    assert done["held_out_loss"] == pytest.approx(of(events, "score")[-1]["value"], abs=1e-6)


def scalars(job: Path) -> EventAccumulator:
    read = EventAccumulator(str(job / "tensorboard"))
    read.Reload()
    return read


def test_tensorboard_shows_the_same_figures(events: list[dict[str, Any]], root: Path) -> None:
    read = scalars(root / "jobs/first")
    assert {"loss", "learning_rate", "grad_norm", "held_out_loss", "samples_per_s"} <= set(read.Tags()["scalars"])
    assert [(point.step, pytest.approx(point.value, abs=1e-5)) for point in read.Scalars("loss")] == [
        (event["step"], event["loss"]) for event in of(events, "step")
    ]


def test_a_stopped_run_has_its_figures_in_tensorboard_too(tmp_path: Path) -> None:
    job = job_here(tmp_path)
    with pytest.raises(Stopped, match="after step 5 of"):
        train(TrainSpec.model_validate(asked()), StopsAfter(job.directory, job.workspace, job.events))
    assert [point.step for point in scalars(job.directory).Scalars("loss")] == [1, 2, 3, 4, 5]


# Averages


def test_averaged_weights_differ_from_the_last_step_s_and_are_restored(checkpoint: Path, root: Path) -> None:
    saved = open_checkpoint(checkpoint)
    averages, raw = saved.weights("ema"), saved.weights("raw")
    run = restore(TrainSpec(resume=True), job_here(root))
    names = [name for name, _ in run.plain_model.named_parameters()]
    assert [name for name in names if torch.equal(averages[name], raw[name])] == []
    assert all(torch.equal(run.ema.state_dict()[name], averages[name]) for name in names)
    assert all(torch.equal(p, raw[name]) for name, p in run.plain_model.named_parameters())


def test_the_average_is_what_the_formula_says(tmp_path: Path) -> None:
    run = make_run(tmp_path, ema_decay=0.9)
    trainer = Trainer(run, job_here(tmp_path))
    expected = {name: p.detach().clone() for name, p in run.plain_model.named_parameters()}
    for step in range(4):
        trainer._step([load_batch(run.store, run.plan.rows(step, 0), 0, 0)])
        run.step += 1
        decay = min(0.9, (1 + step) / (10 + step))
        for name, parameter in run.plain_model.named_parameters():
            expected[name] = decay * expected[name] + (1 - decay) * parameter.detach()
    for name, average in run.ema.state_dict().items():
        torch.testing.assert_close(average, expected[name])


@pytest.mark.parametrize("weights", ["ema", "raw"])
def test_generation_loads_the_average_unless_told_otherwise(weights: str, checkpoint: Path) -> None:
    how = {} if weights == "ema" else {"weights": "raw"}
    loaded = load_pipeline(open_checkpoint(checkpoint), device="cpu", precision="fp32", **how).denoiser.state_dict()
    expected = open_checkpoint(checkpoint).weights(weights)
    assert loaded.keys() == expected.keys()
    assert all(torch.equal(loaded[name], expected[name]) for name in expected)


# The null prompt


def test_the_null_prompt_in_a_checkpoint_is_the_encoded_empty_prompt(checkpoint: Path, store: LatentStore) -> None:
    for which in ("ema", "raw"):
        weights = open_checkpoint(checkpoint).weights(which)
        assert torch.equal(weights["null_tokens"], store.null_prompt.tokens)
        assert torch.equal(weights["null_pooled"], store.null_prompt.pooled)


def test_training_drops_captions_to_what_guidance_starts_from(checkpoint: Path, root: Path) -> None:
    trainer = Trainer(restore(TrainSpec(resume=True), job_here(root)), job_here(root))
    pipeline = load_pipeline(open_checkpoint(checkpoint), device="cpu", precision="fp32")
    assert torch.equal(trainer.null.tokens, null_prompt(pipeline.denoiser).tokens)
    assert torch.equal(trainer.null.pooled, null_prompt(pipeline.denoiser).pooled)


def test_the_held_out_loss_of_the_same_weights_is_the_same_number(root: Path, checkpoint: Path) -> None:
    trainer = Trainer(restore(TrainSpec(resume=True), job_here(root)), job_here(root))
    before = [p.detach().clone() for p in trainer.run.plain_model.parameters()]
    first, second = HeldOutLoss().measure(trainer), HeldOutLoss().measure(trainer)
    assert first == second == open_checkpoint(checkpoint).held_out_loss
    after = trainer.run.plain_model.parameters()
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))  # the averages were swapped out again


# A loss that is not finite


def data_with_nan(folder: Path, poisoned: list[int]) -> list[str]:
    """A copy of the data set in which some clips' latents are NaN; returns their ids."""
    shutil.copytree(data_set(), folder)
    path = folder / "latents/train/shard-00000.safetensors"
    shard = Shard(path)
    latents = shard.read("latents")
    latents[poisoned] = math.nan
    write_shard(path, {"latents": latents}, shard.metadata)
    return [shard.metadata["rows"][row]["video_id"] for row in poisoned]


def test_a_loss_that_is_not_finite_ends_the_run_before_the_step_and_names_the_clips(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    late = run.plan.rows(STEPS_AN_EPOCH - 1, 0)
    names = data_with_nan(tmp_path / "data", late[:1])
    ended = run_warm(tmp_path, "train", **asked(data="data", epochs=2, keep_last=9))
    assert ended.code == 1
    assert f"the loss is not finite at step {STEPS_AN_EPOCH}, on clips " in ended.error["message"]
    assert names[0] in ended.error["message"]
    assert "--resume" in ended.error["hint"]
    assert len(ended.of("step")) == STEPS_AN_EPOCH - 1
    assert list((tmp_path / "checkpoints").iterdir()) == []


def test_checkpoints_and_weights_are_as_they_were_when_the_loss_is_not_finite(tmp_path: Path) -> None:
    assert run_warm(tmp_path, "train", **asked(epochs=1, lr_schedule="constant")).code == 0
    before = contents(tmp_path / "checkpoints")
    data_with_nan(tmp_path / "data", list(range(CLIPS)))
    run = restore(TrainSpec.model_validate({"resume": True, "epochs": 2, "data": "data"}), job_here(tmp_path))
    weights = {name: value.clone() for name, value in run.plain_model.state_dict().items()}
    moments = {name: value.clone() for name, value in optimizer_tensors(run.plain_model, run.optimizer).items()}
    with pytest.raises(WorkFailed, match="not finite"):
        Trainer(run, job_here(tmp_path), training_callbacks()).train()
    assert all(torch.equal(value, weights[name]) for name, value in run.plain_model.state_dict().items())
    after = optimizer_tensors(run.plain_model, run.optimizer)
    assert all(torch.equal(value, after[name]) for name, value in moments.items())
    assert contents(tmp_path / "checkpoints") == before


def test_a_held_out_loss_that_is_not_finite_is_a_warning_and_never_the_best(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    data_with_nan(tmp_path / "data", run.held_out)
    ended = run_warm(tmp_path, "train", **asked(data="data", epochs=1))
    assert ended.code == 0
    assert "held-out loss is not finite" in ended.warnings
    assert open_checkpoint(tmp_path / "checkpoints/checkpoint_epoch_1").held_out_loss is None


# Presets and objectives


@pytest.mark.parametrize("objective", ["epsilon", "v", "flow"])
def test_every_objective_trains_and_its_checkpoint_says_how_to_sample(objective: str, tmp_path: Path) -> None:
    job = job_here(tmp_path)
    train(TrainSpec.model_validate(asked(objective=objective, max_steps=3)), job)
    info = open_checkpoint(tmp_path / "checkpoints/checkpoint_step_3").info
    sampler = {"flow": "FlowEulerSampler"}.get(objective, "DDIMSampler")
    assert (info["sampler"]["class"], info["sampler"].get("prediction", "flow")) == (sampler, objective)
    assert all(math.isfinite(event["loss"]) for event in of(events_of(job.directory), "step"))


def fitted(spec: TrainSpec, store: LatentStore) -> dict[str, Any]:
    null = store.null_prompt
    return model_config(spec, store.shape, null_length=len(null.tokens), text_dim=16, pooled_dim=null.pooled.numel())


@pytest.mark.parametrize(
    ("preset", "attention"),
    [
        ("seed", "frame"), ("base", "frame"), ("base", "temporal"), ("base", "joint"), ("tiny", "joint+temporal"),
        ("unet3d", "frame"), ("unet3d-tiny", "frame"),
    ],
)  # fmt: skip
def test_every_preset_fits_the_data(preset: str, attention: str, store: LatentStore) -> None:
    spec = TrainSpec.model_validate({"preset": preset, "attention": attention})
    with torch.device("meta"):
        model = make_denoiser(fitted(spec, store))
        text, mask = torch.empty(2, 5, 16), torch.ones(2, 5, dtype=torch.bool)
        answer = model(torch.empty(2, *store.shape), torch.empty(2), text, mask, torch.empty(2, 8))
    assert answer.shape == (2, *store.shape)
    assert model.null_tokens.shape == store.null_prompt.tokens.shape


def test_a_preset_that_does_not_fit_is_refused_with_a_way_out(store: LatentStore) -> None:
    with pytest.raises(InvalidRequest, match="the seed preset has no attention over time") as caught:
        fitted(TrainSpec(preset="seed", attention="temporal"), store)
    assert "--preset base" in caught.value.hint
