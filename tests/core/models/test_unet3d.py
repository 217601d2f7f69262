"""The 3-D U-Net with FiLM: what it computes, and what it sees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from t2v_core.data.store.batches import drop_captions
from t2v_core.models.conditioning import Conditioning, null_prompt
from t2v_core.models.denoisers.by_name import make_denoiser
from t2v_core.models.denoisers.unet3d_film import Block3D, FiLM, UNet3DCond
from t2v_core.models.text import TextEmbedding
from t2v_core.presets import PRESET_MODELS
from t2v_core.training.forecast.flops import flops_per_clip

SMALL: dict[str, Any] = {
    "sample_size": 8, "num_frames": 8, "block_out_channels": [8, 16, 24], "condition_dim": 16, "text_dim": 12,
    "pooled_dim": 6,
}  # fmt: skip


def trained_by_chance(module: nn.Module) -> nn.Module:
    """None of its weights are zero, as after training."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return module.eval()


def model_of(**config: Any) -> UNet3DCond:
    torch.manual_seed(0)
    model = trained_by_chance(UNet3DCond(**SMALL | config))
    assert isinstance(model, UNet3DCond)
    return model


def inputs(frames: int = 8, side: int = 8, batch: int = 2) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        "latents": torch.randn(batch, frames, 4, side, side, generator=generator),
        "timesteps": torch.tensor([999.0, 20.0])[:batch],
        "text": torch.randn(batch, 5, 12, generator=generator),
        "mask": torch.ones(batch, 5, dtype=torch.bool),
        "pooled": torch.randn(batch, 6, generator=generator),
    }


# What it computes


def test_the_presets_have_the_previous_systems_widths_and_this_many_parameters() -> None:
    with torch.device("meta"):
        full, tiny = (make_denoiser(PRESET_MODELS[name]) for name in ("unet3d", "unet3d-tiny"))
    assert [block.conv2.out_channels for block in (*full.down_blocks, full.mid_block)] == [64, 128, 256]
    assert sum(parameter.numel() for parameter in full.parameters()) == 7_141_572
    assert sum(parameter.numel() for parameter in tiny.parameters()) == 1_057_612


def test_film_scales_and_shifts_each_channel_by_what_the_condition_says() -> None:
    torch.manual_seed(0)
    film, x, condition = trained_by_chance(FiLM(5, 3)), torch.randn(2, 3, 4, 6, 6), torch.randn(2, 5)
    state = film.state_dict()
    with torch.no_grad():
        answer = film(x, condition)
    for clip in range(2):
        for channel in range(3):
            gamma = state["to_gamma.weight"][channel] @ condition[clip] + state["to_gamma.bias"][channel]
            beta = state["to_beta.weight"][channel] @ condition[clip] + state["to_beta.bias"][channel]
            torch.testing.assert_close(answer[clip, channel], x[clip, channel] * (1 + gamma) + beta)


def test_film_starts_as_a_no_op() -> None:
    x = torch.randn(2, 3, 4, 6, 6)
    assert torch.equal(FiLM(5, 3)(x, torch.randn(2, 5)), x)


def test_a_block_is_convolution_group_norm_silu_and_film_twice() -> None:
    torch.manual_seed(0)
    block, x, condition = trained_by_chance(Block3D(4, 16, 5)), torch.randn(2, 4, 3, 6, 6), torch.randn(2, 5)
    state = block.state_dict()
    expected = x
    for half, film in (("1", block.film1), ("2", block.film2)):
        expected = functional.conv3d(expected, state[f"conv{half}.weight"], state[f"conv{half}.bias"], padding=1)
        grouped = expected.reshape(2, 8, -1)
        spread = torch.sqrt(grouped.var(-1, keepdim=True, unbiased=False) + 1e-5)
        expected = ((grouped - grouped.mean(-1, keepdim=True)) / spread).reshape(expected.shape)
        expected = expected * state[f"norm{half}.weight"][:, None, None, None]
        expected = expected + state[f"norm{half}.bias"][:, None, None, None]
        expected = film(expected / (1 + torch.exp(-expected)), condition)
    torch.testing.assert_close(block(x, condition), expected, atol=1e-5, rtol=1e-4)


def test_the_first_halving_is_in_space_only_and_the_second_in_time_and_space() -> None:
    model, sizes = model_of(), []
    for block in (*model.down_blocks, model.mid_block, *model.up_blocks):
        block.register_forward_hook(lambda _block, _given, answer: sizes.append(tuple(answer.shape[1:])))
    with torch.no_grad():
        model(**inputs())
    assert sizes == [(8, 8, 8, 8), (16, 8, 4, 4), (24, 4, 2, 2), (16, 8, 4, 4), (8, 8, 8, 8)]


@pytest.mark.parametrize(("frames", "side"), [(8, 8), (1, 8), (3, 5), (5, 7), (2, 1), (17, 12)])
def test_any_number_of_frames_and_any_size_goes_through(frames: int, side: int) -> None:
    given = inputs(frames, side)
    with torch.no_grad():
        answer = model_of()(**given)
    assert answer.shape == given["latents"].shape
    assert answer.isfinite().all()


def test_an_untrained_model_answers_zero() -> None:
    with torch.no_grad():
        assert UNet3DCond(**SMALL)(**inputs()).abs().max() == 0


def test_gradient_checkpointing_gives_the_same_gradients() -> None:
    plain, saving = model_of().train(), model_of().train()
    saving.enable_gradient_checkpointing()
    for model in (plain, saving):
        model(**inputs()).square().mean().backward()
    assert saving.gradient_checkpointing
    for name, parameter in plain.named_parameters():
        assert parameter.grad is not None, name
        assert torch.equal(saving.get_parameter(name).grad, parameter.grad), name


def test_its_arithmetic_is_that_of_its_convolutions_and_linear_layers() -> None:
    """Counted by hand: multiply and add, for each output position, over each input channel and tap."""
    positions = {0: 8 * 8 * 8, 1: 8 * 4 * 4, 2: 4 * 2 * 2}
    convolutions = [
        (0, 4, 8), (0, 8, 8), (1, 8, 8), (1, 8, 16), (1, 16, 16), (2, 16, 16), (2, 16, 24), (2, 24, 24),
        (1, 40, 16), (1, 16, 16), (0, 24, 8), (0, 8, 8),
    ]  # fmt: skip
    taps = sum(27 * positions[level] * before * after for level, before, after in convolutions)
    output = positions[0] * 8 * 4
    film = 2 * 2 * 16 * (8 + 16 + 24 + 16 + 8)
    condition = 320 * 16 + 16 * 16 + 6 * 16
    assert flops_per_clip({"class": "UNet3DCond", "in_channels": 4, **SMALL}) == (
        3 * 2 * (taps + output + film + condition)
    )


# What it sees


def frames_that_change(model: nn.Module, frames: int, changed: int) -> list[int]:
    """Which frames of the answer change when one of the input does."""
    given = inputs(frames, side=4)
    other = given | {"latents": given["latents"].clone()}
    other["latents"][:, changed] += 1
    with torch.no_grad():
        difference = (model(**given) - model(**other)).abs().amax((0, 2, 3, 4))
    return [frame for frame, value in enumerate(difference) if value > 0]


def test_a_change_in_one_frame_reaches_all_others() -> None:
    assert frames_that_change(model_of(), frames=8, changed=0) == list(range(8))


def test_convolutions_alone_reach_over_a_clip_of_16_frames() -> None:
    """Without GroupNorm, whose statistics are the whole clip's, a frame sees 13 and more on either side."""
    model = model_of()
    for block in (*model.down_blocks, model.mid_block, *model.up_blocks):
        block.norm1 = block.norm2 = nn.Identity()
    reached = frames_that_change(model, frames=48, changed=24)
    assert reached == list(range(reached[0], reached[-1] + 1))
    assert 13 <= 24 - reached[0] <= 16
    assert 13 <= reached[-1] - 24 <= 16


def test_pooled_text_and_time_steer_it_and_single_tokens_do_not() -> None:
    model, given = model_of(), inputs()
    with torch.no_grad():
        answer = model(**given)
        other_prompt = model(**given | {"pooled": given["pooled"] + 1})
        other_time = model(**given | {"timesteps": given["timesteps"] - 10})
        other_tokens = model(**given | {"text": given["text"] + 1})
    assert (answer - other_prompt).abs().max() > 1e-3
    assert (answer - other_time).abs().max() > 1e-3
    assert torch.equal(answer, other_tokens)


def test_a_dropped_caption_is_answered_as_the_null_prompt_is() -> None:
    model, given = model_of(), inputs()
    model.set_null_prompt(torch.randn(2, 12), torch.randn(6))
    null = null_prompt(model)
    captions = [TextEmbedding(torch.randn(4, 12), torch.randn(6)) for _ in range(2)]
    dropped = drop_captions(Conditioning.of(captions), null, torch.tensor([True, False]))
    with torch.no_grad():
        kept, empty, answer = (
            model(given["latents"], given["timesteps"], prompts.tokens, prompts.mask, prompts.pooled)
            for prompts in (Conditioning.of(captions), Conditioning.of([null, null]), dropped)
        )
    assert torch.equal(answer[0], empty[0])
    assert torch.equal(answer[1], kept[1])
    assert not torch.equal(answer[0], kept[0])


def test_saved_and_loaded_it_is_the_same_model(tmp_path: Path) -> None:
    model, given = model_of(), inputs()
    model.set_null_prompt(torch.randn(2, 12), torch.randn(6))
    model.save_pretrained(tmp_path)

    loaded = UNet3DCond.from_pretrained(tmp_path)

    assert all(torch.equal(loaded.state_dict()[name], tensor) for name, tensor in model.state_dict().items())
    with torch.no_grad():
        assert torch.equal(loaded.eval()(**given), model(**given))
