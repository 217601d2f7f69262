"""Which frames preprocessing takes of a clip, and when so many clips are lost that it stops."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.engine.engine import events_of, in_workspace, job_here
from support.engine.tiny_models import save_clip, save_overflowing_vae, save_vae

from t2v_core.data.check.check import check_data
from t2v_core.data.quarantine import EVERY_FRAME, Quarantine, Quarantined, file_state, settings_of
from t2v_core.data.shapes.shapes_set import make_set
from t2v_core.errors import WorkFailed
from t2v_core.events.results import Preprocessed
from t2v_core.job import Job
from t2v_core.specs import DataCheckSpec, PreprocessSpec, ShapesSpec
from t2v_core.verbs.preprocess import preprocess

CLIPS, FRAMES, FPS = 8, 8, 8.0
SPEC = {"data": "data", "vae": "vae", "text_encoder": "clip", "frames": 3, "shard_clips": 2, "device": "cpu"}


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """Eight training clips of eight frames and two test clips, and encoders."""
    save_vae(tmp_path / "vae")
    save_clip(tmp_path / "clip")
    spec = ShapesSpec(data=Path("data"), clips=CLIPS, test_clips=2, frames=FRAMES, size=32, fps=FPS)
    make_set(spec, job_here(tmp_path))
    return tmp_path


def prepare(root: Path, **values: Any) -> tuple[Preprocessed, Job]:
    job = job_here(root)
    return in_workspace(preprocess, PreprocessSpec.model_validate(SPEC | values), job), job


def manifest(root: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((root / "data/latents/train/manifest.json").read_text())
    return value


def warnings(job: Job) -> str:
    return "\n".join(event["message"] for event in events_of(job.directory) if event["kind"] == "warning")


def quarantine(root: Path) -> dict[str, tuple[str, str]]:
    with (root / "data/quarantine.csv").open() as file:
        return {row["id"]: (row["reason"], row["detail"]) for row in csv.DictReader(file)}


def spoil(root: Path, *numbers: int) -> dict[int, bytes]:
    """Empty these clips' files; returns what they held."""
    held = {}
    for number in numbers:
        path = root / f"data/videos/video{number}.mp4"
        held[number] = path.read_bytes()
        path.write_bytes(b"")
    return held


def stored(root: Path) -> int:
    return sum(path.stat().st_size > 0 for path in (root / "data/latents/train").glob("*shard-*.safetensors"))


def test_a_stride_takes_frames_around_the_middle_and_the_manifest_says_so(workspace: Path) -> None:
    prepare(workspace, stride=2)
    made = manifest(workspace)
    assert made["settings"]["frame_rule"] == "(N-1 - 2*(frames-1))//2 + 2*i"
    assert {tuple(clip["indices"]) for clip in made["clips"]} == {(1, 3, 5)}
    assert made["fps"] == pytest.approx(FPS / 2)


def test_another_stride_encodes_again_and_says_why(workspace: Path) -> None:
    even, _ = prepare(workspace)
    assert {tuple(clip["indices"]) for clip in manifest(workspace)["clips"]} == {(0, 4, 7)}
    _, second = prepare(workspace, stride=2)
    again, third = prepare(workspace, stride=2)
    assert "latents of train are made again: another frame rule" in warnings(second)
    assert (even.skipped, again.skipped, warnings(third)) == (0, CLIPS + 2, "")
    _, back = prepare(workspace)
    assert "another frame rule" in warnings(back)
    assert manifest(workspace)["fps"] == pytest.approx(2 / (7 / FPS))


def test_a_clip_too_short_for_a_stride_is_left_out_with_numbers_and_is_good_for_another(workspace: Path) -> None:
    short = workspace / "short"
    make_set(ShapesSpec(data=short, clips=1, test_clips=1, frames=4, size=32), job_here(workspace))
    (workspace / "data/videos/video3.mp4").write_bytes((short / "videos/video0.mp4").read_bytes())

    result, _ = prepare(workspace, stride=2)
    noted = quarantine(workspace)
    later, job = prepare(workspace, stride=1)

    assert noted == {"video3": ("too-short", "it has 4 frames, and 3 frames 2 apart need 5")}
    assert (result.clips, result.quarantined) == (CLIPS + 1, 1)
    assert (later.clips, later.quarantined) == (CLIPS + 2, 0)
    assert "left out" not in warnings(job)
    assert quarantine(workspace) == {}


def test_too_many_lost_clips_stop_the_work_with_a_sentence_and_keep_what_is_done(workspace: Path) -> None:
    held = spoil(workspace, 4, 5, 6)
    with pytest.raises(WorkFailed) as caught:
        prepare(workspace, max_lost=0.3)
    assert "3 of 8 train clips cannot be used (empty-file 3), more than 30%" in caught.value.message
    assert all(word in caught.value.hint for word in ("quarantine.csv", "--max-lost"))
    assert set(quarantine(workspace)) == {"video4", "video5", "video6"}
    assert not (workspace / "data/latents/train/manifest.json").exists()
    kept = stored(workspace)
    assert kept >= 2

    for number, data in held.items():
        (workspace / f"data/videos/video{number}.mp4").write_bytes(data)
    result, _ = prepare(workspace, max_lost=0.3)
    assert (result.clips, result.quarantined) == (CLIPS + 2, 0)
    assert result.skipped >= 2


def test_what_is_known_to_be_lost_stops_the_work_before_it_begins(workspace: Path) -> None:
    spoil(workspace, 0, 1, 2)
    prepare(workspace, max_lost=1)
    for path in (workspace / "data/latents/train").iterdir():
        path.unlink()
    with pytest.raises(WorkFailed, match="3 of 8 train clips"):
        prepare(workspace, max_lost=0.3)
    assert stored(workspace) == 0


@pytest.mark.parametrize(("lost", "max_lost"), [(2, 0.1), (3, 0.4), (8, 1.0)])
def test_a_share_that_is_allowed_or_two_clips_do_not_stop_it(workspace: Path, lost: int, max_lost: float) -> None:
    spoil(workspace, *range(lost))
    result, _ = prepare(workspace, max_lost=max_lost)
    assert (result.clips, result.quarantined) == (CLIPS + 2 - lost, lost)


def test_what_a_check_has_found_is_passed_over_without_a_word(workspace: Path) -> None:
    spoil(workspace, 1)
    in_workspace(check_data, DataCheckSpec(data=Path("data"), workers=1), job_here(workspace))
    result, job = prepare(workspace)
    assert (result.clips, result.quarantined, warnings(job)) == (CLIPS + 1, 1, "")


def test_a_reason_that_some_frames_gave_does_not_count_for_others(workspace: Path) -> None:
    clip = workspace / "data/videos/video1.mp4"
    entry = Quarantined("video1", "corrupt-frame", "2 of 4 frames do not decode", *file_state(clip))
    Quarantine(workspace / "data/quarantine.csv").update([entry])  # as former versions noted it
    result, _ = prepare(workspace)
    assert (result.clips, result.quarantined) == (CLIPS + 2, 0)

    other_rule = replace(entry, settings="0123456789ab")
    Quarantine(workspace / "data/quarantine.csv").update([other_rule])
    result, _ = prepare(workspace, stride=2)
    assert (result.clips, result.quarantined) == (CLIPS + 2, 0)


def test_a_check_that_decodes_every_frame_takes_back_what_some_frames_gave(workspace: Path) -> None:
    clip = workspace / "data/videos/video1.mp4"
    entry = Quarantined("video1", "corrupt-frame", "x", *file_state(clip), settings="0123456789ab")
    kept = replace(entry, id="video2", reason="too-short")
    Quarantine(workspace / "data/quarantine.csv").update([entry, kept])
    in_workspace(check_data, DataCheckSpec(data=Path("data"), workers=1), job_here(workspace))
    assert set(quarantine(workspace)) == {"video2"}


def test_what_a_check_found_while_decoding_every_frame_holds_for_every_rule(workspace: Path) -> None:
    clip = workspace / "data/videos/video1.mp4"
    settings = settings_of("corrupt-frame", EVERY_FRAME)
    entry = Quarantined("video1", "corrupt-frame", "a frame is damaged", *file_state(clip), settings)
    Quarantine(workspace / "data/quarantine.csv").update([entry])
    for stride in (None, 2):
        result, job = prepare(workspace, stride=stride)
        assert result.quarantined == 1
        assert "video1" not in warnings(job)


def test_none_means_none(workspace: Path) -> None:
    spoil(workspace, 1)
    with pytest.raises(WorkFailed, match="1 of 8 train clips"):
        prepare(workspace, max_lost=0)


def test_latents_that_are_not_finite_are_lost_clips_too(workspace: Path) -> None:
    save_overflowing_vae(workspace / "bad-vae")
    with pytest.raises(WorkFailed, match=r"3 of 8 train clips cannot be used \(non-finite-latents 3\)"):
        prepare(workspace, vae="bad-vae")
