"""Real encoders with random weights, small enough to run in milliseconds, saved as their libraries save them."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPTokenizer


def save_vae(folder: Path, *, seed: int = 0) -> Path:
    """An AutoencoderKL: frames of 32 × 32, shrunk 8 times to 4 channels."""
    torch.manual_seed(seed)
    AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(4, 4, 8, 8),
        norm_num_groups=2,
        latent_channels=4,
        sample_size=32,
    ).save_pretrained(folder)
    return folder


def save_overflowing_vae(folder: Path) -> Path:
    """One whose latents are not finite."""
    save_vae(folder)
    model = AutoencoderKL.from_pretrained(folder)
    with torch.no_grad():
        model.quant_conv.bias.fill_(float("inf"))
    model.save_pretrained(folder)
    return folder


def save_clip(folder: Path, *, seed: int = 0, max_length: int = 40, width: int = 16) -> Path:
    """CLIP's text tower over single letters, pooled to 8."""
    torch.manual_seed(seed)
    letters = [chr(code) for code in range(33, 127)]
    pieces = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({piece: i for i, piece in enumerate(pieces)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    CLIPTokenizer.from_pretrained(folder, model_max_length=max_length).save_pretrained(folder)
    config = CLIPTextConfig(
        vocab_size=len(pieces),
        hidden_size=width,
        intermediate_size=32,
        projection_dim=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=max_length,
        bos_token_id=len(pieces) - 2,
        eos_token_id=len(pieces) - 1,
        pad_token_id=len(pieces) - 1,
    )
    CLIPTextModelWithProjection(config).save_pretrained(folder)
    return folder
