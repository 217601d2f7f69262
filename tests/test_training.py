"""What training does with its data, its noise and its averages; and when it stops rather than spoil the weights."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from engine import events_of, job_here
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor
from training_set import CLIPS, HELD_OUT, STEPS_AN_EPOCH, asked, contents, data_set, differing, make_run, tensors
from warm_engine import WARM, Child, begin, run_warm

from t2v_core.assemble import load_pipeline
from t2v_core.checkpoints import open_checkpoint
from t2v_core.data.batches import (
    Batch,
    BatchPlan,
    drop_captions,
    generator_for,
    load_batch,
    pick_caption,
    split_held_out,
)
from t2v_core.data.latents import LatentStore
from t2v_core.data.shards import Shard, write_shard
from t2v_core.errors import AskedWrongly, Stopped, WorkFailed
from t2v_core.job import Job
from t2v_core.models.conditioning import Conditioning, null_prompt
from t2v_core.models.encoders import TextEmbedding
from t2v_core.models.video_transformer import VideoTransformer
from t2v_core.specs import TrainSpec
from t2v_core.train import Trainer, train
from t2v_core.training.optimizer import optimizer_tensors
from t2v_core.training.resume import restore
from t2v_core.training.setup import model_config
from t2v_core.workspace import Dataset, Workspace, create_job_directory


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


@dataclass
class StopsAfter(Job):
    """A job that is asked to stop when it has been asked for the nth time whether it should."""

    questions: int = 6

    def check_stop(self) -> None:
        self.questions -= 1
        if self.questions == 0:
            (self.directory / "stop").touch()
        super().check_stop()


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
        trainer._step([load_batch(run.store, run.plan.rows(step, 0, 0), 0, 0)])
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


def embedding(length: int, value: float) -> TextEmbedding:
    return TextEmbedding(torch.full((length, 3), value), torch.full((2,), value))


@pytest.mark.parametrize("lengths", [(5, 3), (2, 2), (1, 1)])  # longer than, as long as, and shorter than the null
def test_a_dropped_caption_becomes_the_null_prompt_and_the_others_stay(lengths: tuple[int, int]) -> None:
    null = embedding(2, 9.0)
    prompts = [embedding(length, 1.0) for length in lengths]
    dropped = drop_captions(Conditioning.of(prompts), null, torch.tensor([True, False]))
    length = max(*lengths, 2)
    assert dropped.tokens.shape == (2, length, 3)
    assert dropped.mask.tolist() == [[i < 2 for i in range(length)], [i < lengths[1] for i in range(length)]]
    assert torch.equal(dropped.tokens[0][dropped.mask[0]], null.tokens)
    assert torch.equal(dropped.tokens[1][dropped.mask[1]], prompts[1].tokens)
    assert (dropped.tokens[~dropped.mask] == 0).all()
    assert torch.equal(dropped.pooled, torch.tensor([[9.0, 9.0], [1.0, 1.0]]))


def test_dropping_changes_nothing_where_nothing_is_dropped_nor_its_input() -> None:
    prompts = Conditioning.of([embedding(4, 1.0), embedding(2, 2.0)])
    kept = drop_captions(prompts, embedding(2, 9.0), torch.tensor([False, False]))
    assert torch.equal(kept.tokens, prompts.tokens)
    assert torch.equal(kept.mask, prompts.mask)
    drop_captions(prompts, embedding(2, 9.0), torch.tensor([True, True]))
    assert (prompts.pooled[0] == 1).all()


def test_a_model_without_pooled_embeddings_drops_captions_too() -> None:
    prompts = Conditioning.of([TextEmbedding(torch.ones(3, 3), torch.zeros(0))])
    null = TextEmbedding(torch.zeros(2, 3), torch.zeros(0))
    assert drop_captions(prompts, null, torch.tensor([True])).pooled.shape == (1, 0)


# The order of the data


def rows_of_epoch(plan: BatchPlan, epoch: int) -> list[int]:
    steps = range(epoch * plan.steps_per_epoch, (epoch + 1) * plan.steps_per_epoch)
    return [
        row
        for step in steps
        for micro in range(plan.accumulation)
        for rank in range(plan.world_size)
        for row in plan.rows(step, micro, rank)
    ]


@pytest.mark.parametrize(("batch", "accumulation", "processes"), [(2, 1, 1), (2, 3, 1), (2, 1, 3), (1, 2, 2)])
def test_every_clip_comes_once_an_epoch_in_another_order_each_time(
    batch: int, accumulation: int, processes: int
) -> None:
    clips = list(range(100, 124))
    plan = BatchPlan(clips, batch, accumulation, processes, seed=3)
    first, second = rows_of_epoch(plan, 0), rows_of_epoch(plan, 1)
    assert sorted(first) == sorted(second) == clips
    assert first != second
    assert rows_of_epoch(BatchPlan(clips, batch, accumulation, processes, seed=3), 1) == second
    assert rows_of_epoch(BatchPlan(clips, batch, accumulation, processes, seed=4), 0) != first


def test_two_processes_share_a_step_without_seeing_a_clip_twice() -> None:
    two, one = BatchPlan(range(24), 2, 2, 2, seed=0), BatchPlan(range(24), 4, 2, 1, seed=0)
    for step in range(2 * two.steps_per_epoch):
        parts = [set(chain(*(two.rows(step, micro, rank) for micro in range(2)))) for rank in range(2)]
        assert parts[0].isdisjoint(parts[1])
        assert parts[0] | parts[1] == set(chain(*(one.rows(step, micro, 0) for micro in range(2))))


def test_a_set_smaller_than_a_step_still_fills_it_with_every_clip() -> None:
    plan = BatchPlan([4, 5, 6], 4, 2, 1, seed=0)
    rows = rows_of_epoch(plan, 0)
    assert (plan.steps_per_epoch, len(rows), set(rows)) == (1, 8, {4, 5, 6})


def test_captions_of_a_clip_follow_from_the_seed_and_all_have_their_turn() -> None:
    captions = [embedding(1, float(number)) for number in range(4)]
    chosen = [float(pick_caption(captions, 0, epoch, "video1").pooled[0]) for epoch in range(60)]
    assert chosen == [float(pick_caption(captions, 0, epoch, "video1").pooled[0]) for epoch in range(60)]
    assert set(chosen) == {0.0, 1.0, 2.0, 3.0}
    assert chosen != [float(pick_caption(captions, 0, epoch, "video2").pooled[0]) for epoch in range(60)]
    assert chosen != [float(pick_caption(captions, 1, epoch, "video1").pooled[0]) for epoch in range(60)]


def test_a_batch_s_captions_belong_to_its_clips(store: LatentStore) -> None:
    batch = load_batch(store, [7, 3], seed=0, epoch=2)
    assert batch.video_ids == (store.video_ids[7], store.video_ids[3])
    assert torch.equal(batch.latents, store.latents([7, 3]))
    for position, row in enumerate((7, 3)):
        own = batch.prompts.tokens[position][batch.prompts.mask[position]]
        assert any(torch.equal(own, caption.tokens) for caption in store.captions(row))


# Held-out clips


def test_held_out_clips_are_never_trained_on(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    seen = set(chain(*(rows_of_epoch(run.plan, epoch) for epoch in range(5))))
    assert len(run.held_out) == HELD_OUT
    assert seen.isdisjoint(run.held_out)
    assert seen | set(run.held_out) == set(range(CLIPS))


def test_which_clips_are_held_out_depends_on_their_names_only() -> None:
    names = [f"video{number}" for number in range(40)]
    training, held_out = split_held_out(names, 3)
    backwards = names[::-1]
    assert {names[row] for row in held_out} == {backwards[row] for row in split_held_out(backwards, 3)[1]}
    assert len(held_out) == 3
    assert sorted(training + held_out) == list(range(40))
    assert split_held_out(names, 99)[1] != []
    assert len(split_held_out(names, 99)[1]) == 4  # a tenth at most
    assert split_held_out(names, 0)[1] == split_held_out(names[:9], 5)[1] == []


def test_the_held_out_loss_of_the_same_weights_is_the_same_number(root: Path, checkpoint: Path) -> None:
    trainer = Trainer(restore(TrainSpec(resume=True), job_here(root)), job_here(root))
    before = [p.detach().clone() for p in trainer.run.plain_model.parameters()]
    first, second = trainer._held_out(), trainer._held_out()
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
    late = run.plan.rows(STEPS_AN_EPOCH - 1, 0, 0)
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
        Trainer(run, job_here(tmp_path)).train()
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


# Learning rates


def rates(tmp_path: Path, **values: Any) -> list[float]:
    run = make_run(tmp_path, epochs=10, learning_rate=2e-3, **values)
    return [run.learning_rate(step) for step in range(run.total_steps)]


@pytest.mark.parametrize("warmup", [11, 2, 55])
def test_one_cycle_is_torch_s_one_cycle(warmup: int, tmp_path: Path) -> None:
    ours = rates(tmp_path, lr_schedule="one-cycle", warmup_steps=warmup)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 2e-3, total_steps=len(ours), pct_start=warmup / len(ours), cycle_momentum=False
    )
    for step, rate in enumerate(ours):
        assert rate == pytest.approx(theirs.get_last_lr()[0], rel=1e-6), step
        optimizer.step()
        theirs.step() if step + 1 < len(ours) else None


def test_one_cycle_rises_from_a_25th_for_8_per_cent_and_ends_at_almost_nothing(tmp_path: Path) -> None:
    ours = rates(tmp_path, lr_schedule="one-cycle", warmup_steps=None)
    assert ours[0] == pytest.approx(2e-3 / 25)
    assert ours.index(max(ours)) == round(0.08 * len(ours)) - 1
    assert max(ours) == pytest.approx(2e-3)
    assert ours[-1] == pytest.approx(2e-3 / 25 / 1e4)


def test_warm_up_is_linear_then_constant_or_half_a_cosine(tmp_path: Path) -> None:
    constant = rates(tmp_path, lr_schedule="constant", warmup_steps=10)
    cosine = rates(tmp_path, lr_schedule="cosine", warmup_steps=10)
    assert constant[:10] == cosine[:10] == [pytest.approx(2e-3 * (step + 1) / 10) for step in range(10)]
    assert set(constant[10:]) == {2e-3}
    assert cosine[10] == 2e-3
    assert cosine[60] == pytest.approx(1e-3)
    assert cosine == sorted(cosine[:10]) + sorted(cosine[10:], reverse=True)
    assert 0 < cosine[-1] < 2e-6


def test_the_rate_that_is_told_is_the_rate_that_is_used(tmp_path: Path) -> None:
    run = make_run(tmp_path, lr_schedule="cosine", warmup_steps=4)
    job = job_here(tmp_path)
    Trainer(run, job)._step([load_batch(run.store, [0, 1], 0, 0)])
    assert run.optimizer.param_groups[0]["lr"] == of(events_of(job.directory), "step")[0]["learning_rate"] == 5e-4


# Presets and objectives


@pytest.mark.parametrize("objective", ["epsilon", "v", "flow"])
def test_every_objective_trains_and_its_checkpoint_says_how_to_sample(objective: str, tmp_path: Path) -> None:
    job = job_here(tmp_path)
    train(TrainSpec.model_validate(asked(objective=objective, max_steps=3)), job)
    info = open_checkpoint(tmp_path / "checkpoints/checkpoint_step_3").info
    sampler = {"flow": "FlowEulerSampler"}.get(objective, "DDIMSampler")
    assert (info["sampler"]["class"], info["sampler"].get("prediction", "flow")) == (sampler, objective)
    assert all(math.isfinite(event["loss"]) for event in of(events_of(job.directory), "step"))


@pytest.mark.parametrize(
    ("preset", "attention"),
    [("seed", "frame"), ("base", "frame"), ("base", "temporal"), ("base", "joint"), ("tiny", "joint+temporal")],
)
def test_every_preset_fits_the_data(preset: str, attention: str, store: LatentStore) -> None:
    spec = TrainSpec.model_validate({"preset": preset, "attention": attention})
    with torch.device("meta"):
        model = VideoTransformer(**model_config(spec, store))
        text, mask = torch.empty(2, 5, 16), torch.ones(2, 5, dtype=torch.bool)
        answer = model(torch.empty(2, *store.shape), torch.empty(2), text, mask, torch.empty(2, 8))
    assert answer.shape == (2, *store.shape)
    assert model.null_tokens.shape == store.null_prompt.tokens.shape


def test_a_preset_that_does_not_fit_is_refused_with_a_way_out(store: LatentStore) -> None:
    with pytest.raises(AskedWrongly, match="the seed preset has no attention over time") as caught:
        model_config(TrainSpec(preset="seed", attention="temporal"), store)
    assert "--preset base" in caught.value.hint


# Batches and accumulation


class NoiseByClip(Trainer):
    """A trainer whose noise does not depend on how a step is divided into forward passes."""

    def _loss(self, batch: Batch, micro_step: int) -> Tensor:  # noqa: ARG002
        noise = torch.stack([torch.randn(self.run.store.shape, generator=generator_for(n)) for n in batch.video_ids])
        timesteps = torch.stack([1000 * torch.rand((), generator=generator_for("t", n)) for n in batch.video_ids])
        return self._error(self.run.model, batch.latents, noise, timesteps, self.run.fit(batch.prompts))


def first_moments(root: Path, **values: Any) -> dict[str, Tensor]:
    """Adam's, after one step: the clipped gradient, scaled."""
    run = make_run(root, **values)
    with torch.no_grad():
        run.plain_model.output_proj.weight.normal_(std=0.1, generator=generator_for("output"))
    batches = [load_batch(run.store, run.plan.rows(0, micro, 0), 0, 0) for micro in range(run.plan.accumulation)]
    NoiseByClip(run, job_here(root))._step(batches)
    moments = optimizer_tensors(run.plain_model, run.optimizer)
    return {name: value for name, value in moments.items() if name.endswith("exp_avg")}


def test_two_accumulated_batches_are_one_of_twice_the_size(tmp_path: Path) -> None:
    whole = first_moments(tmp_path, batch_size=8, gradient_accumulation=1)
    parts = first_moments(tmp_path, batch_size=4, gradient_accumulation=2)
    assert max(float(value.abs().max()) for value in whole.values()) > 1e-3
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, rtol=1e-3, atol=1e-6, msg=name)


def test_a_step_larger_than_the_set_trains(tmp_path: Path) -> None:
    ended = run_warm(tmp_path, "train", **asked(batch_size=16, gradient_accumulation=3, epochs=2))
    assert ended.code == 0
    assert ended.done["steps"] == 2


def test_bf16_trains_and_its_weights_are_kept_in_fp32(tmp_path: Path) -> None:
    ended = run_warm(tmp_path, "train", **asked(precision="bf16", max_steps=3))
    assert ended.code == 0
    assert {value.dtype for value in tensors(tmp_path / "checkpoints/checkpoint_step_3").values()} == {torch.float32}
    assert all(math.isfinite(event["loss"]) for event in ended.of("step"))


def test_latents_read_row_by_row_train_as_those_in_memory(tmp_path: Path) -> None:
    for place in ("yes", "no"):
        spec = asked(latents_in_memory=place, max_steps=3, checkpoints=place)
        train(TrainSpec.model_validate(spec), job_here(tmp_path))
    assert differing(tmp_path / "yes/checkpoint_step_3", tmp_path / "no/checkpoint_step_3") == []


def test_gradient_checkpointing_takes_the_same_step(tmp_path: Path) -> None:
    for folder, is_on in (("on", True), ("off", False)):
        spec = asked(gradient_checkpointing=is_on, max_steps=2, checkpoints=folder)
        train(TrainSpec.model_validate(spec), job_here(tmp_path))
    one, other = tensors(tmp_path / "on/checkpoint_step_2"), tensors(tmp_path / "off/checkpoint_step_2")
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], rtol=1e-3, atol=1e-5, msg=name)


# Several processes


def _enter_rank(rank: int, port: int, directory: str) -> None:
    from warm_engine import _enter

    os.environ |= {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "ACCELERATE_USE_CPU": "true",
    }  # fmt: skip
    _enter("train", directory)


def begin_two(workspace: Path, **spec: Any) -> tuple[Child, Child]:
    """Two processes of one run, with the environment that `accelerate launch` gives them."""
    directory = create_job_directory(Workspace(workspace), "train")
    (directory / "spec.json").write_text(json.dumps(spec))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    children = [WARM.Process(target=_enter_rank, args=(rank, port, str(directory))) for rank in range(2)]
    for child in children:
        child.start()
    return Child(children[0], directory), Child(children[1], directory)


def test_two_processes_train_one_model_and_one_of_them_speaks(tmp_path: Path) -> None:
    """Held-out loss and saving are one process's work while the other waits."""
    spec = asked(epochs=2, lr_schedule="constant")
    first, second = begin_two(tmp_path, **spec)
    ended = first.end()
    assert (ended.code, second.end().code) == (0, 0), first.log
    alone = run_warm(
        tmp_path, "train", **asked(epochs=2, lr_schedule="constant", gradient_accumulation=2, checkpoints="1")
    )
    steps = ended.of("step")
    assert [event["step"] for event in steps] == [event["step"] for event in alone.of("step")]
    assert len(ended.of("done")) == len(ended.of("stage")) == 1
    # the same clips with other noise: losses and gradients of one size, not one twice the other's
    for name in ("loss", "grad_norm"):
        assert sum(e[name] for e in steps) == pytest.approx(sum(e[name] for e in alone.of("step")), rel=0.25)
    assert open_checkpoint(tmp_path / "checkpoints/checkpoint_epoch_2").info["processes"] == 2


def test_two_processes_stop_at_one_step_and_resume_as_if_they_had_not(tmp_path: Path) -> None:
    spec = asked(epochs=8, preset="tiny", attention="frame")
    first, second = begin_two(tmp_path, **spec)
    first.wait_for(lambda event: event.get("step") == 2)
    second.signal(signal.SIGTERM)  # one alone is told
    ended = first.end()
    assert (ended.code, second.end().code) == (4, 4), first.log
    assert ended.of("checkpoint")[-1]["reason"] == "stopped"
    with pytest.raises(AskedWrongly, match="a run of 2 processes, and this one has 1"):
        restore(TrainSpec(resume=True), job_here(tmp_path))

    for folder, values in (("checkpoints", {"resume": True}), ("whole", spec | {"checkpoints": "whole"})):
        pair = begin_two(tmp_path, **values)
        assert [child.end().code for child in pair] == [0, 0], (folder, pair[0].log)
    assert differing(tmp_path / "checkpoints/checkpoint_epoch_8", tmp_path / "whole/checkpoint_epoch_8") == []


@pytest.mark.slow
def test_torchrun_trains_on_two_processes(tmp_path: Path) -> None:
    """`accelerate launch` does the same on several GPUs; on the CPU it starts one process, whatever is asked."""
    directory = create_job_directory(Workspace(tmp_path), "train")
    (directory / "spec.json").write_text(json.dumps(asked(epochs=1)))
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run(
        [*launch, "-m", "t2v_core", "train", str(directory)],
        env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert open_checkpoint(tmp_path / "checkpoints/checkpoint_epoch_1").info["processes"] == 2
    assert len(of(events_of(directory), "done")) == 1
