"""The built-in world as a data set: true to its annotations, the same every time, finished after an interruption."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.engine.engine import job_here, run

from t2v_core.data.annotations.msrvtt import read_annotations
from t2v_core.data.shapes.shapes import Scene, render
from t2v_core.data.shapes.shapes_set import make_set, plan
from t2v_core.data.video.decode import read_frames
from t2v_core.errors import InvalidRequest, Stopped
from t2v_core.events import WarningEvent, read_events
from t2v_core.specs import ShapesSpec
from t2v_core.workspace import Dataset

SMALL = {"data": "data/shapes", "clips": 10, "test_clips": 6, "frames": 4, "size": 32}


def small(**values: Any) -> ShapesSpec:
    return ShapesSpec.model_validate(SMALL | values)


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_through_the_door_it_says_what_it_made(tmp_path: Path) -> None:
    ended = run(tmp_path, "shapes", **SMALL)
    assert ended.code == 0
    assert (ended.done["clips"], ended.done["test_clips"], ended.done["written"]) == (10, 6, 16)
    assert ended.of("progress")[-1]["done"] == 16
    assert all((tmp_path / path).is_file() for path in ended.done["annotations"])


def test_every_clip_shows_what_its_caption_says(tmp_path: Path) -> None:
    make_set(small(), job_here(tmp_path))
    dataset = Dataset(tmp_path / "data/shapes")
    truth = json.loads((dataset.root / "shapes.json").read_text())
    for number, clip in enumerate([*read_annotations(dataset, "train"), *read_annotations(dataset, "test")]):
        said = truth[clip.video_id]
        scene = Scene(said["colour"], said["shape"], said["motion"])
        drawn = render(scene, np.random.default_rng([0, number]), frames=4, size=32)
        decoded = read_frames(clip.path, 4)
        assert clip.captions == (scene.captions() if number < 10 else [scene.caption])
        assert (decoded.indices, decoded.effective_fps) == ([0, 1, 2, 3], 8.0)
        assert np.abs(decoded.frames.astype(int) - drawn).mean() < 6


def test_training_never_shows_what_is_held_out_and_half_the_test_does() -> None:
    spec = ShapesSpec()
    scenes = plan(spec)
    training, test = scenes[: spec.clips], scenes[spec.clips :]
    assert not any(scene.is_held_out for scene in training)
    assert len(set(training)) == 96
    assert sum(scene.is_held_out for scene in test) == len(test) // 2
    assert len({scene for scene in test if scene.is_held_out}) == 12


def test_the_same_spec_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        make_set(small(data=name, seed=seed), job_here(tmp_path))
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert contents(tmp_path / "a")["videos/video0.mp4"] != contents(tmp_path / "c")["videos/video0.mp4"]


def test_an_interrupted_set_is_finished_as_if_it_had_not_been(tmp_path: Path) -> None:
    make_set(small(data="whole"), job_here(tmp_path))
    make_set(small(data="torn"), job_here(tmp_path))
    for name in ("shapes.json", "annotations/test_1k.json", "videos/video3.mp4", "videos/video15.mp4"):
        (tmp_path / "torn" / name).unlink()
    (tmp_path / "torn/videos/.partial-1-video3.mp4").write_bytes(b"half")

    result = make_set(small(data="torn"), job_here(tmp_path))

    assert (result.written, result.skipped) == (2, 14)
    assert contents(tmp_path / "torn") == contents(tmp_path / "whole")


def test_a_stop_request_is_answered_between_clips(tmp_path: Path) -> None:
    job = job_here(tmp_path)
    (job.directory / "stop").touch()
    with pytest.raises(Stopped):
        make_set(small(), job)
    assert not (tmp_path / "data/shapes/shapes.json").exists()


def test_another_spec_makes_the_set_again_and_says_so(tmp_path: Path) -> None:
    make_set(small(), job_here(tmp_path))
    job = job_here(tmp_path)
    result = make_set(small(clips=8, seed=5), job)
    warnings = [event.message for event in read_events(job.events.path) if isinstance(event, WarningEvent)]
    assert warnings == ["the set at data/shapes is made again: clips 10 → 8, seed 0 → 5"]
    assert result.written == len(list((tmp_path / "data/shapes/videos").iterdir())) == 14


def test_another_data_set_is_never_written_over(tmp_path: Path) -> None:
    video = tmp_path / "data/shapes/videos/video0.mp4"
    video.parent.mkdir(parents=True)
    video.write_bytes(b"a film of mine")
    with pytest.raises(InvalidRequest, match="did not make"):
        make_set(small(), job_here(tmp_path))
    assert video.read_bytes() == b"a film of mine"
