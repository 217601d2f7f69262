"""Long clips through a model of fixed length: overlapping windows, blended."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from t2v_core.errors import InvalidRequest

Window = tuple[int, int]


def windows_over(frames: int, length: int, overlap: int | None = None) -> list[Window]:
    """Return windows (begin, end) of at most `length` frames that cover `frames`; neighbours share `overlap` or more.

    overlap: default half a window. Raises InvalidRequest when it leaves windows that do not move on.
    """
    overlap = length // 2 if overlap is None else overlap
    if overlap >= length > 1:
        raise InvalidRequest(
            f"overlap is {overlap}, and a window has only {length} frames", hint=f"use 0 … {length - 1}"
        )
    if frames <= length:
        return [(0, frames)]
    stride = max(1, length - overlap)
    begins = [*range(0, frames - length, stride), frames - length]
    return [(begin, begin + length) for begin in begins]


def blend(parts: Sequence[Tensor], windows: Sequence[Window], frames: int) -> Tensor:
    """Average overlapping windows, each weighted less towards its ends, so that no seam shows.

    parts: (batch, window, channels, height, width) each. Returns (batch, frames, channels, height, width).
    """
    if len(parts) == 1:
        return parts[0]
    total = parts[0].new_zeros(parts[0].shape[0], frames, *parts[0].shape[2:])
    weights = total.new_zeros(1, frames, 1, 1, 1)
    for part, (begin, end) in zip(parts, windows, strict=True):
        length = end - begin
        ramp = torch.minimum(torch.arange(1, length + 1), torch.arange(length, 0, -1)).to(part)
        ramp = ramp.reshape(1, -1, 1, 1, 1)
        total[:, begin:end] += part * ramp
        weights[:, begin:end] += ramp
    return total / weights
