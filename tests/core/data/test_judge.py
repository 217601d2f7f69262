"""The judge names what a good clip shows, and names no shape where the shape is malformed."""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from t2v_core.data.shapes.judge import Obeyed, Verdict, judge, obeys
from t2v_core.data.shapes.shapes import CLIP_CRF, COLOURS, SHAPES, Scene, all_scenes, render, shape_coverage
from t2v_core.data.video.frames import write_video

Clip = NDArray[np.uint8]
Array = NDArray[np.float64]
Rng = np.random.Generator

OPPOSITE = {
    "moving right": "moving left",
    "moving left": "moving right",
    "moving up": "moving down",
    "moving down": "moving up",
    "growing": "shrinking",
    "shrinking": "growing",
}
UNIT_AREA = {"circle": math.pi, "square": 3.24, "triangle": 1.8}
Y, X = np.mgrid[0:64, 0:64] + 0.5


@pytest.fixture(scope="module")
def seed() -> int:
    """A new one for each run, printed with every failure."""
    value = secrets.randbits(32)
    print(f"seed {value}")
    return value


@pytest.fixture(scope="module")
def real(seed: int, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Scene, Clip]]:
    """All 108 scenes as a decoder gives them back."""
    rng, file = np.random.default_rng(seed), tmp_path_factory.mktemp("clips") / "clip.mp4"
    return [(scene, decoded(render(scene, rng), file)) for scene in all_scenes()]


def decoded(clip: Clip, file: Path) -> Clip:
    write_video(file, clip, fps=8, crf=CLIP_CRF)
    with av.open(str(file)) as container:
        return np.asarray(np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]))


def softened(clip: Clip, rng: Rng, *, sigma: float = 0.8, noise: float = 4.0) -> Clip:
    """A Gaussian blur and noise, as a small VAE leaves them."""
    kernel = np.exp(-(np.arange(-3, 4) ** 2) / (2 * sigma**2))
    kernel /= kernel.sum()
    padded = np.pad(clip.astype(np.float64), ((0, 0), (3, 3), (3, 3), (0, 0)), mode="edge")
    rows = sum(weight * padded[:, i : i + clip.shape[1]] for i, weight in enumerate(kernel))
    both = sum(weight * rows[:, :, i : i + clip.shape[2]] for i, weight in enumerate(kernel))
    return np.asarray(np.clip(np.round(both + rng.normal(0, noise, clip.shape)), 0, 255), np.uint8)


def score(pairs: list[tuple[Scene, Clip]]) -> tuple[Array, list[tuple[str, Verdict]]]:
    """Share right of (colour, shape, motion), and what went wrong."""
    verdicts = [(scene, judge(clip)) for scene, clip in pairs]
    right = [obeys(verdict, scene) for scene, verdict in verdicts]
    return np.mean(right, axis=0), [(s.caption, v) for (s, v), ok in zip(verdicts, right, strict=True) if not all(ok)]


def test_real_clips_are_named_right(real: list[tuple[Scene, Clip]], seed: int) -> None:
    shares, wrong = score(real)
    assert shares.min() >= 0.99, f"seed {seed}: {shares}, {wrong}"


def test_a_soft_and_noisy_decoder_is_forgiven(real: list[tuple[Scene, Clip]], seed: int) -> None:
    rng = np.random.default_rng(seed)
    shares, wrong = score([(scene, softened(clip, rng)) for scene, clip in real])
    assert shares.min() >= 0.97, f"seed {seed}: {shares}, {wrong}"


def test_a_clip_played_backwards_shows_the_opposite_motion(real: list[tuple[Scene, Clip]], seed: int) -> None:
    backwards = [(Scene(s.colour, s.shape, OPPOSITE[s.motion]), clip[::-1]) for s, clip in real[::5]]
    shares, wrong = score(backwards)
    assert shares.min() >= 0.95, f"seed {seed}: {shares}, {wrong}"


def test_real_clips_are_steady_and_independent_frames_are_not(real: list[tuple[Scene, Clip]], seed: int) -> None:
    rng = np.random.default_rng(seed)
    steady = [judge(clip).jitter_px for _, clip in real[:18]]
    shuffled = [judge(rng.permutation(clip)) for scene, clip in real[:18] if scene.motion.startswith("moving")]
    assert np.mean(steady) < 0.15, f"seed {seed}"
    assert min(verdict.jitter_px for verdict in shuffled) > 2, f"seed {seed}"


def test_each_word_is_compared_on_its_own() -> None:
    verdict = Verdict("red", "circle", "growing", 0.0)
    assert obeys(verdict, Scene("red", "square", "growing")) == Obeyed(colour=True, shape=False, motion=True)
    assert obeys(verdict, Scene("blue", "circle", "shrinking")) == Obeyed(colour=False, shape=True, motion=False)


def test_a_shape_cut_a_little_by_the_border_keeps_its_name() -> None:
    for shape in SHAPES:
        clip = painted([drawn(shape, 8.0, 56 - 4 * i, 10) for i in range(8)], COLOURS["green"])
        verdict = judge(clip)
        assert (verdict.shape, verdict.motion) == (shape, "moving up")


def test_larger_and_oblong_frames_are_judged_alike(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for scene in all_scenes()[::11]:
        assert all(obeys(judge(render(scene, rng, size=160)), scene)), f"seed {seed}: {scene}"
        oblong = np.pad(render(scene, rng), ((0, 0), (0, 0), (8, 8), (0, 0)), mode="edge")
        assert all(obeys(judge(oblong), scene)), f"seed {seed}: {scene}"


@pytest.mark.parametrize("rgb", [(255, 140, 0), (120, 120, 120), (0, 200, 220)])
def test_a_colour_outside_the_palette_has_no_name(rgb: tuple[int, int, int]) -> None:
    verdict = judge(painted([drawn("circle", 16 + 4 * i, 32, 10) for i in range(8)], rgb))
    assert (verdict.colour, verdict.shape, verdict.motion) == (None, "circle", "moving right")


@pytest.mark.parametrize(
    "places",
    [
        [16] * 4 + [46] * 4,  # jumps once
        [16, 40, 20, 44, 24, 48, 28, 52],  # goes to and fro
        [32] * 8,  # stays
    ],
)
def test_a_path_that_is_no_steady_motion_has_no_name(places: list[int]) -> None:
    verdict = judge(painted([drawn("square", x, 32, 9) for x in places], COLOURS["blue"]))
    assert (verdict.colour, verdict.shape, verdict.motion) == ("blue", "square", None)
    assert verdict.reason.startswith("no motion")


def test_moving_while_growing_or_on_the_slant_is_neither() -> None:
    growing = painted([drawn("circle", 16 + 4 * i, 32, 6 + i) for i in range(8)], COLOURS["red"])
    slanting = painted([drawn("circle", 16 + 4 * i, 16 + 4 * i, 9) for i in range(8)], COLOURS["red"])
    assert judge(growing).motion is None
    assert judge(slanting).motion is None


def test_another_layout_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(frames, height, width, 3\)"):
        judge(np.zeros((64, 64, 3), np.uint8))


# --- malformed shapes, at random


def drawn(shape: str, x: float, y: float, radius: float) -> Array:
    return shape_coverage(shape, np.array([x, y]), radius, 64)


def painted(coverage: list[Array], rgb: tuple[int, int, int], background: float = 35) -> Clip:
    soft = np.stack(coverage)[..., None]
    return np.round(background * (1 - soft) + np.array(rgb) * soft).astype(np.uint8)


def any_colour(rng: Rng) -> tuple[int, int, int]:
    return list(COLOURS.values())[rng.integers(6)]


def any_shape(rng: Rng) -> str:
    return SHAPES[rng.integers(3)]


def outlined(outline: Callable[[Array], Array], rng: Rng) -> Clip:
    """A shape given by its outline's distance at each angle, moving a little."""
    radius, (x, y) = rng.uniform(8, 14), rng.uniform(22, 42, 2)
    dx, dy = X - x, Y - y
    still = np.clip(0.5 - (np.hypot(dx, dy) - radius * outline(np.arctan2(dy, dx))), 0, 1)
    return painted([np.roll(still, i - 4, axis=1) for i in range(8)], any_colour(rng))


def blob(rng: Rng) -> Clip:
    """The outline wanders by 15 to 30 % of the radius."""
    waves, phases, heights = np.arange(2, 8), rng.uniform(0, 2 * np.pi, 6), rng.normal(0, 1, 6)
    heights *= rng.uniform(0.15, 0.3) * np.sqrt(2) / np.linalg.norm(heights)
    return outlined(lambda angle: 1 + np.cos(angle[..., None] * waves + phases) @ heights, rng)


def star(rng: Rng) -> Clip:
    half, inner, turn = np.pi / rng.integers(5, 8), rng.uniform(0.35, 0.6), rng.uniform(0, 2 * np.pi)

    def outline(angle: Array) -> Array:
        off = np.abs(np.mod(angle + turn, 2 * half) - half)
        depth = inner * np.sin(half)
        return np.asarray(depth / (depth * np.cos(off) + (1 - inner * np.cos(half)) * np.sin(off)))

    return outlined(outline, rng)


def ellipse(rng: Rng) -> Clip:
    ratio, turn = rng.uniform(1.35, 2), rng.uniform(0, np.pi)
    return outlined(lambda a: 1 / np.sqrt(np.cos(a - turn) ** 2 / ratio + np.sin(a - turn) ** 2 * ratio), rng)


def ring(rng: Rng) -> Clip:
    shape, radius, hole, (x, y) = any_shape(rng), rng.uniform(8, 14), rng.uniform(0.4, 0.7), rng.uniform(20, 44, 2)
    hollow = [drawn(shape, x + i, y, radius) - drawn(shape, x + i, y, radius * hole) for i in range(-4, 4)]
    return painted(hollow, any_colour(rng))


def bitten(rng: Rng) -> Clip:
    """A round bite, 0.4 radii wide, out of the rim."""
    shape, radius, (x, y), angle = any_shape(rng), rng.uniform(9, 13), rng.uniform(22, 42, 2), rng.uniform(0, 6.28)
    dx, dy = 0.6 * radius * np.cos(angle), 0.6 * radius * np.sin(angle)
    whole, bite = drawn(shape, x, y, radius), drawn("circle", x + dx, y + dy, 0.4 * radius)
    return painted([np.maximum(whole - bite, 0)] * 8, any_colour(rng))


def half_erased(rng: Rng) -> Clip:
    """Half of it is missing; not the lower half of a triangle, for what is left is a triangle."""
    shape, radius, (x, y) = any_shape(rng), rng.uniform(8, 14), rng.uniform(22, 42, 2)
    angle = rng.integers(3) * np.pi / 2 if shape == "triangle" else rng.uniform(0, 2 * np.pi)
    kept = np.clip(0.5 + (X - x) * np.cos(angle) + (Y - y) * np.sin(angle), 0, 1)
    return painted([np.roll(drawn(shape, x, y, radius) * kept, i - 4, axis=1) for i in range(8)], any_colour(rng))


def two_shapes(rng: Rng) -> Clip:
    """Side by side, of one colour or of two."""
    first, second, angle = rng.uniform(7, 11), rng.uniform(6, 11), rng.uniform(0, 2 * np.pi)
    dx, dy = (first + second + rng.uniform(0, 8)) / 2 * np.array([np.cos(angle), np.sin(angle)])
    one = drawn(any_shape(rng), 32 + dx, 32 + dy, first)
    other = drawn(any_shape(rng), 32 - dx, 32 - dy, second)
    clip = painted([one] * 8, any_colour(rng)).astype(np.float64)
    return np.round(clip * (1 - other[..., None]) + np.array(any_colour(rng)) * other[..., None]).astype(np.uint8)


def morph(rng: Rng) -> Clip:
    """One shape for some frames, another as large for the rest."""
    (x, y), radius, switch = rng.uniform(22, 42, 2), rng.uniform(8, 13), rng.integers(1, 8)
    before, after = rng.permutation(3)[:2]
    shapes = [SHAPES[before if i < switch else after] for i in range(8)]
    sizes = [radius * np.sqrt(np.pi / UNIT_AREA[shape]) for shape in shapes]
    return painted([drawn(s, x, y, r) for s, r in zip(shapes, sizes, strict=True)], any_colour(rng))


def noise(rng: Rng) -> Clip:
    grey = rng.normal(rng.uniform(20, 200), rng.uniform(10, 80), (8, 64, 64, 3))
    return softened(np.clip(grey, 0, 255).astype(np.uint8), rng, sigma=rng.uniform(0.3, 1.5))


def empty(rng: Rng) -> Clip:
    return softened(np.full((8, 64, 64, 3), rng.integers(256), np.uint8), rng)


def lost_in_one_frame(rng: Rng) -> Clip:
    clip = render(all_scenes()[rng.integers(108)], rng)
    clip[rng.integers(8)] = clip[0, 0, 0]
    return clip


@pytest.mark.parametrize(
    "malformed",
    [blob, star, ellipse, ring, bitten, half_erased, two_shapes, morph, noise, empty, lost_in_one_frame],
    ids=lambda kind: kind.__name__,
)
def test_a_malformed_shape_has_no_name(malformed: Callable[[Rng], Clip], seed: int) -> None:
    rng = np.random.default_rng(seed)
    clips = [malformed(rng) for _ in range(20)]
    named = [judge(clip).shape for clip in [*clips[:10], *(softened(clip, rng) for clip in clips[10:])]]
    assert named.count(None) >= 0.95 * len(named), f"seed {seed}: {named}"
