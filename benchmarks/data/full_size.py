"""The encoders that users have, at full size: configurations of sd-vae-ft-mse and CLIP ViT-B/32, weights random."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from clips import make_clip
from diffusers import AutoencoderKL
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPTokenizer

from t2v_core import embedded

WORDS = "a red circle moves to the left"
SD_VAE: dict[str, Any] = {
    "down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4,
    "block_out_channels": (128, 256, 512, 512), "layers_per_block": 2, "norm_num_groups": 32, "latent_channels": 4,
    "sample_size": 256,
}  # fmt: skip


def save_sd_vae(folder: Path) -> Path:
    """34.2 M parameters of encoder, 49.5 M of decoder, as the hub's directory."""
    torch.manual_seed(0)
    AutoencoderKL(**SD_VAE).save_pretrained(folder)
    return folder


def save_clip_text(folder: Path) -> Path:
    """63 M parameters: 12 layers, 512 wide, 49,408 pieces; the tokenizer is ours."""
    torch.manual_seed(0)
    tokenizer = CLIPTokenizer.from_pretrained(embedded.CLIP)
    tokenizer.model_max_length = 77
    tokenizer.save_pretrained(folder)
    config = CLIPTextConfig(
        vocab_size=49408,
        hidden_size=512,
        intermediate_size=2048,
        projection_dim=512,
        num_hidden_layers=12,
        num_attention_heads=8,
        max_position_embeddings=77,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    CLIPTextModelWithProjection(config).save_pretrained(folder)
    return folder


def save_data_set(root: Path, *, clips: int, captions: int, seconds: float) -> Path:
    """Clips of 320 × 240 at 30 frames a second, 370 kb/s, a keyframe every 250 frames; captions of about 12 tokens."""
    (root / "videos").mkdir(parents=True)
    (root / "annotations").mkdir()
    rows = []
    for number in range(clips):
        path = root / f"videos/video{number}.mp4"
        make_clip(path, seconds=seconds, fps=Fraction(30), gop=250, b_frames=3, seed=number)
        rows.append({"video_id": path.stem, "caption": [f"{WORDS} {number} {i}" for i in range(captions)]})
    (root / "annotations/train_9k.json").write_text(json.dumps(rows))
    return root
