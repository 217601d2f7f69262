"""Preprocessing goes on past bad clips, says what it left out and why, and ends with an honest code."""

from __future__ import annotations

import csv
import fcntl
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from support.engine.engine import events_of, in_workspace, job_here, run
from support.engine.tiny_models import save_clip, save_overflowing_vae, save_vae

from t2v_core.data.shapes.shapes_set import make_set
from t2v_core.data.store.latents import LatentStore
from t2v_core.errors import InvalidRequest, WorkFailed
from t2v_core.events.results import Preprocessed
from t2v_core.job import Job
from t2v_core.specs import PreprocessSpec, ShapesSpec
from t2v_core.verbs.preprocess import preprocess
from t2v_core.workspace import Dataset

CLIPS = 6
SPEC = {"data": "data", "vae": "vae", "text_encoder": "clip", "frames": 4, "shard_clips": 4, "device": "cpu"}


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """Six training clips and two test clips, and encoders."""
    save_vae(tmp_path / "vae")
    save_clip(tmp_path / "clip")
    spec = ShapesSpec(data=Path("data"), clips=CLIPS, test_clips=2, frames=4, size=32)
    make_set(spec, job_here(tmp_path))
    return tmp_path


def prepare(root: Path, **values: Any) -> tuple[Preprocessed, Job]:
    job = job_here(root)
    return in_workspace(preprocess, PreprocessSpec.model_validate(SPEC | values), job), job


def warnings(job: Job) -> list[str]:
    return [event["message"] for event in events_of(job.directory) if event["kind"] == "warning"]


def quarantine(root: Path) -> dict[str, str]:
    with (root / "data/quarantine.csv").open() as file:
        return {row["id"]: row["reason"] for row in csv.DictReader(file)}


def spoil(root: Path, number: int, content: bytes) -> None:
    (root / f"data/videos/video{number}.mp4").write_bytes(content)


def test_through_the_door_it_counts_what_it_made(workspace: Path) -> None:
    spoil(workspace, 1, b"<html>not found</html>")
    ended = run(workspace, "preprocess", **SPEC)
    assert ended.code == 0
    done = ended.done
    assert (done["clips"], done["captions"], done["quarantined"], done["skipped"]) == (7, 26, 1, 0)
    assert done["bytes"] > 1000
    assert all((workspace / path / "manifest.json").is_file() for path in done["paths"])
    assert {event["unit"] for event in ended.of("progress")} == {"clips", "captions"}
    assert "video1 is left out" in ended.warnings


def test_bad_clips_are_set_aside_with_their_reason_and_the_rest_goes_on(workspace: Path) -> None:
    good = (workspace / "data/videos/video3.mp4").read_bytes()
    spoil(workspace, 1, b"")
    spoil(workspace, 3, good[: len(good) // 3])
    spoil(workspace, 6, b"<html>not found</html>" * 9)

    result, job = prepare(workspace)

    assert set(quarantine(workspace)) == {"video1", "video3", "video6"}
    assert quarantine(workspace)["video1"] == "empty-file"
    assert quarantine(workspace)["video6"] == "not-a-video"
    assert (result.clips, result.quarantined) == (5, 3)
    assert len(warnings(job)) == 3
    assert LatentStore.open(Dataset(workspace / "data"), "train").video_ids == ["video0", "video2", "video4", "video5"]


def test_a_bad_clip_is_tried_again_only_when_its_file_changes(workspace: Path) -> None:
    good = (workspace / "data/videos/video1.mp4").read_bytes()
    spoil(workspace, 1, b"")
    prepare(workspace)
    _, second = prepare(workspace)
    spoil(workspace, 1, good)
    result, third = prepare(workspace)
    assert (warnings(second), warnings(third)) == ([], [])
    assert (result.clips, result.quarantined, result.skipped) == (8, 0, 7)
    assert quarantine(workspace) == {}
    assert len(LatentStore.open(Dataset(workspace / "data"), "train")) == CLIPS


def test_latents_that_are_not_finite_are_never_stored_and_another_vae_may_try(workspace: Path) -> None:
    save_overflowing_vae(workspace / "bad-vae")
    with pytest.raises(WorkFailed, match="none of 8 clips can be used") as caught:
        prepare(workspace, vae="bad-vae", max_lost=1)
    assert "quarantine.csv" in caught.value.hint
    assert set(quarantine(workspace).values()) == {"non-finite-latents"}
    result, _ = prepare(workspace)
    assert (result.clips, result.quarantined) == (8, 0)


def test_captions_too_long_for_the_encoder_are_counted_in_one_warning(workspace: Path) -> None:
    file = workspace / "data/annotations/train_9k.json"
    rows = json.loads(file.read_text())
    rows[0]["caption"] = ["a long story of a red circle " * 5, "short", "and another one that never ends " * 3]
    file.write_text(json.dumps(rows))
    _, job = prepare(workspace)
    assert [text for text in warnings(job) if "longer than" in text] == [
        "2 captions of train are longer than the 40 tokens that the text encoder reads; their ends are not seen"
    ]
    captions = LatentStore.open(Dataset(workspace / "data"), "train").captions(0)
    assert [caption.is_truncated for caption in captions] == [True, False, True]


def test_what_does_not_fit_together_is_a_warning(workspace: Path) -> None:
    (workspace / "data/videos/video2.mp4").rename(workspace / "data/videos/extra.mp4")
    result, job = prepare(workspace)
    assert result.clips == 7
    assert warnings(job) == [
        "1 captioned train clip (video2) without a video file",
        "1 video file (extra) without a caption",
    ]


def test_a_set_with_training_clips_only_is_enough(workspace: Path) -> None:
    (workspace / "data/annotations/test_1k.json").unlink()
    result, _ = prepare(workspace)
    assert (result.clips, len(result.paths)) == (CLIPS, 2)


def test_fp32_is_stored_as_fp32(workspace: Path) -> None:
    prepare(workspace, dtype="fp32")
    full = LatentStore.open(Dataset(workspace / "data"), "train").latents([0])
    prepare(workspace)
    half = LatentStore.open(Dataset(workspace / "data"), "train").latents([0])
    assert (full.half().float() == half).all()
    assert (full != half).any()


def test_two_runs_on_one_set_do_not_mix(workspace: Path) -> None:
    with (workspace / "data/.preprocess.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(InvalidRequest, match="is writing into"):
            prepare(workspace)


def test_a_disk_too_small_is_noticed_before_the_work(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = shutil.disk_usage(workspace)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    with pytest.raises(WorkFailed, match="latents of 6 clips needs"):
        prepare(workspace)


BAD = {
    "no data set": ({"data": "nowhere"}, 2, "there is no data set at"),
    "no annotations": ({"data": "bare"}, 2, "annotations is missing"),
    "a setting that is not one": ({"frame": 4}, 2, "no setting 'frame'"),
    "a number out of range": ({"frames": 0}, 2, "frames = 0"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_request_ends_with_code_2_one_sentence_and_a_hint(tmp_path: Path, name: str) -> None:
    values, code, sentence = BAD[name]
    (tmp_path / "bare/videos").mkdir(parents=True)
    ended = run(tmp_path, "preprocess", **(SPEC | values))
    assert ended.code == code
    assert sentence in ended.error["message"]
    assert ended.error["hint"]


@pytest.mark.parametrize("setting", ["vae", "text_encoder"])
def test_an_encoder_that_is_not_there_is_said_before_any_work(workspace: Path, setting: str) -> None:
    with pytest.raises(InvalidRequest, match="nowhere") as caught:
        prepare(workspace, **{setting: "./nowhere"})
    assert caught.value.hint
    assert not (workspace / "data/latents").exists()


def test_a_size_the_vae_cannot_halve_evenly_is_refused(workspace: Path) -> None:
    spec = PreprocessSpec.model_construct(**(PreprocessSpec().model_dump() | SPEC | {"size": 36, "data": Path("data")}))
    with pytest.raises(InvalidRequest, match="not a multiple of 8"):
        in_workspace(preprocess, spec, job_here(workspace))
