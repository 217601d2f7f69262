"""The denoiser: the previous system's model to the last parameter, and what each kind of attention may see."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from t2v_core.models.denoisers.attention import Attention
from t2v_core.models.denoisers.video_transformer import VideoTransformer
from t2v_core.presets import PRESET_MODELS

SMALL = {
    "sample_size": 4,
    "num_frames": 3,
    "hidden_size": 32,
    "num_layers": 2,
    "num_heads": 4,
    "mlp_ratio": 2,
    "text_dim": 12,
}
ADALN = {"block": "adaln", "pooled_dim": 6, "patch_size": 2}


def model_of(**config: Any) -> VideoTransformer:
    """A small model none of whose weights are zero, as after training."""
    torch.manual_seed(0)
    model = VideoTransformer(**SMALL | config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return model.eval()


def inputs(batch: int = 2, frames: int = 3, length: int = 5) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        "latents": torch.randn(batch, frames, 4, 4, 4, generator=generator),
        "timesteps": torch.tensor([999.0, 20.0])[:batch],
        "text": torch.randn(batch, length, 12, generator=generator),
        "mask": torch.ones(batch, length, dtype=torch.bool),
        "pooled": torch.randn(batch, 6, generator=generator),
    }


def test_the_seed_preset_is_the_previous_systems_model() -> None:
    with torch.device("meta"):
        model = VideoTransformer(**PRESET_MODELS["seed"])
    assert sum(parameter.numel() for parameter in model.parameters()) == 172_133_380


def test_the_seed_preset_has_the_previous_systems_names_and_shapes() -> None:
    d = 768
    linear = {"time_embed.0": (d, 320), "time_embed.2": (d, d), "input_proj": (d, 4), "text_proj": (d, 512)}
    expected: dict[str, tuple[int, ...]] = {"pos_embed": (1, 1024, d)}
    for number in range(24):
        attention = "cross_attn" if number % 2 else "attn"
        expected |= {f"blocks.{number}.{norm}.{part}": (d,) for norm in ("norm1", "norm2") for part in WEIGHT_BIAS}
        expected[f"blocks.{number}.{attention}.in_proj_weight"] = (3 * d, d)
        expected[f"blocks.{number}.{attention}.in_proj_bias"] = (3 * d,)
        linear |= {f"blocks.{number}.{attention}.out_proj": (d, d)}
        linear |= {f"blocks.{number}.ff.0": (4 * d, d), f"blocks.{number}.ff.2": (d, 4 * d)}
    linear["output_proj"] = (4, d)
    for name, shape in linear.items():
        expected |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}

    with torch.device("meta"):
        model = VideoTransformer(**PRESET_MODELS["seed"])

    assert {name: tuple(parameter.shape) for name, parameter in model.named_parameters()} == expected
    assert set(model.state_dict()) - set(expected) == {"null_tokens", "null_pooled"}


WEIGHT_BIAS = ("weight", "bias")


@pytest.mark.parametrize("masked", [False, True], ids=["all-keys", "some-keys-padded"])
@pytest.mark.parametrize("cross", [False, True], ids=["self", "cross"])
def test_attention_is_torchs_multihead_attention(cross: bool, masked: bool) -> None:
    torch.manual_seed(2)
    reference = nn.MultiheadAttention(32, 4, batch_first=True)
    nn.init.normal_(reference.in_proj_bias)
    nn.init.normal_(reference.out_proj.bias)
    ours = Attention(32, 4)
    ours.load_state_dict(reference.state_dict())
    x = torch.randn(3, 7, 32)
    context = torch.randn(3, 5, 32) if cross else None
    keys = x if context is None else context
    real = (torch.arange(keys.shape[1]) < torch.tensor([[1], [4], [keys.shape[1]]])) if masked else None

    expected, _ = reference(x, keys, keys, key_padding_mask=None if real is None else ~real)

    torch.testing.assert_close(ours(x, context, real), expected, atol=1e-5, rtol=1e-5)


def seed_by_its_formulas(state: dict[str, Tensor], latents: Tensor, timesteps: Tensor, text: Tensor) -> Tensor:
    """The previous system's model for one frame at a time, written down from its description."""

    def linear(name: str, x: Tensor) -> Tensor:
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    def norm(name: str, x: Tensor) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        scaled = centred / torch.sqrt(x.var(-1, keepdim=True, unbiased=False) + 1e-5)
        return scaled * state[f"{name}.weight"] + state[f"{name}.bias"]

    def attention(name: str, query: Tensor, keys: Tensor) -> Tensor:
        module = nn.MultiheadAttention(32, 4, batch_first=True)
        parts = ("in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias")
        module.load_state_dict({part: state[f"{name}.{part}"] for part in parts})
        return module(query, keys, keys)[0]

    def feed_forward(name: str, x: Tensor) -> Tensor:
        hidden = linear(f"{name}.0", x)
        return linear(f"{name}.2", hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2))))

    angles = torch.stack([timesteps * math.exp(-math.log(10_000) * i / 159) for i in range(160)], dim=1)
    time = linear("time_embed.0", torch.cat([angles.sin(), angles.cos()], dim=1))
    time = linear("time_embed.2", time / (1 + torch.exp(-time)))
    prompt = linear("text_proj", text)
    frames = []
    for frame in latents.unbind(1):
        x = linear("input_proj", frame.flatten(2).transpose(1, 2)) + time[:, None] + state["pos_embed"]
        for number in (0, 2):
            x = x + attention(f"blocks.{number}.attn", *[norm(f"blocks.{number}.norm1", x)] * 2)
            x = x + feed_forward(f"blocks.{number}.ff", norm(f"blocks.{number}.norm2", x))
            name = f"blocks.{number + 1}"
            x = x + attention(f"{name}.cross_attn", norm(f"{name}.norm1", x), norm(f"{name}.norm2", prompt))
            x = x + feed_forward(f"{name}.ff", norm(f"{name}.norm1", x))
        frames.append(linear("output_proj", x).transpose(1, 2).reshape(frame.shape))
    return torch.stack(frames, dim=1)


def test_a_seed_model_computes_the_previous_systems_formulas() -> None:
    model, given = model_of(), inputs()
    with torch.no_grad():
        answer = model(given["latents"], given["timesteps"], given["text"], None, None)
        expected = seed_by_its_formulas(model.state_dict(), given["latents"], given["timesteps"], given["text"])
    assert answer.std() > 0.1
    torch.testing.assert_close(answer, expected, atol=2e-5, rtol=1e-4)


def frames_that_change(model: VideoTransformer) -> list[bool]:
    """Which frames of the answer change when frame 1 of the input does."""
    given = inputs()
    changed = given | {"latents": given["latents"].clone()}
    changed["latents"][:, 1] += 1
    with torch.no_grad():
        difference = (model(**given) - model(**changed)).abs().amax((0, 2, 3, 4))
    return [bool(value > 1e-5) for value in difference]


@pytest.mark.parametrize("config", [{}, ADALN], ids=["seed", "adaln"])
def test_without_attention_over_time_a_frame_changes_only_itself(config: dict[str, Any]) -> None:
    assert frames_that_change(model_of(**config, attention="frame")) == [False, True, False]


@pytest.mark.parametrize("attention", ["temporal", "joint", "joint+temporal"])
def test_with_attention_over_time_a_frame_changes_all(attention: str) -> None:
    assert frames_that_change(model_of(**ADALN, attention=attention)) == [True, True, True]


@pytest.mark.parametrize("config", [{}, ADALN | {"attention": "temporal", "qk_norm": True}], ids=["seed", "adaln"])
def test_what_stands_under_the_mask_has_no_influence(config: dict[str, Any]) -> None:
    model, given = model_of(**config), inputs()
    garbage = torch.full((2, 3, 12), 1e4)
    padded = given | {
        "text": torch.cat([given["text"], garbage], dim=1),
        "mask": torch.cat([given["mask"], torch.zeros(2, 3, dtype=torch.bool)], dim=1),
    }
    with torch.no_grad():
        torch.testing.assert_close(model(**padded), model(**given), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_clips_may_be_shorter_than_in_training(frames: int) -> None:
    given = inputs(frames=frames)
    with torch.no_grad():
        answer = model_of(**ADALN, attention="joint+temporal")(**given)
    assert answer.shape == given["latents"].shape


@pytest.mark.parametrize("config", [{}, ADALN | {"attention": "joint+temporal"}], ids=["seed", "adaln"])
def test_saved_and_loaded_it_is_the_same_model(tmp_path: Path, config: dict[str, Any]) -> None:
    model, given = model_of(**config), inputs()
    size = model.null_pooled.numel()
    model.set_null_prompt(torch.randn(2, 12), torch.randn(6))
    model.save_pretrained(tmp_path)

    loaded = VideoTransformer.from_pretrained(tmp_path)

    assert loaded.null_pooled.numel() == size
    assert all(torch.equal(loaded.state_dict()[name], tensor) for name, tensor in model.state_dict().items())
    with torch.no_grad():
        assert torch.equal(loaded.eval()(**given), model(**given))


@pytest.mark.parametrize("config", [{}, ADALN | {"attention": "temporal"}], ids=["seed", "adaln"])
def test_gradient_checkpointing_gives_the_same_gradients(config: dict[str, Any]) -> None:
    plain, saving = model_of(**config).train(), model_of(**config).train()
    saving.enable_gradient_checkpointing()
    for model in (plain, saving):
        model(**inputs()).square().mean().backward()
    assert saving.gradient_checkpointing
    for name, parameter in plain.named_parameters():
        assert torch.equal(saving.get_parameter(name).grad, parameter.grad), name


@pytest.mark.parametrize("config", [{}, ADALN | {"attention": "joint+temporal"}], ids=["seed", "adaln"])
def test_an_untrained_model_answers_zero(config: dict[str, Any]) -> None:
    model = VideoTransformer(**SMALL | config)
    with torch.no_grad():
        assert model(**inputs()).abs().max() == 0


def test_attention_over_time_and_the_gates_start_as_no_ops() -> None:
    torch.manual_seed(3)
    block = VideoTransformer(**SMALL | ADALN | {"attention": "temporal"}).blocks[0]
    x, conditioning, text = torch.randn(2, 3, 4, 32), torch.randn(2, 32), torch.randn(2, 5, 32)
    cross = block.cross_attn(block.norm_cross(x).flatten(1, 2), text).reshape(x.shape)
    torch.testing.assert_close(block(x, conditioning, text, None), x + cross, atol=1e-6, rtol=1e-6)


def test_pooled_text_and_time_steer_an_adaln_model() -> None:
    model, given = model_of(**ADALN), inputs()
    with torch.no_grad():
        answer = model(**given)
        other_prompt = model(**given | {"pooled": given["pooled"] + 1})
        other_time = model(**given | {"timesteps": given["timesteps"] - 10})
    assert (answer - other_prompt).abs().max() > 1e-3
    assert (answer - other_time).abs().max() > 1e-3
