"""What is said of movement, of videos whose movement is known; and what a score is blind to."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from t2v_core.scores.degraded import PSNR_DB, WAYS, blind_to, degraded
from t2v_core.scores.movement import mean_movement, movement


def video_of(levels: list[int]) -> Tensor:
    """Frames of one grey level each."""
    return torch.tensor(levels, dtype=torch.uint8)[:, None, None, None].expand(-1, 4, 4, 3)


def bar_moving(step: int, frames: int = 6) -> Tensor:
    video = torch.zeros(frames, 16, 16, 3, dtype=torch.uint8)
    for number in range(frames):
        video[number, :, (number * step) % 16] = 255
    return video


@pytest.mark.parametrize(
    ("levels", "motion", "flicker"),
    [([9, 9, 9, 9], 0, 0), ([0, 51, 102, 153], 0.2, 0), ([0, 51, 0, 51], 0.2, 0.2), ([7], 0, 0), ([0, 255], 1, 0)],
)
def test_what_goes_on_is_motion_and_what_comes_back_is_flicker(
    levels: list[int], motion: float, flicker: float
) -> None:
    found = movement(video_of(levels))
    assert (found.motion_amount, found.flicker) == pytest.approx((motion, flicker), abs=1e-6)


def test_a_frame_is_consistent_with_one_like_it() -> None:
    still, moving = movement(bar_moving(0)), movement(bar_moving(1))
    assert still.frame_consistency == pytest.approx(1)
    assert -1 <= moving.frame_consistency < 0.1
    assert movement(video_of([9, 9])).frame_consistency == 1
    assert mean_movement([bar_moving(0), bar_moving(1)]).motion_amount == pytest.approx(moving.motion_amount / 2)


@pytest.fixture
def scene() -> Tensor:
    drawn = torch.Generator().manual_seed(0)
    video = torch.randint(0, 60, (8, 32, 32, 3), generator=drawn, dtype=torch.uint8)
    for number in range(8):
        video[number, 8:20, number : number + 12, 0] = 250
    return video


@pytest.mark.parametrize("way", WAYS)
def test_each_way_makes_another_video_of_the_same_size_and_the_same_one_again(way: str, scene: Tensor) -> None:
    worse = degraded(scene, way, 3)
    assert (worse.shape, worse.dtype) == (scene.shape, torch.uint8)
    assert not torch.equal(worse, scene)
    assert torch.equal(worse, degraded(scene, way, 3))


def test_what_changes_single_frames_is_equally_far_from_the_original(scene: Tensor) -> None:
    for way in ("jittered", "blurred", "noised", "recoloured"):
        error = (degraded(scene, way, 1).float() - scene.float()).square().mean()
        psnr = float(10 * torch.log10(255**2 / error))
        assert psnr >= PSNR_DB - 0.1, way
        if way != "blurred":  # as far as it goes
            assert psnr == pytest.approx(PSNR_DB, abs=1.5), way  # what leaves 0 … 255 is cut off


def test_time_goes_and_nothing_else_when_frames_are_shuffled_or_frozen(scene: Tensor) -> None:
    assert sorted(degraded(scene, "shuffled", 1).flatten(1).tolist()) == sorted(scene.flatten(1).tolist())
    assert movement(degraded(scene, "frozen", 1)).motion_amount == 0


def test_a_score_that_stays_or_goes_the_wrong_way_is_blind() -> None:
    worse = {"shuffled": 0.8, "frozen": 0.7, "noised": 0.9}
    assert blind_to(0.8, worse, higher_is_better=True) == ["shuffled", "noised"]
    assert blind_to(0.8, worse, higher_is_better=False) == ["shuffled", "frozen"]
