"""Video in, video out: noise that keeps everything else, and refinement of any length and size."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from support.engine.small_checkpoint import save_small_checkpoint, small_pipeline
from support.hosts.door import EndedHere, through_the_door

from t2v_core.data.shapes.shapes import Scene, render
from t2v_core.data.video.decode import DecodedClip, read_all_frames
from t2v_core.data.video.frames import write_video

REFINE = {"input": "in.mp4", "output": "out.mp4", "prompt": "a red circle moving left", "steps": 10, "device": "cpu"}


def shapes(frames: int, size: int = 64) -> NDArray[np.uint8]:
    return render(Scene("red", "circle", "moving left"), np.random.default_rng(1), frames=frames, size=size)


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A checkpoint of 8 frames of 64 × 64, and a video of that shape at 12 frames a second."""
    save_small_checkpoint(tmp_path)
    write_video(tmp_path / "in.mp4", shapes(8), fps=12)
    return tmp_path


def add_noise(workspace: Path, **values: Any) -> EndedHere:
    return through_the_door(workspace, "add-noise", **{"input": "in.mp4", "output": "out.mp4"} | values)


def refine(workspace: Path, **values: Any) -> EndedHere:
    return through_the_door(workspace, "refine", **REFINE | values)


def clip(path: Path) -> DecodedClip:
    return read_all_frames(path)


def psnr(a: Path, b: Path) -> float:
    difference = clip(a).frames.astype(float) - clip(b).frames
    return float(10 * np.log10(255**2 / np.square(difference).mean()))


def test_noise_keeps_size_length_and_rate(tmp_path: Path) -> None:
    frames = np.concatenate([shapes(13, 48), shapes(13, 48)], axis=2)
    write_video(tmp_path / "in.mp4", frames, fps=30000 / 1001)
    ended = add_noise(tmp_path)
    out = clip(tmp_path / "out.mp4")
    assert ended.code == 0
    assert out.frames.shape == (13, 48, 96, 3)
    assert out.source_fps == pytest.approx(30000 / 1001)
    assert ended.of("progress")[-1]["done"] == 13


def test_more_strength_is_more_noise(workspace: Path) -> None:
    quality = []
    for strength in (0.0, 0.1, 0.3, 0.6, 1.0):
        add_noise(workspace, strength=strength)
        quality.append(psnr(workspace / "in.mp4", workspace / "out.mp4"))
    assert quality == sorted(quality, reverse=True)
    assert quality[0] > 38
    assert quality[2] < 22


def test_strength_1_leaves_nothing_of_the_video(tmp_path: Path) -> None:
    write_video(tmp_path / "black.mp4", np.zeros((8, 64, 64, 3), np.uint8), fps=8)
    write_video(tmp_path / "white.mp4", np.full((8, 64, 64, 3), 255, np.uint8), fps=8)
    for name in ("black", "white"):
        add_noise(tmp_path, input=f"{name}.mp4", output=f"{name}-noise.mp4", strength=1, seed=4)
    black, white = (clip(tmp_path / f"{name}-noise.mp4").frames for name in ("black", "white"))
    assert np.array_equal(black, white)
    assert 100 < black.mean() < 155
    assert black.std() > 40


def test_the_same_seed_adds_the_same_noise(workspace: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        add_noise(workspace, output=f"{name}.mp4", seed=seed)
    a, b, c = ((workspace / f"{name}.mp4").read_bytes() for name in "abc")
    assert a == b != c


def test_refining_says_how_many_steps_the_strength_takes(workspace: Path) -> None:
    ended = refine(workspace, steps=50)
    assert ended.code == 0
    assert {"name": "refine", "detail": "strength 0.3 → 15 of 50 steps from t=300"}.items() <= ended.of("stage")[
        1
    ].items()
    assert [ended.of("progress")[-1][key] for key in ("done", "total", "unit")] == [15, 15, "steps"]
    assert clip(workspace / "out.mp4").frames.shape == (8, 64, 64, 3)


def test_the_steps_of_a_ddpm_model_are_said_too(tmp_path: Path) -> None:
    save_small_checkpoint(tmp_path, objective="epsilon")
    write_video(tmp_path / "in.mp4", shapes(8), fps=12)
    ended = refine(tmp_path, steps=50)
    assert ended.of("stage")[1]["detail"] == "strength 0.3 → 15 of 50 steps from t=299"


@pytest.mark.parametrize("count", [1, 5, 21])
def test_any_length_is_refined_and_keeps_its_length_and_rate(workspace: Path, count: int) -> None:
    write_video(workspace / "in.mp4", shapes(21)[:count], fps=12)
    ended = refine(workspace)
    out = clip(workspace / "out.mp4")
    assert (ended.code, len(out.frames), out.source_fps) == (0, count, 12)
    assert ended.warnings == ""


def test_the_middle_of_another_shape_goes_through_with_a_word(workspace: Path) -> None:
    wide = np.concatenate([np.zeros((8, 128, 64, 3), np.uint8), shapes(8, 128), np.zeros((8, 128, 64, 3), np.uint8)], 2)
    write_video(workspace / "in.mp4", wide, fps=12)
    ended = refine(workspace)
    assert ended.warnings == "the video is 256×128; its middle goes through the model at 64×64"
    assert clip(workspace / "out.mp4").frames.shape == (8, 64, 64, 3)


def test_more_strength_changes_more(workspace: Path) -> None:
    quality = []
    for strength in (0.1, 0.5, 1.0):
        refine(workspace, strength=strength)
        quality.append(psnr(workspace / "in.mp4", workspace / "out.mp4"))
    assert quality == sorted(quality, reverse=True)


def test_the_json_beside_a_refined_video_makes_it_again(workspace: Path) -> None:
    settings = json.loads(Path(refine(workspace, seed=3).done["settings"]).read_text())
    assert settings["verb"] == "refine"
    through_the_door(workspace, "refine", **settings["spec"] | {"output": "again.mp4"})
    assert (workspace / "again.mp4").read_bytes() == (workspace / "out.mp4").read_bytes()


def test_a_video_can_be_refined_in_place(workspace: Path) -> None:
    assert refine(workspace, output="in.mp4").code == 0
    assert clip(workspace / "in.mp4").frames.shape == (8, 64, 64, 3)


def test_strength_0_goes_through_the_vae_and_back(workspace: Path) -> None:
    vae = small_pipeline()
    assert refine(workspace, strength=0, preview=True).code == 0
    frames = torch.from_numpy(clip(workspace / "in.mp4").frames)
    write_video(workspace / "vae.mp4", vae.decode(vae.encode(frames)[None])[0].numpy(), fps=12)
    assert np.array_equal(clip(workspace / "out.mp4").frames, clip(workspace / "vae.mp4").frames)


def test_a_strength_that_gives_no_step_is_refused(workspace: Path) -> None:
    ended = refine(workspace, strength=0.05)
    assert ended.sentence == "strength 0.05 of 10 steps is less than one step"
    assert ended.error["hint"] == "use a strength of at least 0.1, or more steps"
    assert not (workspace / "out.mp4").exists()


@pytest.mark.parametrize("verb", [add_noise, refine])
def test_an_input_that_is_missing_or_damaged_is_named(workspace: Path, verb: Any) -> None:
    (workspace / "text.mp4").write_text("not a video " * 100)
    missing, damaged = verb(workspace, input="missing.mp4"), verb(workspace, input="text.mp4")
    assert missing.sentence == f"{workspace / 'missing.mp4'} cannot be read: there is no such file"
    assert damaged.sentence == f"{workspace / 'text.mp4'} cannot be read: its content is not a video format"


@pytest.mark.parametrize("verb", [add_noise, refine])
@pytest.mark.parametrize("strength", [-0.1, 1.5])
def test_a_strength_outside_0_to_1_is_refused(workspace: Path, verb: Any, strength: float) -> None:
    assert verb(workspace, strength=strength).sentence.startswith(f"strength = {strength}: ")


def test_an_overlap_as_long_as_the_model_is_refused(workspace: Path) -> None:
    write_video(workspace / "in.mp4", shapes(21), fps=12)
    assert refine(workspace, overlap=8).sentence == "overlap is 8, and a window has only 8 frames"
