"""Several frames of a clip in one picture, so that an image encoder can see motion."""

from __future__ import annotations

import torch
from torch import Tensor


def storyboards(clips: Tensor, side: int) -> Tensor:
    """Lay side² evenly spaced frames of each clip out as one picture, read row by row.

    clips: (n, frames, height, width, 3) uint8; height and width divisible by `side`
    Returns (n, height, width, 3) uint8; each tile is averaged down by `side`.
    """
    n, count, height, width, _ = clips.shape
    picks = torch.linspace(0, count - 1, side * side).round().long()
    tiles = clips[:, picks].float()
    tiles = tiles.reshape(n, side * side, height // side, side, width // side, side, 3).mean((3, 5))
    board = tiles.reshape(n, side, side, height // side, width // side, 3).permute(0, 1, 3, 2, 4, 5)
    return board.reshape(n, height, width, 3).round().to(torch.uint8)
