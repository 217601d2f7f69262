"""The VAE and CLIP a model stands on: the shipped ones are good, and the hub's load as they are."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file
from support.engine.tiny_models import save_clip, save_vae
from torch import Tensor
from transformers import CLIPConfig, CLIPModel

from t2v_core.models.encoders import PromptEncoder, load_prompt_encoder, load_vae
from t2v_core.models.scorer import load_clip_scorer
from t2v_core.recipes.clip_recipe import retrieval
from t2v_core.recipes.vae_recipe import psnr
from t2v_core.recipes.world import decoded_clips, scenes_for

# The configuration files as the hub has them, with narrower layers.
SD_VAE = {
    "_class_name": "AutoencoderKL",
    "_diffusers_version": "0.4.2",
    "act_fn": "silu",
    "block_out_channels": [32, 32, 32, 32],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "in_channels": 3,
    "latent_channels": 4,
    "layers_per_block": 1,
    "norm_num_groups": 32,
    "out_channels": 3,
    "sample_size": 256,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
}
CLIP_B32_TEXT = {
    "model_type": "clip_text_model",
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "max_position_embeddings": 40,
    "projection_dim": 8,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "pad_token_id": 1,
    "hidden_act": "quick_gelu",
}
CLIP_B32_VISION = {
    "model_type": "clip_vision_model",
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_attention_heads": 2,
    "num_hidden_layers": 1,
    "image_size": 32,
    "patch_size": 16,
    "projection_dim": 8,
}


@pytest.fixture(scope="module")
def fresh_clips() -> Tensor:
    """Every combination once, drawn with a seed that nothing else uses."""
    return decoded_clips(108, seed=31_337)


@pytest.fixture(scope="module")
def encoder() -> PromptEncoder:
    return load_prompt_encoder("embedded")


def save_sd_vae(folder: Path) -> Path:
    """As Stable Diffusion's: no scaling factor in its configuration, and the attention's weights under older names."""
    torch.manual_seed(0)
    AutoencoderKL(**{key: value for key, value in SD_VAE.items() if key[0] != "_"}).save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps(SD_VAE))
    file = folder / "diffusion_pytorch_model.safetensors"
    older = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    save_file(
        {re.sub(r"to_q|to_k|to_v|to_out\.0", lambda m: older[m[0]], k): v for k, v in load_file(file).items()}, file
    )
    return folder


def save_clip_b32(folder: Path) -> Path:
    """As ViT-B/32's: both towers in one file, the position ids among the weights, the end token said to be 2."""
    save_clip(folder)
    torch.manual_seed(0)
    text = CLIP_B32_TEXT | {"vocab_size": json.loads((folder / "config.json").read_text())["vocab_size"]}
    config = {
        "model_type": "clip",
        "architectures": ["CLIPModel"],
        "projection_dim": 8,
        "logit_scale_init_value": 2.6592,
    }
    config |= {"text_config": text, "vision_config": CLIP_B32_VISION}
    model = CLIPModel(CLIPConfig.from_dict(config))
    positions = {"text_model.embeddings.position_ids": torch.arange(40)[None]}
    save_file({k: v.contiguous() for k, v in model.state_dict().items()} | positions, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def one_frame(size: int = 64) -> Tensor:
    return torch.randint(0, 256, (2, size, size, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))


def test_the_shipped_vae_rebuilds_fresh_clips_at_30_db(fresh_clips: Tensor) -> None:
    vae = load_vae("embedded")
    frames = fresh_clips[::2, ::3].flatten(0, 1).movedim(-1, 1).float().div(127.5).sub(1)
    assert psnr(vae.model, frames).mean() >= 30


def test_the_shipped_vaes_latents_are_normal_in_every_channel(fresh_clips: Tensor) -> None:
    latents = load_vae("embedded").encode(fresh_clips[::2, 3])
    assert latents.shape == (54, 4, 8, 8)
    assert latents.mean((0, 2, 3)).abs().max() < 0.2
    assert (latents.std((0, 2, 3)) - 1).abs().max() < 0.2


def test_the_shipped_clip_finds_the_caption_of_fresh_clips(fresh_clips: Tensor) -> None:
    scorer = load_clip_scorer("embedded")
    boards, singles = retrieval(scorer.model, scorer.tokenizer, scorer.processor, fresh_clips)
    assert boards >= 0.9
    assert singles >= 0.9


def test_the_scorer_sees_clips_as_its_training_did(fresh_clips: Tensor) -> None:
    scorer = load_clip_scorer("embedded")
    captions = scorer.embed_captions([scene.caption for scene in scenes_for(108)])
    images = torch.cat([scorer.embed_clip(clip) for clip in fresh_clips])
    assert ((images @ captions.T).argmax(1) == torch.arange(108)).float().mean() >= 0.9
    assert scorer.protocol == "2×2 storyboard"


def test_stable_diffusions_vae_loads_and_its_latents_are_scaled_by_018215(tmp_path: Path) -> None:
    vae = load_vae(str(save_sd_vae(tmp_path)))
    latents = vae.encode(one_frame())
    with torch.no_grad():
        mode = vae.model.encode(one_frame().movedim(-1, 1).float() / 127.5 - 1).latent_dist.mode()
    assert (vae.downsampling, vae.default_size, vae.latent_channels) == (8, 256, 4)
    assert vae.statistics() == {"scaling_factor": 0.18215, "mean": [0] * 4, "std": [1] * 4}
    torch.testing.assert_close(latents, mode * 0.18215)


def test_older_names_of_a_vaes_attention_are_read(tmp_path: Path) -> None:
    folder = save_sd_vae(tmp_path)
    written = load_file(folder / "diffusion_pytorch_model.safetensors")
    attention = load_vae(str(folder)).model.decoder.mid_block.attentions[0]
    assert torch.equal(attention.to_q.weight, written["decoder.mid_block.attentions.0.query.weight"])
    assert torch.equal(attention.to_out[0].weight, written["decoder.mid_block.attentions.0.proj_attn.weight"])


def test_a_vae_with_mean_and_deviation_normalises_by_channel(tmp_path: Path) -> None:
    folder = save_vae(tmp_path)
    plain = load_vae(str(folder))
    config = json.loads((folder / "config.json").read_text())
    moments = {"latents_mean": [1.0, -2.0, 0.5, 0.0], "latents_std": [2.0, 0.5, 1.0, 4.0], "scaling_factor": 0.5}
    (folder / "config.json").write_text(json.dumps(config | moments))

    vae = load_vae(str(folder))

    mean, std = (torch.tensor(moments[key]).reshape(1, 4, 1, 1) for key in ("latents_mean", "latents_std"))
    mode = plain.encode(one_frame(32)) / 0.18215
    torch.testing.assert_close(vae.encode(one_frame(32)), (mode - mean) / std * 0.5)
    assert (vae.decode(vae.encode(one_frame(32))).int() - plain.decode(mode * 0.18215).int()).abs().max() <= 1


def test_vit_b32_loads_as_the_hub_has_it(tmp_path: Path) -> None:
    encoder = load_prompt_encoder(str(save_clip_b32(tmp_path)))
    embedding = encoder.encode(["a dog runs"])[0]
    assert (encoder.max_length, encoder.dim, encoder.pooled_dim) == (40, 16, 8)
    assert embedding.tokens.shape == (10, 16)
    with torch.no_grad():
        torch.testing.assert_close(embedding.pooled, encoder.model.text_projection(embedding.tokens[-1]))


def test_weights_in_the_older_form_are_read(tmp_path: Path) -> None:
    folder = save_clip_b32(tmp_path)
    expected = load_prompt_encoder(str(folder)).encode(["a dog runs"])[0]
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    torch.testing.assert_close(load_prompt_encoder(str(folder)).encode(["a dog runs"])[0].pooled, expected.pooled)


def test_frames_score_one_by_one_with_a_clip_that_knows_no_storyboards(tmp_path: Path) -> None:
    folder = save_clip_b32(tmp_path)
    size = {"height": 32, "width": 32}
    (folder / "preprocessor_config.json").write_text(json.dumps({"size": {"shortest_edge": 32}, "crop_size": size}))
    scorer = load_clip_scorer(str(folder))
    images = scorer.embed_clip(torch.cat([one_frame(), one_frame()]))
    assert (images.shape, scorer.protocol) == ((4, 8), "mean over frames")
    torch.testing.assert_close(images.norm(dim=-1), torch.ones(4))


def test_a_prompts_embedding_does_not_depend_on_the_others(encoder: PromptEncoder) -> None:
    prompts = ["red", "a red circle moving left", ""]
    together = encoder.encode(prompts)
    for prompt, embedding in zip(prompts, together, strict=True):
        alone = encoder.encode([prompt])[0]
        assert len(embedding.tokens) == encoder.count_tokens(prompt)
        torch.testing.assert_close(embedding.tokens, alone.tokens, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(embedding.pooled, alone.pooled, atol=1e-5, rtol=1e-5)


def test_a_prompt_is_encoded_as_if_it_were_padded_to_full_length(encoder: PromptEncoder) -> None:
    prompt = "a red circle moving left"
    padded = encoder.tokenizer(prompt, padding="max_length", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        expected = encoder.model(padded)
    embedding = encoder.encode([prompt])[0]
    torch.testing.assert_close(
        embedding.tokens, expected.last_hidden_state[0, : len(embedding.tokens)], atol=1e-5, rtol=1e-5
    )
    torch.testing.assert_close(embedding.pooled, expected.text_embeds[0], atol=1e-5, rtol=1e-5)


def test_a_prompt_too_long_is_cut_and_says_so(encoder: PromptEncoder) -> None:
    fits, too_long = " ".join(["red"] * 30), " ".join(["red"] * 31)
    embeddings = encoder.encode([fits, too_long, "red"])
    assert (encoder.count_tokens(fits), encoder.count_tokens(too_long)) == (32, 33)
    assert [embedding.is_truncated for embedding in embeddings] == [False, True, False]
    assert [len(embedding.tokens) for embedding in embeddings] == [32, 32, 3]


@pytest.mark.parametrize("precision", ["auto", "fp16", "fp32", "bf16"])
def test_the_vae_never_runs_in_fp16(precision: str) -> None:
    vae = load_vae("embedded", precision=precision)
    assert vae.model.dtype == (torch.bfloat16 if precision == "bf16" else torch.float32)
    assert vae.encode(one_frame()).dtype == torch.float32


def test_other_weights_have_another_identity(tmp_path: Path) -> None:
    first, same, other = (save_vae(tmp_path / name, seed=seed) for name, seed in (("a", 0), ("b", 0), ("c", 1)))
    hashes = [load_vae(str(folder)).identity.sha256 for folder in (first, same, other)]
    assert hashes[0] == hashes[1] != hashes[2]
