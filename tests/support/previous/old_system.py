"""The previous system, written anew in plain torch from its description: model, training loop, file writer.

Nothing of t2v is used here, so that what t2v computes can be compared with it.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn


class OldSelfAttention(nn.Module):
    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attn = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.norm2 = nn.LayerNorm(dim)
        self.ff = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, x: Tensor, _text: Tensor) -> Tensor:
        normed = self.norm1(x)
        x = x + self.attn(normed, normed, normed)[0]
        return x + self.ff(self.norm2(x))


class OldCrossAttention(nn.Module):
    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.norm2 = nn.LayerNorm(dim)
        self.cross_attn = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.ff = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, x: Tensor, text: Tensor) -> Tensor:
        keys = self.norm2(text)
        x = x + self.cross_attn(self.norm1(x), keys, keys)[0]
        return x + self.ff(self.norm1(x))


class OldVideoTransformer(nn.Module):
    """One frame at a time. Its full size is the default: 172,133,380 parameters."""

    def __init__(self, dim: int = 768, heads: int = 12, pairs: int = 12, side: int = 32, text_dim: int = 512) -> None:
        super().__init__()
        self.pos_embed = nn.Parameter(torch.randn(1, side**2, dim) * 0.02)
        self.time_embed = nn.Sequential(nn.Linear(320, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.input_proj = nn.Linear(4, dim)
        self.text_proj = nn.Linear(text_dim, dim)
        self.blocks = nn.ModuleList(
            kind(dim, heads) for _ in range(pairs) for kind in (OldSelfAttention, OldCrossAttention)
        )
        self.output_proj = nn.Linear(dim, 4)
        nn.init.zeros_(self.output_proj.weight)
        nn.init.zeros_(self.output_proj.bias)

    def forward(self, frame: Tensor, timestep: Tensor, text: Tensor) -> Tensor:
        """frame: (batch, 4, side, side); timestep: (batch,) integers; text: (batch, 77, text_dim)"""
        frequencies = torch.exp(-math.log(10000) * torch.arange(160).float() / 159)
        angles = timestep.float()[:, None] * frequencies
        time = self.time_embed(torch.cat([angles.sin(), angles.cos()], dim=-1))
        x = self.input_proj(frame.flatten(2).transpose(1, 2)) + time[:, None] + self.pos_embed
        text = self.text_proj(text)
        for block in self.blocks:
            x = block(x, text)
        return self.output_proj(x).transpose(1, 2).reshape(frame.shape)


def old_model(*, seed: int = 0, **size: int) -> OldVideoTransformer:
    """With random values also where training starts from zeros or ones, so that every parameter counts."""
    torch.manual_seed(seed)
    model = OldVideoTransformer(**size)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape))
    return model


def old_output(model: OldVideoTransformer, latents: Tensor, timesteps: Tensor, text: Tensor) -> Tensor:
    """Frame by frame. latents: (batch, frames, 4, side, side)"""
    frames = [model(latents[:, i], timesteps, text) for i in range(latents.shape[1])]
    return torch.stack(frames, dim=1)


def old_adamw(model: nn.Module, lr: float = 1e-4) -> torch.optim.AdamW:
    return torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.01)


def alphas_cumprod() -> Tensor:
    """scaled_linear 0.00085 … 0.012, 1000 steps."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    return torch.cumprod(1 - betas, 0)


def old_step(
    model: OldVideoTransformer,
    optimizer: torch.optim.Optimizer,
    micro_batches: list[tuple[Tensor, Tensor, Tensor, Tensor]],
) -> float:
    """One optimiser step over accumulated batches of (latents, text, noise, timesteps); returns the mean loss."""
    kept = alphas_cumprod()
    losses = []
    for latents, text, noise, timesteps in micro_batches:
        alpha = kept[timesteps][:, None, None, None, None]
        noisy = alpha.sqrt() * latents + (1 - alpha).sqrt() * noise
        loss = nn.functional.mse_loss(old_output(model, noisy, timesteps, text), noise)
        (loss / len(micro_batches)).backward()
        losses.append(float(loss.detach()))
    optimizer.step()
    optimizer.zero_grad()
    return sum(losses) / len(losses)


def train_a_little(model: OldVideoTransformer, optimizer: torch.optim.Optimizer, steps: int, *, seed: int = 1) -> None:
    """So that Adam has moments."""
    generator = torch.Generator().manual_seed(seed)
    side = round(model.pos_embed.shape[1] ** 0.5)
    for _ in range(steps):
        latents = torch.randn((1, 2, 4, side, side), generator=generator)
        text = torch.randn((1, 77, model.text_proj.in_features), generator=generator)
        timesteps = torch.randint(1000, (1,), generator=generator)
        noise = torch.randn(latents.shape, generator=generator)
        old_step(model, optimizer, [(latents, text, noise, timesteps)])


def save_old_checkpoint(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer | None, epoch: int, loss: float = 0.31
) -> Path:
    """`checkpoint_epoch_N.pt`; without an optimiser `final_model.pt`, the bare state dict."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content: Any = model.state_dict()
    if optimizer is not None:
        content = {
            "epoch": epoch,
            "model_state_dict": model.state_dict(),
            "optimizer_state_dict": optimizer.state_dict(),
            "loss": loss,
        }
    torch.save(content, path)
    return path
