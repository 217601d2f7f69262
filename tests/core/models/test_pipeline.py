"""Prompts to video: what a seed, a batch, guidance and a long input do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg
from support.engine.small_checkpoint import small_pipeline
from torch import Tensor

from t2v_core.diffusion.guidance import Guidance
from t2v_core.diffusion.pipeline import TextToVideoPipeline
from t2v_core.diffusion.samplers import choose_sampler, randn
from t2v_core.diffusion.windows import blend, windows_over
from t2v_core.errors import InvalidRequest, Stopped
from t2v_core.models.conditioning import Conditioning
from t2v_core.models.text import TextEmbedding

PROMPTS = ["a red circle moving left", "the blue square is growing"]


@pytest.fixture(scope="module")
def pipeline() -> TextToVideoPipeline:
    return small_pipeline()


@contextmanager
def watched(pipeline: TextToVideoPipeline) -> Iterator[list[tuple[tuple[Tensor, ...], Tensor]]]:
    """Every call of the denoiser: what went in, and what came out."""
    calls: list[tuple[tuple[Tensor, ...], Tensor]] = []
    hook = pipeline.denoiser.register_forward_hook(lambda _module, given, answer: calls.append((given, answer)))
    try:
        yield calls
    finally:
        hook.remove()


def frames_of(count: int) -> Tensor:
    return torch.randint(0, 256, (count, 64, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("objective", ["epsilon", "v", "flow"])
def test_saved_and_loaded_it_makes_the_same_video(tmp_path: Path, objective: str) -> None:
    pipeline = small_pipeline(objective)
    pipeline.save_pretrained(tmp_path)
    loaded = TextToVideoPipeline.from_pretrained(tmp_path)
    before = pipeline(PROMPTS[0], num_inference_steps=3, seed=7).frames
    after = loaded(PROMPTS[0], num_inference_steps=3, seed=7).frames
    assert loaded.scheduler.prediction == objective
    assert (before.int() - after.int()).abs().max() <= 1  # weights lie at other addresses, and sums round differently


def test_a_video_has_the_models_shape_and_its_pixels_differ(pipeline: TextToVideoPipeline) -> None:
    frames = pipeline(PROMPTS[0], num_inference_steps=2).frames
    assert (frames.shape, frames.dtype) == ((1, 8, 64, 64, 3), torch.uint8)
    assert frames.float().std() > 1


def test_fewer_frames_can_be_asked_for(pipeline: TextToVideoPipeline) -> None:
    assert pipeline(PROMPTS[0], num_frames=3, num_inference_steps=2).frames.shape[:2] == (1, 3)


def test_another_seed_or_prompt_makes_another_video(pipeline: TextToVideoPipeline) -> None:
    video = pipeline(PROMPTS[0], num_inference_steps=2, seed=7).frames
    assert not torch.equal(video, pipeline(PROMPTS[0], num_inference_steps=2, seed=8).frames)
    assert not torch.equal(video, pipeline(PROMPTS[1], num_inference_steps=2, seed=7).frames)


def test_each_video_of_a_batch_is_the_one_its_own_seed_makes(pipeline: TextToVideoPipeline) -> None:
    prompts = [*PROMPTS, "growing"]
    batch = pipeline(prompts, num_inference_steps=3, seed=40).frames
    for index, prompt in enumerate(prompts):
        alone = pipeline(prompt, num_inference_steps=3, seed=40 + index).frames[0]
        assert (batch[index].int() - alone.int()).abs().max() <= 1  # matrices of another height round differently


def test_guidance_1_takes_half_the_work(pipeline: TextToVideoPipeline) -> None:
    with watched(pipeline) as guided:
        pipeline(PROMPTS, num_inference_steps=3, guidance_scale=2.0)
    with watched(pipeline) as plain:
        pipeline(PROMPTS, num_inference_steps=3, guidance_scale=1.0)
    assert [len(given[0]) for given, _ in guided] == [4, 4, 4]
    assert [len(given[0]) for given, _ in plain] == [2, 2, 2]


def test_guidance_goes_from_the_null_prompts_answer_through_the_prompts(pipeline: TextToVideoPipeline) -> None:
    noise = randn((2, 8, 4, 8, 8), 5)
    pipeline.scheduler.set_timesteps(1)
    with watched(pipeline) as calls, torch.no_grad():
        latents = pipeline.denoise(noise, PROMPTS, 0, Guidance(3.5))
    conditional, unconditional = calls[0][1].chunk(2)
    assert (conditional - unconditional).abs().max() > 1e-4
    velocity = unconditional + 3.5 * (conditional - unconditional)
    torch.testing.assert_close(latents, noise - velocity, atol=1e-5, rtol=1e-5)


def test_the_prompts_halves_are_what_the_denoiser_says_of_each_alone(pipeline: TextToVideoPipeline) -> None:
    noise = randn((1, 8, 4, 8, 8), 5)
    pipeline.scheduler.set_timesteps(1)
    with watched(pipeline) as guided, torch.no_grad():
        pipeline.denoise(noise, PROMPTS[:1], 0, Guidance(2.0))
    with watched(pipeline) as plain, torch.no_grad():
        pipeline.denoise(noise, PROMPTS[:1], 0, Guidance(1.0))
    torch.testing.assert_close(guided[0][1][:1], plain[0][1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("rescale", [0.0, 0.7, 1.0])
def test_rescaling_brings_the_spread_back_to_the_prompts_answer(rescale: float) -> None:
    conditional, unconditional = 0.5 + 2 * randn((3, 8, 4, 8, 8), 1), randn((3, 8, 4, 8, 8), 2)
    pulled = Guidance(6.0).combine(conditional, unconditional)
    guided = Guidance(6.0, rescale).combine(conditional, unconditional)
    expected = rescale_noise_cfg(pulled, conditional, guidance_rescale=rescale)
    torch.testing.assert_close(guided, expected)
    for video in range(3):
        wanted = rescale * conditional[video].std() + (1 - rescale) * pulled[video].std()
        torch.testing.assert_close(guided[video].std(), wanted)


def test_rescaling_an_answer_that_is_the_same_everywhere_gives_numbers() -> None:
    flat = torch.zeros(1, 2, 4, 3, 3)
    assert torch.equal(Guidance(3.0, 1.0).combine(flat, flat), flat)


def test_each_video_of_a_batch_is_rescaled_by_itself(pipeline: TextToVideoPipeline) -> None:
    options = {"num_inference_steps": 3, "guidance_scale": 8.0, "guidance_rescale": 0.7}
    batch = pipeline(PROMPTS, seed=40, **options).frames
    for index, prompt in enumerate(PROMPTS):
        alone = pipeline(prompt, seed=40 + index, **options).frames[0]
        assert (batch[index].int() - alone.int()).abs().max() <= 1
    without = pipeline(PROMPTS, seed=40, **options | {"guidance_rescale": 0.0}).frames
    assert not torch.equal(batch, without)


def test_guidance_starts_from_the_null_prompt_kept_with_the_weights() -> None:
    pipeline = small_pipeline()
    pipeline.denoiser.set_null_prompt(torch.full((2, 96), 0.5), torch.full((64,), 0.25))
    with watched(pipeline) as calls:
        pipeline(PROMPTS, num_inference_steps=1)
    _, _, tokens, mask, pooled = calls[0][0]
    assert mask.sum(1).tolist()[2:] == [2, 2]
    assert torch.equal(tokens[2:, :2], torch.full((2, 2, 96), 0.5))
    assert torch.equal(pooled[2:], torch.full((2, 64), 0.25))


def test_a_model_without_pooled_text_samples_too() -> None:
    pipeline = small_pipeline("epsilon", block="seed", attention="frame", pooled_dim=0, patch_size=1)
    assert pipeline(PROMPTS, num_inference_steps=2).frames.shape[0] == 2


@pytest.mark.parametrize("count", [1, 5, 8, 9, 21])
def test_refine_returns_as_many_frames_as_it_was_given(pipeline: TextToVideoPipeline, count: int) -> None:
    with watched(pipeline) as calls:
        refined = pipeline.refine(frames_of(count), PROMPTS[0], strength=0.5, num_inference_steps=4).frames
    assert refined.shape == (1, count, 64, 64, 3)
    assert {given[0].shape[1] for given, _ in calls} == {min(count, 8)}
    assert len(calls) == 2 * len(windows_over(count, 8))


def test_refine_changes_more_with_more_strength(pipeline: TextToVideoPipeline) -> None:
    frames = frames_of(8)
    plain = pipeline.decode(pipeline.encode(frames)[None])[0].float()
    changes = [
        (pipeline.refine(frames, PROMPTS[0], strength=s, num_inference_steps=10).frames[0].float() - plain).abs().mean()
        for s in (0.1, 0.5, 1.0)
    ]
    assert changes == sorted(changes)


def test_windows_show_no_seam_where_frames_are_independent() -> None:
    short = small_pipeline(attention="frame", num_frames=8)
    long = small_pipeline(attention="frame", num_frames=21)
    state = {k: v for k, v in short.denoiser.state_dict().items() if k != "frame_embed"}
    long.denoiser.load_state_dict(state, strict=False)
    in_windows = short.refine(frames_of(21), PROMPTS[0], strength=0.8, num_inference_steps=5, seed=2).frames
    at_once = long.refine(frames_of(21), PROMPTS[0], strength=0.8, num_inference_steps=5, seed=2).frames
    assert (in_windows.int() - at_once.int()).abs().max() <= 1


@pytest.mark.parametrize(
    ("frames", "length", "overlap"), [(21, 8, None), (21, 8, 0), (9, 8, 7), (100, 16, 3), (3, 1, 0)]
)
def test_windows_cover_every_frame_and_share_what_they_should(frames: int, length: int, overlap: int | None) -> None:
    windows = windows_over(frames, length, overlap)
    wanted = length // 2 if overlap is None else overlap
    assert {frame for begin, end in windows for frame in range(begin, end)} == set(range(frames))
    assert {end - begin for begin, end in windows} == {length}
    assert all(before[1] - after[0] >= wanted for before, after in pairwise(windows))
    assert len(set(windows)) == len(windows)


def test_an_overlap_that_never_moves_on_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="overlap is 8, and a window has only 8 frames") as caught:
        windows_over(21, 8, 8)
    assert "0 … 7" in caught.value.hint


def test_blending_parts_that_agree_changes_nothing() -> None:
    whole = randn((2, 21, 4, 3, 3), 9)
    windows = windows_over(21, 8, 3)
    torch.testing.assert_close(blend([whole[:, a:b] for a, b in windows], windows, 21), whole)


def test_blending_goes_smoothly_from_one_part_to_the_next() -> None:
    zeros, ones = torch.zeros(1, 8, 1, 1, 1), torch.ones(1, 8, 1, 1, 1)
    mixed = blend([zeros, ones], [(0, 8), (4, 12)], 12).flatten()
    assert mixed[:4].tolist() == [0] * 4
    assert mixed[8:].tolist() == [1] * 4
    assert mixed.tolist() == sorted(mixed.tolist())
    assert mixed.diff().max() < 0.35


def with_sampler(objective: str, sampler: str) -> TextToVideoPipeline:
    pipeline = small_pipeline(objective)
    pipeline.register_modules(scheduler=choose_sampler(pipeline.scheduler, sampler))
    return pipeline


@pytest.mark.parametrize("objective", ["epsilon", "v", "flow"])
def test_dpm_solver_is_saved_and_loaded_and_makes_another_video_from_the_same_noise(
    tmp_path: Path, objective: str
) -> None:
    pipeline = with_sampler(objective, "dpm++")
    pipeline.save_pretrained(tmp_path)
    loaded = TextToVideoPipeline.from_pretrained(tmp_path)
    before = pipeline(PROMPTS[0], num_inference_steps=4, seed=7).frames
    after = loaded(PROMPTS[0], num_inference_steps=4, seed=7).frames
    assert loaded.scheduler.name == "dpm++"
    assert (before.int() - after.int()).abs().max() <= 1
    assert not torch.equal(before, small_pipeline(objective)(PROMPTS[0], num_inference_steps=4, seed=7).frames)


@pytest.mark.parametrize("objective", ["v", "flow"])
def test_a_refinement_takes_nothing_from_a_run_that_was_ended_just_before_its_first_step(objective: str) -> None:
    def stop(done: int, _total: int) -> None:
        if done == 4:
            raise Stopped("stopped on request")

    pipeline = with_sampler(objective, "dpm++")
    noise = randn((1, 8, 4, 8, 8), 1)
    pipeline.scheduler.set_timesteps(8)
    with torch.no_grad():
        alone = pipeline.denoise(noise, PROMPTS[:1], 4, Guidance())
    with pytest.raises(Stopped):
        pipeline(PROMPTS[1], num_inference_steps=8, progress=stop)
    with torch.no_grad():
        again = pipeline.denoise(noise, PROMPTS[:1], 4, Guidance())
    torch.testing.assert_close(again, alone, atol=1e-6, rtol=1e-6)


def test_progress_counts_the_steps_that_are_taken(pipeline: TextToVideoPipeline) -> None:
    seen: list[tuple[int, int]] = []
    pipeline.refine(
        frames_of(4),
        PROMPTS[0],
        strength=0.3,
        num_inference_steps=10,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_what_progress_raises_ends_the_run_at_once(pipeline: TextToVideoPipeline) -> None:
    def stop(done: int, _total: int) -> None:
        if done == 2:
            raise Stopped("stopped on request")

    with watched(pipeline) as calls, pytest.raises(Stopped):
        pipeline(PROMPTS[0], num_inference_steps=9, progress=stop)
    assert len(calls) == 2


def test_a_strength_that_leaves_no_step_is_refused_before_any_work(pipeline: TextToVideoPipeline) -> None:
    with watched(pipeline) as calls, pytest.raises(InvalidRequest, match="less than one step"):
        pipeline.refine(frames_of(4), PROMPTS[0], strength=0.05, num_inference_steps=10)
    assert calls == []


def test_latents_come_back_as_the_frames_they_were(pipeline: TextToVideoPipeline) -> None:
    flat = torch.full((3, 64, 64, 3), 40, dtype=torch.uint8)
    rebuilt = pipeline.decode(pipeline.encode(flat, batch=2)[None], batch=2)[0]
    assert (rebuilt.int() - 40).abs().float().mean() < 6


def embedding(length: int) -> TextEmbedding:
    return TextEmbedding(torch.ones(length, 4), torch.ones(2))


def test_prompts_of_a_batch_are_padded_under_a_mask() -> None:
    batch = Conditioning.of([embedding(2), embedding(5)])
    assert batch.tokens.shape == (2, 5, 4)
    assert batch.mask.tolist() == [[True, True, False, False, False], [True] * 5]
