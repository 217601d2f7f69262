"""Which clips and captions a step sees, and that dividing it into forward passes changes nothing."""

from __future__ import annotations

import math
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from support.engine.engine import job_here
from support.engine.training_set import CLIPS, HELD_OUT, asked, data_set, differing, make_run, tensors
from support.engine.warm_engine import run_warm
from torch import Tensor

from t2v_core.data.store.batches import (
    Batch,
    BatchPlan,
    drop_captions,
    generator_for,
    load_batch,
    pick_caption,
    split_held_out,
)
from t2v_core.data.store.latents import LatentStore
from t2v_core.models.conditioning import Conditioning
from t2v_core.models.encoders import TextEmbedding
from t2v_core.specs import TrainSpec
from t2v_core.training.loss import prediction_error
from t2v_core.training.optimizers.optimizer import optimizer_tensors
from t2v_core.training.trainer import Trainer
from t2v_core.verbs.train import train
from t2v_core.workspace import Dataset


@pytest.fixture(scope="module")
def store() -> LatentStore:
    return LatentStore.open(Dataset(data_set()), "train")


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
    return [row for step in steps for number in range(plan.passes_per_step) for row in plan.rows(step, number)]


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
        parts = [set(chain(*(two.rows(step, number) for number in two.passes(rank, 2)))) for rank in range(2)]
        assert parts[0].isdisjoint(parts[1])
        assert parts[0] | parts[1] == set(chain(*(one.rows(step, number) for number in one.passes(0, 1))))


@pytest.mark.parametrize("processes", range(1, 7))
def test_any_number_of_processes_makes_each_pass_of_a_step_once(processes: int) -> None:
    plan = BatchPlan(range(24), 2, 3, 2, seed=0)
    shares = [plan.passes(rank, processes) for rank in range(processes)]
    assert sorted(chain(*shares)) == list(range(6))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_set_smaller_than_a_step_still_fills_it_with_every_clip() -> None:
    plan = BatchPlan([4, 5, 6], 4, 2, 1, seed=0)
    rows = rows_of_epoch(plan, 0)
    assert (plan.steps_per_epoch, len(rows), set(rows)) == (1, 8, {4, 5, 6})


def test_captions_of_a_clip_follow_from_the_seed_and_all_have_their_turn() -> None:
    chosen = [pick_caption(4, 0, epoch, "video1") for epoch in range(60)]
    assert chosen == [pick_caption(4, 0, epoch, "video1") for epoch in range(60)]
    assert set(chosen) == {0, 1, 2, 3}
    assert chosen != [pick_caption(4, 0, epoch, "video2") for epoch in range(60)]
    assert chosen != [pick_caption(4, 1, epoch, "video1") for epoch in range(60)]


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


# Batches and accumulation


class NoiseByClip(Trainer):
    """A trainer whose noise does not depend on how a step is divided into forward passes."""

    def _loss(self, batch: Batch, micro_step: int) -> Tensor:
        noise = torch.stack([torch.randn(self.run.store.shape, generator=generator_for(n)) for n in batch.video_ids])
        timesteps = torch.stack([1000 * torch.rand((), generator=generator_for("t", n)) for n in batch.video_ids])
        return prediction_error(self.run, self.run.model, batch.latents, noise, timesteps, self.run.fit(batch.prompts))


def first_moments(root: Path, **values: Any) -> dict[str, Tensor]:
    """Adam's, after one step: the clipped gradient, scaled."""
    run = make_run(root, **values)
    with torch.no_grad():
        run.plain_model.output_proj.weight.normal_(std=0.1, generator=generator_for("output"))
    batches = [load_batch(run.store, run.plan.rows(0, number), 0, 0) for number in run.passes]
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
