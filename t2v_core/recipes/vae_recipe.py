"""How the embedded VAE was trained: `python -m t2v_core.recipes.make vae`.

8× downsampling to 4 channels, 0.69 M parameters. The shape covers a few percent of a frame, so its pixels weigh more;
the last sixth of the steps trains the decoder alone, for plain squared error.
"""

from __future__ import annotations

import math
import time
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from t2v_core.recipes.world import decoded_clips, held_out_clips

LEARNING_RATE = 2e-3
KL_WEIGHT = 1e-4
FOREGROUND_WEIGHT = 4.0


def build() -> AutoencoderKL:
    """Make an untrained AutoencoderKL for 64×64 frames: latents (4, 8, 8)."""
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 16, 32, 64),
        layers_per_block=1,
        norm_num_groups=4,
        latent_channels=4,
        sample_size=64,
        scaling_factor=1.0,
    )


def train(output: Path, *, steps: int, clips: int, seed: int = 0) -> None:
    """Train on frames of `clips` clips and save to `output`, with the latents' mean and deviation per channel."""
    torch.manual_seed(seed)
    frames = _to_input(decoded_clips(clips, seed=seed)).flatten(0, 1)
    held_out = _to_input(held_out_clips(54)).flatten(0, 1)
    vae = build()
    optimizer = torch.optim.AdamW(vae.parameters(), lr=LEARNING_RATE, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps, pct_start=0.05)
    decoder_only_from = steps * 5 // 6
    started = time.monotonic()
    for step in range(steps):
        batch = frames[torch.randint(len(frames), (16,))]
        loss = _loss(vae, batch, decoder_only=step >= decoder_only_from)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if (step + 1) % 100 == 0 or step + 1 == steps:
            print(
                f"step {step + 1}/{steps}  loss {loss.item():.5f}  held-out PSNR {psnr(vae, held_out).mean():.2f} dB"
                f"  {time.monotonic() - started:.0f} s",
                flush=True,
            )
    _record_latent_statistics(vae, frames)
    vae.save_pretrained(output)


def _to_input(clips: Tensor) -> Tensor:
    """(clips, frames, height, width, 3) uint8 → (clips, frames, 3, height, width) in −1 … 1."""
    return clips.movedim(-1, -3).float().div(127.5).sub(1)


def _loss(vae: AutoencoderKL, batch: Tensor, *, decoder_only: bool) -> Tensor:
    with torch.set_grad_enabled(not decoder_only):
        posterior = vae.encode(batch).latent_dist
        latents = posterior.mode() if decoder_only else posterior.sample()
    error = vae.decode(latents).sample - batch
    if decoder_only:
        return error.square().mean()
    background = batch[..., :1, :1]
    foreground = ((batch - background).abs().amax(1, keepdim=True) > 0.15).float()
    weighted = (error.square() * (1 + FOREGROUND_WEIGHT * foreground)).mean()
    return weighted + 0.1 * error.abs().mean() + KL_WEIGHT * posterior.kl().mean() / batch[0].numel() * 64


@torch.no_grad()
def psnr(vae: AutoencoderKL, frames: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio of every reconstructed frame in dB.

    frames: (n, 3, height, width) in −1 … 1
    """
    rebuilt = torch.cat([vae.decode(vae.encode(part).latent_dist.mode()).sample for part in frames.split(64)])
    mse = (rebuilt.clamp(-1, 1) - frames).square().flatten(1).mean(1)
    return 20 * math.log10(2) - 10 * mse.log10()


@torch.no_grad()
def _record_latent_statistics(vae: AutoencoderKL, frames: Tensor) -> None:
    """One scalar does not normalise these latents (deviations differ five-fold), so keep mean and std per channel."""
    latents = torch.cat([vae.encode(part).latent_dist.mode() for part in frames[::4].split(64)])
    vae.register_to_config(latents_mean=latents.mean((0, 2, 3)).tolist(), latents_std=latents.std((0, 2, 3)).tolist())
