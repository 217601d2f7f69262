"""`t2v data check` decodes every clip once in children that may hang or die, and reports what there is."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.engine.engine import Ended, events_of, job_here, start
from support.engine.odd_videos import PLAIN, encode, ffmpeg, turn
from support.hosts.door import through_the_door
from support.house.under_load import slowed

from t2v_core.data.shapes.shapes_set import make_set
from t2v_core.specs import ShapesSpec

CLIPS, TEST_CLIPS = 6, 2
DEADLINE_S = 180


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """Six training clips of 32 × 32 and two test clips, with captions."""
    spec = ShapesSpec(data=Path("data"), clips=CLIPS, test_clips=TEST_CLIPS, frames=4, size=32)
    make_set(spec, job_here(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def endless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Minutes of decoding in a small file: 25 large pictures, 2,000 times over."""
    folder = tmp_path_factory.mktemp("endless")
    ffmpeg("-f", "lavfi", "-i", "color=blue:size=1920x1080:rate=25:duration=1", *PLAIN, folder / "once.mp4")
    ffmpeg("-stream_loop", "2000", "-i", folder / "once.mp4", "-c", "copy", folder / "endless.mp4")
    return folder / "endless.mp4"


def check(root: Path, **values: Any) -> Ended:
    return through_the_door(root, "check", data="data", workers=2, **values)


def video(root: Path, name: str) -> Path:
    return root / "data/videos" / f"{name}.mp4"


def report(root: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((root / "data/check/report.json").read_text())
    return value


def quarantine(root: Path) -> dict[str, str]:
    with (root / "data/quarantine.csv").open() as file:
        return {row["id"]: row["reason"] for row in csv.DictReader(file)}


def to_decode(ended: Ended) -> str:
    return str(ended.of("stage")[0]["detail"])


def test_bad_clips_are_a_finding_with_reasons_and_not_a_failure(workspace: Path) -> None:
    good = video(workspace, "video3").read_bytes()
    video(workspace, "video1").write_bytes(b"")
    video(workspace, "video3").write_bytes(good[: len(good) // 2])
    video(workspace, "video4").unlink()
    os.mkfifo(video(workspace, "video4"))
    video(workspace, "video7").unlink()
    shutil.copy(video(workspace, "video0"), video(workspace, "video50"))

    ended = check(workspace)

    assert ended.code == 0
    assert quarantine(workspace) == {"video1": "empty-file", "video3": "truncated", "video4": "not-a-file"}
    found = report(workspace)
    assert (found["clips"], found["usable"]) == (ended.done["clips"], ended.done["usable"]) == (8, 5)
    assert found["reasons"] == {"empty-file": 1, "truncated": 1, "not-a-file": 1}
    assert found["sizes"] == {"32 × 32": 5}
    assert found["captions"]["clips_without"] == ["video50"]
    assert found["captions"]["splits"]["test"]["without_file"] == ["video7"]
    assert found["captions"]["splits"]["train"]["usable"] == 3
    assert found["duplicates"]["same_bytes"] == [["video0", "video50"]]
    assert "video3.mp4 cannot be used" in ended.warnings
    assert [event["done"] for event in ended.of("progress")][-1] == 8


def test_the_report_can_be_read_and_the_sheet_shows_the_clips(workspace: Path) -> None:
    ended = check(workspace)
    text, sheet = (workspace / path for path in ended.done["paths"])
    assert "8 of 8 clips can be used" in text.read_text()
    assert "h264 yuv420p: 8" in text.read_text()
    with Image.open(sheet) as image:
        middle_of_first = image.getpixel((84, 64))
        colours = image.getcolors(1 << 24)
    assert middle_of_first != (24, 24, 24)
    assert colours is not None
    assert len(colours) > 100


def test_figures_are_those_of_the_clips(tmp_path: Path) -> None:
    (tmp_path / "data/videos").mkdir(parents=True)
    encode(video(tmp_path, "video1"), *PLAIN)
    encode(video(tmp_path, "video2"), "-t", "0.4", *PLAIN)
    turn(video(tmp_path, "video1"), video(tmp_path, "video3"), 90)

    ended = check(tmp_path, frames=16)

    found = report(tmp_path)
    assert "there are no annotations" in ended.warnings
    assert found["duration_s"] == pytest.approx({"min": 0.4, "median": 2.4, "max": 2.4, "total": 5.2})
    assert found["frames"] == {"min": 10, "median": 60, "max": 60}
    assert (found["sizes"], found["fps"], found["turned"]) == ({"160 × 96": 2, "96 × 160": 1}, {"25": 3}, 1)
    assert found["picked"]["effective_fps"]["min"] == pytest.approx(15 / (59 / 25))
    assert found["picked"]["clips_with_fewer_frames"] == 1


def test_what_a_stride_would_find_too_short_is_said_beforehand(tmp_path: Path) -> None:
    (tmp_path / "data/videos").mkdir(parents=True)
    encode(video(tmp_path, "video1"), *PLAIN)
    encode(video(tmp_path, "video2"), "-t", "0.4", *PLAIN)
    check(tmp_path, frames=16, stride=3)
    picked = report(tmp_path)["picked"]
    assert picked["clips_too_short"] == ["video2"]
    assert picked["effective_fps"]["max"] == pytest.approx(25 / 3)
    assert quarantine(tmp_path) == {}


def test_copies_are_found_whether_their_bytes_are_the_same_or_not(workspace: Path) -> None:
    shutil.copy(video(workspace, "video2"), video(workspace, "video20"))
    ffmpeg("-i", video(workspace, "video3"), "-vf", "scale=96:96", "-crf", "20", video(workspace, "video30"))
    ffmpeg("-i", video(workspace, "video0"), "-crf", "16", "-y", video(workspace, "video6"))  # a test clip

    ended = check(workspace)

    duplicates = report(workspace)["duplicates"]
    assert duplicates["same_bytes"] == [["video2", "video20"]]
    assert duplicates["same_picture"] == [["video0", "video6"], ["video3", "video30"]]
    assert duplicates["across_splits"] == [["video0", "video6"]]
    assert ended.done["duplicates"] == 3


def test_what_has_not_changed_is_not_decoded_again(workspace: Path) -> None:
    good = video(workspace, "video1").read_bytes()
    video(workspace, "video1").write_bytes(good[:-200])
    first = check(workspace)
    sheet = workspace / first.done["paths"][1]
    made = sheet.stat().st_mtime_ns

    second = check(workspace)
    video(workspace, "video1").write_bytes(good)
    third = check(workspace)

    assert to_decode(first) == "8 clips to decode, 0 decoded before"
    assert to_decode(second) == "0 clips to decode, 8 decoded before"
    assert [stage["name"] for stage in second.of("stage")] == ["decode"]
    assert to_decode(third) == "1 clips to decode, 7 decoded before"
    assert quarantine(workspace) == {}
    assert sheet.stat().st_mtime_ns != made


def test_when_no_clip_can_be_used_the_work_has_failed(workspace: Path) -> None:
    for path in (workspace / "data/videos").iterdir():
        path.write_bytes(b"<html>not found</html>")
    ended = check(workspace)
    assert ended.code == 1
    assert "none of 8 clips can be used" in ended.error["message"]
    assert "report.txt" in ended.error["hint"]
    assert len(quarantine(workspace)) == 8
    assert "not-a-video: 8" in (workspace / "data/check/report.txt").read_text()


@pytest.mark.parametrize("missing", ["data", "data/videos", "data/videos/*"])
def test_a_data_set_that_is_not_one_is_said_in_a_sentence(tmp_path: Path, missing: str) -> None:
    if missing != "data":
        (tmp_path / "data").mkdir()
    if missing == "data/videos/*":
        (tmp_path / "data/videos").mkdir()
    ended = check(tmp_path)
    assert (ended.code, ended.error["exit_code"]) == (2, 2)
    assert ended.error["hint"]
    assert not (tmp_path / "data/check").exists()


def test_a_clip_that_takes_too_long_costs_its_limit_and_nothing_else(workspace: Path, endless: Path) -> None:
    shutil.copy(endless, video(workspace, "video2"))
    started = time.monotonic()
    first = check(workspace, timeout_s=2)
    took_s = time.monotonic() - started
    again = check(workspace, timeout_s=1)
    longer = check(workspace, timeout_s=3)

    assert (first.code, first.done["usable"]) == (0, 7)
    assert took_s < slowed(30)
    assert report(workspace)["reasons"] == {"timeout": 1}
    assert quarantine(workspace) == {"video2": "timeout"}
    assert to_decode(again) == "0 clips to decode, 8 decoded before"
    assert to_decode(longer) == "1 clips to decode, 7 decoded before"
    assert "longer than 3 s" in longer.warnings


def children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in listed.read_text().split()] if listed.exists() else []


def wait_for(find: Callable[[], Any]) -> Any:
    """The first thing found that is something."""
    deadline = time.monotonic() + DEADLINE_S
    while not (found := find()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found


def is_reading(child: int, name: str) -> bool:
    with suppress(OSError):  # it may end, or close a file, at any moment
        return any(link.resolve().name == name for link in Path(f"/proc/{child}/fd").iterdir())
    return False


def child_at(process: subprocess.Popen[bytes], name: str, *, other_than: int = 0) -> int:
    """The child that is decoding this file, as soon as there is one."""
    found = wait_for(lambda: [c for c in children(process.pid) if c != other_than and is_reading(c, name)])
    return int(found[0])


def begin_and_hang(root: Path, endless: Path, **values: Any) -> tuple[subprocess.Popen[bytes], Path, int]:
    """A check by one child that has done all other clips and is at one that takes minutes."""
    shutil.copy(endless, video(root, "video900"))
    process, directory = start(root, "check", data="data", workers=1, **values)
    return process, directory, child_at(process, "video900.mp4")


def end_of(process: subprocess.Popen[bytes], directory: Path) -> Ended:
    return Ended(process.wait(DEADLINE_S), events_of(directory))


def test_a_child_that_hears_no_signal_is_killed_at_its_limit(workspace: Path, endless: Path) -> None:
    process, directory, child = begin_and_hang(workspace, endless, timeout_s=3)
    os.kill(child, signal.SIGSTOP)  # nothing but SIGKILL ends it now
    ended = end_of(process, directory)
    assert (ended.code, ended.done["usable"]) == (0, 8)
    assert quarantine(workspace) == {"video900": "timeout"}
    assert not Path(f"/proc/{child}").exists()


def test_a_clip_that_kills_its_decoder_twice_is_set_aside(workspace: Path, endless: Path) -> None:
    process, directory, first = begin_and_hang(workspace, endless)
    os.kill(first, signal.SIGSEGV)
    os.kill(child_at(process, "video900.mp4", other_than=first), signal.SIGSEGV)
    ended = end_of(process, directory)
    assert (ended.code, ended.done["usable"]) == (0, 8)
    assert quarantine(workspace) == {"video900": "decoder-crash"}
    assert "SIGSEGV, 2 times" in report(workspace)["unusable"]["video900"]["detail"]


def test_a_clip_whose_decoder_the_kernel_kills_for_memory_is_not_called_bad(workspace: Path, endless: Path) -> None:
    """The kernel ends what takes too much with SIGKILL, as it is sent here."""
    process, directory, first = begin_and_hang(workspace, endless)
    os.kill(first, signal.SIGKILL)
    os.kill(child_at(process, "video900.mp4", other_than=first), signal.SIGKILL)
    ended = end_of(process, directory)
    assert ended.code == 1
    assert ended.error["message"] == "not enough memory to decode video900.mp4, even with nothing else running"
    assert "video900" not in quarantine(workspace)
    video(workspace, "video900").unlink()
    assert to_decode(check(workspace)) == "0 clips to decode, 8 decoded before"


def test_after_a_kill_its_children_end_and_the_next_run_goes_on(workspace: Path, endless: Path) -> None:
    process, directory, child = begin_and_hang(workspace, endless)
    process.kill()
    assert end_of(process, directory).code == -signal.SIGKILL
    wait_for(lambda: not Path(f"/proc/{child}").exists())
    video(workspace, "video900").unlink()
    ended = check(workspace)
    assert (ended.code, to_decode(ended)) == (0, "0 clips to decode, 8 decoded before")


def test_ctrl_c_ends_it_soon_and_keeps_what_was_found(workspace: Path, endless: Path) -> None:
    video(workspace, "video1").write_bytes(b"")
    process, directory, child = begin_and_hang(workspace, endless)
    process.send_signal(signal.SIGINT)
    ended = end_of(process, directory)
    assert (ended.code, ended.error["exit_code"]) == (130, 130)
    assert quarantine(workspace) == {"video1": "empty-file"}
    assert not Path(f"/proc/{child}").exists()
    video(workspace, "video900").unlink()
    assert to_decode(check(workspace)) == "0 clips to decode, 8 decoded before"


def test_a_torn_journal_costs_the_torn_line_only(workspace: Path) -> None:
    check(workspace)
    journal = workspace / "data/check/clips.jsonl"
    journal.write_bytes(journal.read_bytes()[:-40])
    assert to_decode(check(workspace)) == "1 clips to decode, 7 decoded before"
    assert to_decode(check(workspace)) == "0 clips to decode, 8 decoded before"


@pytest.mark.parametrize("module", ["t2v_core.data.check.check_clip", "t2v_core.data.check.check"])
def test_checking_loads_no_torch(module: str) -> None:
    program = f"import {module}, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=240, check=True)
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert {"av", "numpy"} <= loaded
    assert loaded & {"torch", "diffusers", "transformers", "accelerate"} == set()
