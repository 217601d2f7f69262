"""The built-in world: coloured shapes that move, as H.264 clips in MSR-VTT's layout.

108 combinations of 6 colours, 3 shapes and 6 motions. One in nine is kept out of training, so that a model can be
asked for something it never saw.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (220, 40, 40),
    "green": (40, 180, 60),
    "blue": (50, 80, 220),
    "yellow": (235, 210, 50),
    "purple": (150, 60, 190),
    "white": (240, 240, 240),
}
SHAPES = ("circle", "square", "triangle")
MOTIONS = ("moving right", "moving left", "moving up", "moving down", "growing", "shrinking")
DIRECTIONS = {"moving right": (1, 0), "moving left": (-1, 0), "moving up": (0, -1), "moving down": (0, 1)}

# Clips are small and full of flat saturated colour, which 4:2:0 smears at the usual quality of 18.
CLIP_CRF = 12

CAPTION_FORMS = (
    "a {colour} {shape} {motion}",
    "the {colour} {shape} is {motion}",
    "{colour} {shape} {motion}",
    "a {shape} that is {colour} and {motion}",
)


@dataclass(frozen=True)
class Scene:
    """One clip of the world, said in words."""

    colour: str
    shape: str
    motion: str

    @property
    def caption(self) -> str:
        """Return the scene in words, in the form that prompts use."""
        return CAPTION_FORMS[0].format(colour=self.colour, shape=self.shape, motion=self.motion)

    def captions(self) -> list[str]:
        """Return every way this world has of saying it; the first is the one prompts use."""
        return [form.format(colour=self.colour, shape=self.shape, motion=self.motion) for form in CAPTION_FORMS]

    @property
    def is_held_out(self) -> bool:
        """Tell whether this is one of the 12 of 108 combinations that training never shows.

        They are a Latin square: every colour, shape and motion stays in training many times.
        """
        indices = list(COLOURS).index(self.colour) + 2 * SHAPES.index(self.shape) + 3 * MOTIONS.index(self.motion)
        return indices % 9 == 0


def all_scenes() -> list[Scene]:
    """Return the 108 combinations, in a fixed order."""
    return [Scene(*parts) for parts in itertools.product(COLOURS, SHAPES, MOTIONS)]


def render(scene: Scene, rng: np.random.Generator, *, frames: int = 8, size: int = 64) -> NDArray[np.uint8]:
    """Draw one clip with anti-aliased edges; place, radius, travel, background and tint vary with `rng`.

    Returns (frames, size, size, 3) RGB. Lengths below are pixels of a 64-pixel frame and scale with `size`.
    """
    unit = size / 64
    background = rng.uniform(18, 52)
    colour = np.clip(np.array(COLOURS[scene.colour]) + rng.uniform(-12, 12, 3), 0, 255)
    centres, radii = _path(scene.motion, rng, frames, unit)
    clip = np.empty((frames, size, size, 3), np.uint8)
    for index in range(frames):
        coverage = shape_coverage(scene.shape, centres[index], radii[index], size)[..., None]
        clip[index] = np.round(background * (1 - coverage) + colour * coverage)
    return clip


def _path(
    motion: str, rng: np.random.Generator, frames: int, unit: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centres (frames, 2) and radii (frames,) in pixels: the shape stays inside the frame all the way."""
    progress = np.linspace(0, 1, frames)
    radius = rng.uniform(8, 13) * unit
    if motion in DIRECTIONS:
        travel = rng.uniform(22, 32) * unit
        step = np.array(DIRECTIONS[motion]) * travel
        room = (64 * unit - 2.4 * radius - np.abs(step)) / 2  # a triangle reaches 1.2 radii up
        middle = 32 * unit + rng.uniform(-1, 1, 2) * room
        return middle + (progress[:, None] - 0.5) * step, np.full(frames, radius)
    small, large = rng.uniform(6, 8) * unit, rng.uniform(14, 18) * unit
    radii = np.linspace(small, large, frames) if motion == "growing" else np.linspace(large, small, frames)
    middle = 32 * unit + rng.uniform(-1, 1, 2) * (32 * unit - 1.2 * large)
    return np.tile(middle, (frames, 1)), radii


def shape_coverage(shape: str, centre: NDArray[np.float64], radius: float, size: int) -> NDArray[np.float64]:
    """Return how much of each pixel the shape covers: (size, size) in 0 … 1.

    It comes from a signed distance with a one-pixel ramp.
    """
    y, x = np.mgrid[0:size, 0:size] + 0.5
    dx, dy = x - centre[0], y - centre[1]
    if shape == "circle":
        distance = np.hypot(dx, dy) - radius
    elif shape == "square":
        distance = np.maximum(np.abs(dx), np.abs(dy)) - radius * 0.9
    else:  # an upright triangle, 2r wide and 1.8r high, its centre of mass at the centre
        height = radius * 1.8
        half_width = radius * (dy / height + 2 / 3)
        slanted_side = (np.abs(dx) - half_width) * height / np.hypot(height, radius)
        distance = np.maximum(slanted_side, dy - height / 3)
    coverage: NDArray[np.float64] = np.clip(0.5 - distance, 0, 1)
    return coverage
