"""What a clip of the built-in world shows, measured from its pixels: colour, shape and motion, or None where malformed.

Every frame is compared with each shape's own drawing (`shape_coverage`) at the place and size found there. A shape is
named only where one drawing explains the whole frame, so that a blob, a ring or two shapes are none of the three.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from t2v_core.data.shapes.shapes import COLOURS, DIRECTIONS, SHAPES, Scene, shape_coverage

Array = NDArray[np.float64]

# Over 216 decoded clips: IoU at least .87, lead over the second shape at least .07; blurred by 1.2 px with noise of
# 6/255: .84, .046. A blob whose outline wanders by 15 % of its radius: IoU .79.
MIN_IOU, MIN_LEAD = 0.83, 0.03
RADIUS_RANGE = (3.5, 24.0)  # pixels of a 64-pixel frame; the world draws 6 to 18

MIN_CONTRAST = 50.0  # RGB distance to the background; the world's faintest colour, green, keeps about 110
MAX_COLOUR_DISTANCE = 50.0  # real clips: 23 at most; blue and purple, the nearest two, are 106 apart
MIN_EVENNESS = 0.75  # of the solid pixels within 80 of their median; a chroma-smeared edge leaves 0.93, two halves 0.6
MIN_AGREEMENT = 0.85  # of the frames: 7 of 8

MIN_TRAVEL = 0.12  # of the frame's side, over the clip; the world's least is 0.34
MIN_SIZE_CHANGE = 0.25  # of the mean size, over the clip; the world's least is 0.55
MAX_STEP = 0.45  # of the whole change, in one frame: more is a jump (an even path of 8 frames takes 0.14)
MAX_BACKTRACK = 0.25  # of the whole change, summed over the frames that go the wrong way

UNIT_AREA = {"circle": math.pi, "square": 3.24, "triangle": 1.8}  # of `shape_coverage` at radius 1


@dataclass(frozen=True)
class Verdict:
    """What a clip shows. None means that nothing could be named; `reason` says why.

    jitter_px: mean length of the centroid's second difference in pixels of a 64-pixel frame (the world's own clips
    have 0.06), or NaN where no three frames running show one thing.
    """

    colour: str | None
    shape: str | None
    motion: str | None
    jitter_px: float
    reason: str = ""


class Obeyed(NamedTuple):
    """Which words of a scene a clip obeys; `all(obeyed)` is true where it obeys every one."""

    colour: bool
    shape: bool
    motion: bool


@dataclass(frozen=True)
class _Frame:
    """What one frame shows; `size` (the root of the area, pixels) is NaN where there is nothing, or no single thing."""

    colour: str | None = None
    shape: str | None = None
    centroid: tuple[float, float] = (math.nan, math.nan)
    size: float = math.nan


def judge(frames: NDArray[np.uint8]) -> Verdict:
    """Say which colour, shape and motion a clip shows, or None for each that it does not show plainly.

    frames: (frames, height, width, 3) RGB of 64 pixels a side or more, on a plain background.
    Raises ValueError for another layout.
    """
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or not frames.size:
        raise ValueError(f"a clip is (frames, height, width, 3) uint8, not {frames.shape} {frames.dtype}")
    clip = _reduced(frames)
    unit = max(clip.shape[1:3]) / 64
    seen = [_look(image, unit) for image in clip]
    sizes, path = np.array([frame.size for frame in seen]), np.array([frame.centroid for frame in seen]) / unit
    is_whole = not np.isnan(sizes).any()
    colour, no_colour = _agreed("colour", [frame.colour for frame in seen])
    shape, no_shape = _agreed("well-formed shape", [frame.shape for frame in seen])
    motion, no_motion = None, "nothing, or no single thing, to see in some frames"
    if is_whole:
        motion, no_motion = _motion(path / 64, sizes / sizes.mean())
    bends = np.linalg.norm(np.diff(path, n=2, axis=0), axis=-1)
    jitter_px = float(np.nanmean(bends)) if np.isfinite(bends).any() else math.nan
    reason = "; ".join(filter(None, (no_colour, no_shape, no_motion)))
    return Verdict(colour, shape if is_whole else None, motion, jitter_px, reason)


def obeys(verdict: Verdict, scene: Scene) -> Obeyed:
    """Compare what a clip shows with what was asked for."""
    return Obeyed(verdict.colour == scene.colour, verdict.shape == scene.shape, verdict.motion == scene.motion)


def _reduced(frames: NDArray[np.uint8]) -> Array:
    """Average large frames down to a side of 64 to 127 pixels, where the thresholds were measured."""
    count, height, width, _ = frames.shape
    factor = max(1, max(height, width) // 64)
    rows, columns = height // factor, width // factor
    cut = frames[:, : rows * factor, : columns * factor].astype(np.float64)
    return np.asarray(cut.reshape(count, rows, factor, columns, factor, 3).mean(axis=(2, 4)))


def _look(image: Array, unit: float) -> _Frame:
    border = np.concatenate([image[0], image[-1], image[1:-1, 0], image[1:-1, -1]])
    background = np.median(border, axis=0)
    distance = np.linalg.norm(image - background, axis=-1)
    # The smallest triangle covers 65 pixels: the strongest 32 are surely inside it, and too many for stray noise.
    inside = np.median(np.sort(distance, axis=None)[-round(32 * unit * unit) :])
    solid = image[distance >= 0.8 * inside]
    paint = np.median(solid, axis=0)
    contrast = float(np.linalg.norm(paint - background))
    if contrast < MIN_CONTRAST:
        return _Frame()
    coverage = np.minimum(distance / contrast, 1)
    fits = sorted((*_fit(_sharpened(coverage), shape), shape) for shape in SHAPES)
    (second_iou, *_), (iou, radius, shape) = fits[-2:]
    if not RADIUS_RANGE[0] <= radius / unit <= RADIUS_RANGE[1]:
        return _Frame()
    is_plain = iou >= MIN_IOU and iou - second_iou >= MIN_LEAD
    is_even = np.mean(np.linalg.norm(solid - paint, axis=-1) < 80) >= MIN_EVENNESS
    off, colour = min((float(np.linalg.norm(paint - rgb)), name) for name, rgb in COLOURS.items())
    # Soft edges place the centroid best: jitter .06 px on real clips, .17 when sharpened.
    _, (x, y) = _moments(np.clip((coverage - 0.1) / 0.9, 0, 1))
    named = colour if is_even and off <= MAX_COLOUR_DISTANCE else None
    return _Frame(named, shape if is_plain else None, (float(x), float(y)), radius * math.sqrt(UNIT_AREA[shape]))


def _sharpened(coverage: Array) -> Array:
    # Haze under 1/4 (noise, smeared chroma) becomes background, and a blurred edge an edge, in drawing and frame alike.
    # Without it the noise of a whole frame outweighs a small shape: median IoU .47 instead of .96.
    return np.clip(2 * coverage - 0.5, 0, 1)


def _fit(coverage: Array, shape: str) -> tuple[float, float]:
    """Draw the shape with the frame's own centroid and area, also where the border cuts it: soft IoU, radius."""
    height, width = coverage.shape
    area, centroid = _moments(coverage)
    centre, radius, best = centroid, math.sqrt(area / UNIT_AREA[shape]), (-1.0, 0.0)
    for _ in range(4):
        drawn = _sharpened(shape_coverage(shape, centre, radius, max(height, width))[:height, :width])
        iou = float(np.minimum(drawn, coverage).sum() / np.maximum(drawn, coverage).sum())
        best = max(best, (iou, radius))
        drawn_area, drawn_centroid = _moments(drawn)
        if drawn_area < 1 or iou < 0.6:  # refining gains a few hundredths: this one is not it
            break
        shift, growth = centroid - drawn_centroid, math.sqrt(area / drawn_area)
        if np.abs(shift).max() < 0.03 and abs(growth - 1) < 0.005:
            break
        centre, radius = centre + shift, radius * growth
    return best


def _moments(coverage: Array) -> tuple[float, Array]:
    """Area and centroid (x, y) in pixels."""
    columns, rows = coverage.sum(axis=0), coverage.sum(axis=1)
    area, x, y = columns.sum(), columns @ (np.arange(columns.size) + 0.5), rows @ (np.arange(rows.size) + 0.5)
    return float(area), np.array([x, y]) / max(area, 1e-9)


def _agreed(kind: str, names: Sequence[str | None]) -> tuple[str | None, str]:
    """The name that nearly every frame gives and no frame contradicts (a shape that morphs has none), or why not."""
    given = Counter(name or "none" for name in names)
    name, count = given.most_common(1)[0]
    if name != "none" and count + given["none"] == len(names) and count >= MIN_AGREEMENT * len(names):
        return name, ""
    return None, f"no one {kind}: " + ", ".join(f"{each} in {n} of {len(names)}" for each, n in given.most_common())


def _motion(path: Array, sizes: Array) -> tuple[str | None, str]:
    """The motion, or None and why not. path: (frames, 2) over the frame's side; sizes: (frames,) over their mean."""
    if len(sizes) < 4:
        return None, "no motion: it takes 4 frames to tell"
    travel_x, travel_y, change = np.polyfit(np.linspace(0, 1, len(sizes)), np.column_stack([path, sizes]), 1)[0]
    axis, travel, across = (0, travel_x, travel_y) if abs(travel_x) > abs(travel_y) else (1, travel_y, travel_x)
    is_moving, is_resizing = abs(travel) > MIN_TRAVEL, abs(change) > MIN_SIZE_CHANGE
    if is_moving == is_resizing:
        return None, f"no motion: it {'moves and changes size' if is_moving else 'keeps its place and size'}"
    if is_resizing:
        name, steps = "growing" if change > 0 else "shrinking", np.diff(sizes) / change
    else:
        name = next(known for known, towards in DIRECTIONS.items() if towards[axis] == np.sign(travel))
        steps = np.diff(path[:, axis]) / travel
    is_steady = steps.max() <= MAX_STEP and -steps[steps < 0].sum() <= MAX_BACKTRACK
    if is_steady and (is_resizing or abs(across) < abs(travel) / 2):
        return name, ""
    return None, f"no motion: {name} on the whole, but it jumps, turns back or slants"
