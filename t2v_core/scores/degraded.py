"""Real videos made worse in six ways: a score that does not notice one of them is blind to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional

# Ways that change single frames are mixed with the original to this PSNR, so that none is seen for being stronger.
PSNR_DB = 20.0
BLUR, JITTER = 4, 8
OF_TIME = ("shuffled", "frozen")
# A score that moves by less than this share of itself has not moved.
LEAST = 1e-4


def shuffled(frames: Tensor, drawn: torch.Generator) -> Tensor:
    """Put the frames into another order."""
    order = torch.randperm(len(frames), generator=drawn)
    return frames[order.roll(1) if torch.equal(order, torch.arange(len(frames))) else order]


def frozen(frames: Tensor, _drawn: torch.Generator) -> Tensor:
    """Show the middle frame all the time."""
    return frames[len(frames) // 2].expand_as(frames)


def jittered(frames: Tensor, drawn: torch.Generator) -> Tensor:
    """Move each frame by up to an eighth of its side."""
    reach = max(1, frames.shape[1] // JITTER)
    moves = torch.randint(-reach, reach + 1, (len(frames), 2), generator=drawn).tolist()
    return _mixed(frames, torch.stack([frame.roll(move, (0, 1)) for frame, move in zip(frames, moves, strict=True)]))


def blurred(frames: Tensor, _drawn: torch.Generator) -> Tensor:
    """Make each frame a quarter as large, and large again."""
    planes = frames.permute(0, 3, 1, 2).float()
    small = functional.interpolate(planes, scale_factor=1 / BLUR, mode="area")
    return _mixed(frames, functional.interpolate(small, size=planes.shape[2:], mode="bilinear").permute(0, 2, 3, 1))


def noised(frames: Tensor, drawn: torch.Generator) -> Tensor:
    """Add to each pixel."""
    return _mixed(frames, frames.float() + 128 * torch.randn(frames.shape, generator=drawn))


def recoloured(frames: Tensor, _drawn: torch.Generator) -> Tensor:
    """Swap red, green and blue."""
    return _mixed(frames, frames.roll(1, -1))


WAYS: dict[str, Callable[[Tensor, torch.Generator], Tensor]] = {
    "shuffled": shuffled, "frozen": frozen, "jittered": jittered, "blurred": blurred, "noised": noised,
    "recoloured": recoloured,
}  # fmt: skip


def degraded(frames: Tensor, way: str, seed: int) -> Tensor:
    """Return a video, (frames, height, width, 3) uint8, made worse in one of `WAYS`; the same for the same seed."""
    return WAYS[way](frames, torch.Generator().manual_seed(seed))


def _mixed(frames: Tensor, worse: Tensor) -> Tensor:
    """So much of the worse one that the PSNR is `PSNR_DB`; all of it where that does not reach."""
    original = frames.float()
    change = worse.float() - original
    error, wanted = float(change.square().mean()), 255**2 / 10 ** (PSNR_DB / 10)
    share = min(1.0, (wanted / error) ** 0.5) if error else 0.0
    return (original + share * change).round().clamp(0, 255).to(torch.uint8)


def blind_to(whole: float, worse: Mapping[str, float], *, higher_is_better: bool) -> list[str]:
    """Return the ways that a score does not notice. whole: of the real videos as they are; worse: by way"""
    least = LEAST * abs(whole)
    sign = 1 if higher_is_better else -1
    return [way for way, value in worse.items() if sign * (whole - value) <= least]
