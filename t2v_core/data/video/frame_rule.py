"""Which frames of a clip are picked: evenly spaced over all of it, or a fixed stride apart around its middle."""

from __future__ import annotations

import numpy as np

EVENLY_SPACED = "round(linspace(0, N-1, frames))"


def frame_rule(stride: int | None) -> str:
    """Return the rule as manifests name it.

    N is the number of frames the file shows, i counts the picked ones from 0.
    """
    return EVENLY_SPACED if stride is None else f"(N-1 - {stride}*(frames-1))//2 + {stride}*i"


def pick_frames(total: int, count: int, stride: int | None = None) -> list[int]:
    """Return indices of `count` of `total` frames. Raises ValueError, with the numbers, when a stride does not fit."""
    return evenly_spaced(total, count) if stride is None else centred(total, count, stride)


def evenly_spaced(total: int, count: int) -> list[int]:
    """Return `count` indices from the first of `total` frames to the last; they repeat when there are fewer frames."""
    return [int(i) for i in np.round(np.linspace(0, total - 1, count))]


def centred(total: int, count: int, stride: int) -> list[int]:
    """Return `count` indices `stride` apart, with as many frames before as after them (one fewer before, if odd).

    The middle, because clips are cut from longer films by time, and titles and cuts lie near their ends.
    """
    needed = (count - 1) * stride + 1
    if total < needed:
        raise ValueError(f"it has {total} frames, and {count} frames {stride} apart need {needed}")
    start = (total - needed) // 2
    return list(range(start, start + needed, stride))
