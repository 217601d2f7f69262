"""Open models of every family, with random weights at the sizes of diffusers' own tests, saved as the hub has them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers as d
import torch
from diffusers.pipelines.hunyuan_video.pipeline_hunyuan_video import DEFAULT_PROMPT_TEMPLATE
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    LlamaConfig,
    LlamaModel,
    PreTrainedTokenizerFast,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
    UMT5Config,
    UMT5EncoderModel,
)

from support.engine.tiny_models import save_clip

WORDS = ["a", "the", "red", "blue", "green", "circle", "square", "moving", "growing", "left", "right", "dog", "running"]
LETTERS = "abcdefghijklmnopqrstuvwxyz"
WIDTH = 32
Make = Callable[[Path], None]


def save_open_model(name: str, folder: Path, *, seed: int = 0) -> Path:
    """Write one of `MODELS` into a folder."""
    torch.manual_seed(seed)
    MODELS[name](folder)
    return folder


def t5_tokenizer() -> T5Tokenizer:
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -9.0), ("▁", -5.0)]
    pieces += [(f"▁{word}", -1.0) for word in WORDS] + [(letter, -3.0) for letter in LETTERS]
    return T5Tokenizer(vocab=pieces, extra_ids=0)


def _text() -> dict[str, Any]:
    config = T5Config(vocab_size=64, d_model=WIDTH, d_ff=37, num_layers=2, num_heads=4, d_kv=8)
    return {"text_encoder": T5EncoderModel(config).eval(), "tokenizer": t5_tokenizer()}


def _wan_transformer(**changes: Any) -> Any:
    return d.WanTransformer3DModel(
        **{
            "patch_size": (1, 2, 2), "num_attention_heads": 2, "attention_head_dim": 12, "in_channels": 16,
            "out_channels": 16, "text_dim": WIDTH, "freq_dim": 256, "ffn_dim": 32, "num_layers": 2,
            "cross_attn_norm": True, "qk_norm": "rms_norm_across_heads", "rope_max_seq_len": 32,
        } | changes
    )  # fmt: skip


def _wan_vae(**changes: Any) -> Any:
    small = {"base_dim": 3, "z_dim": 16, "dim_mult": [1, 1, 1, 1], "num_res_blocks": 1}
    return d.AutoencoderKLWan(**small | {"temperal_downsample": [False, True, True]} | changes)


def _wan_text() -> dict[str, Any]:
    config = UMT5Config(vocab_size=64, d_model=WIDTH, d_ff=37, num_layers=2, num_heads=4, d_kv=8)
    return {"text_encoder": UMT5EncoderModel(config).eval(), "tokenizer": t5_tokenizer()}


def _wan(folder: Path) -> None:
    """With the sampler that Wan 2.1 is published with."""
    scheduler = d.UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0)
    d.WanPipeline(**_wan_text(), vae=_wan_vae(), transformer=_wan_transformer(), scheduler=scheduler).save_pretrained(
        folder
    )


def _wan_euler(folder: Path) -> None:
    scheduler = d.FlowMatchEulerDiscreteScheduler(shift=7.0)
    d.WanPipeline(**_wan_text(), vae=_wan_vae(), transformer=_wan_transformer(), scheduler=scheduler).save_pretrained(
        folder
    )


def _wan_experts(folder: Path) -> None:
    """Wan 2.2 A14B: the second expert answers below 875."""
    d.WanPipeline(
        **_wan_text(),
        vae=_wan_vae(),
        transformer=_wan_transformer(),
        transformer_2=_wan_transformer(),
        scheduler=d.FlowMatchEulerDiscreteScheduler(shift=3.0),
        boundary_ratio=0.875,
    ).save_pretrained(folder)


def _wan_5b(folder: Path) -> None:
    """Wan 2.2 TI2V-5B: another VAE, and a timestep at each token."""
    vae = _wan_vae(
        z_dim=48, in_channels=12, out_channels=12, is_residual=True, patch_size=2, latents_mean=[0.0] * 48,
        latents_std=[1.0] * 48, scale_factor_spatial=16, scale_factor_temporal=4,
    )  # fmt: skip
    d.WanPipeline(
        **_wan_text(),
        vae=vae,
        transformer=_wan_transformer(in_channels=48, out_channels=48),
        scheduler=d.UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=5.0),
        expand_timesteps=True,
    ).save_pretrained(folder)


def _ltx(folder: Path) -> None:
    vae = d.AutoencoderKLLTXVideo(
        latent_channels=8, block_out_channels=(8,) * 4, decoder_block_out_channels=(8,) * 4,
        layers_per_block=(1,) * 5, decoder_layers_per_block=(1,) * 5,
        spatio_temporal_scaling=(True, True, False, False),
        decoder_spatio_temporal_scaling=(True, True, False, False), decoder_inject_noise=(False,) * 5,
        upsample_residual=(False,) * 4, upsample_factor=(1,) * 4, timestep_conditioning=False, patch_size=1,
        patch_size_t=1, encoder_causal=True, decoder_causal=False,
    )  # fmt: skip
    with torch.no_grad():
        vae.latents_mean.uniform_(-0.5, 0.5)
        vae.latents_std.uniform_(0.5, 1.5)
    transformer = d.LTXVideoTransformer3DModel(
        in_channels=8, out_channels=8, patch_size=1, patch_size_t=1, num_attention_heads=4, attention_head_dim=8,
        cross_attention_dim=WIDTH, num_layers=1, caption_channels=WIDTH,
    )  # fmt: skip
    scheduler = d.FlowMatchEulerDiscreteScheduler(
        use_dynamic_shifting=True, base_shift=0.95, max_shift=2.05, base_image_seq_len=1024, max_image_seq_len=4096,
        shift_terminal=0.1,
    )  # fmt: skip
    d.LTXPipeline(**_text(), vae=vae, transformer=transformer, scheduler=scheduler).save_pretrained(folder)


def _cogvideox(folder: Path, **changes: Any) -> None:
    vae = d.AutoencoderKLCogVideoX(
        down_block_types=("CogVideoXDownBlock3D",) * 4, up_block_types=("CogVideoXUpBlock3D",) * 4,
        block_out_channels=(8,) * 4, latent_channels=4, layers_per_block=1, norm_num_groups=2,
        temporal_compression_ratio=4,
    )  # fmt: skip
    transformer = d.CogVideoXTransformer3DModel(
        **{
            "num_attention_heads": 4, "attention_head_dim": 16, "in_channels": 4, "out_channels": 4,
            "time_embed_dim": 2, "text_embed_dim": WIDTH, "num_layers": 1, "sample_width": 4, "sample_height": 4,
            "sample_frames": 9, "patch_size": 2, "temporal_compression_ratio": 4, "max_text_seq_length": 16,
        } | changes
    )  # fmt: skip
    scheduler = d.CogVideoXDDIMScheduler(
        prediction_type="v_prediction", timestep_spacing="trailing", rescale_betas_zero_snr=True,
        snr_shift_scale=1.0 if changes else 3.0,
    )  # fmt: skip
    d.CogVideoXPipeline(**_text(), vae=vae, transformer=transformer, scheduler=scheduler).save_pretrained(folder)


def _cogvideox_5b(folder: Path) -> None:
    _cogvideox(folder, use_rotary_positional_embeddings=True)


def _mochi(folder: Path) -> None:
    vae = d.AutoencoderKLMochi(
        latent_channels=12, out_channels=3, encoder_block_out_channels=(32,) * 4,
        decoder_block_out_channels=(32,) * 4, layers_per_block=(1,) * 5,
    )  # fmt: skip
    transformer = d.MochiTransformer3DModel(
        patch_size=2, num_attention_heads=2, attention_head_dim=8, num_layers=2, pooled_projection_dim=16,
        in_channels=12, qk_norm="rms_norm", text_embed_dim=WIDTH, time_embed_dim=4, activation_fn="swiglu",
        max_sequence_length=16,
    )  # fmt: skip
    transformer.pos_frequencies.data.normal_()
    d.MochiPipeline(
        **_text(),
        vae=vae,
        transformer=transformer,
        scheduler=d.FlowMatchEulerDiscreteScheduler(invert_sigmas=True),
        force_zeros_for_empty_prompt=True,
    ).save_pretrained(folder)


def _hunyuan_video(folder: Path) -> None:
    vae = d.AutoencoderKLHunyuanVideo(
        latent_channels=4, down_block_types=("HunyuanVideoDownBlock3D",) * 4,
        up_block_types=("HunyuanVideoUpBlock3D",) * 4, block_out_channels=(8,) * 4, layers_per_block=1,
        norm_num_groups=4, mid_block_add_attention=True,
    )  # fmt: skip
    transformer = d.HunyuanVideoTransformer3DModel(
        in_channels=4, out_channels=4, num_attention_heads=2, attention_head_dim=10, num_layers=1,
        num_single_layers=1, num_refiner_layers=1, patch_size=1, patch_size_t=1, guidance_embeds=True,
        text_embed_dim=WIDTH, pooled_projection_dim=16, rope_axes_dim=(2, 4, 4),
    )  # fmt: skip
    clip = save_clip(folder.parent / f"{folder.name}-clip", max_length=77)
    text_2 = CLIPTextModel(CLIPTextConfig.from_pretrained(clip)).eval()
    llama = LlamaModel(
        LlamaConfig(
            vocab_size=256, hidden_size=WIDTH, intermediate_size=37, num_hidden_layers=4, num_attention_heads=4,
            max_position_embeddings=512, pad_token_id=0,
        )
    ).eval()  # fmt: skip
    d.HunyuanVideoPipeline(
        text_encoder=llama,
        tokenizer=_llama_tokenizer(),
        text_encoder_2=text_2,
        tokenizer_2=CLIPTokenizer.from_pretrained(clip),
        vae=vae,
        transformer=transformer,
        scheduler=d.FlowMatchEulerDiscreteScheduler(shift=7.0),
    ).save_pretrained(folder)


def _llama_tokenizer() -> PreTrainedTokenizerFast:
    """Whole words: the template takes 95 tokens, as Llama's own has it."""
    split, unknown = Whitespace().pre_tokenize_str, {"unk_token": "<unk>"}
    words = dict.fromkeys(word for word, _ in split(DEFAULT_PROMPT_TEMPLATE["template"] + " ".join(WORDS)))
    vocabulary = {word: i for i, word in enumerate(["<pad>", "<unk>", *words])}
    tokenizer = Tokenizer(WordLevel(vocabulary, **unknown))
    tokenizer.pre_tokenizer = Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **unknown | {"pad_token": "<pad>"})


MODELS: dict[str, Make] = {
    "wan": _wan,
    "wan-euler": _wan_euler,
    "wan-experts": _wan_experts,
    "wan-5b": _wan_5b,
    "ltx": _ltx,
    "cogvideox": _cogvideox,
    "cogvideox-5b": _cogvideox_5b,
    "mochi": _mochi,
    "hunyuan-video": _hunyuan_video,
}
