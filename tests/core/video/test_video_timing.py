"""A video keeps its speed, however it says it: without timestamps, a picture an hour, or as a gif in hundredths."""

from __future__ import annotations

import random
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from support.engine.odd_videos import PLAIN, encode, ffmpeg
from support.hosts.door import through_the_door

from t2v_core.data.check.check_clip import check_clip
from t2v_core.data.video.decode import UnreadableClip, read_all_frames, read_frames
from t2v_core.data.video.frames import write_video
from t2v_core.data.video.showing import ANIMATIONS, showing
from t2v_core.data.video.timing import exact_rate
from t2v_core.errors import InvalidRequest


def pictures(count: int) -> np.ndarray:
    frames = np.zeros((count, 16, 16, 3), np.uint8)
    frames[np.arange(count), :, np.arange(count) % 16] = 255
    return frames


def length_ms(path: Path) -> int:
    """What a browser adds up."""
    with Image.open(path) as image:
        total = 0
        for number in range(image.n_frames):
            image.seek(number)
            image.load()
            total += image.info["duration"]
    return int(total)


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
@pytest.mark.parametrize("fps", [0.5, 7.5, 8, 12, 15, 24, 24000 / 1001, 25, 30000 / 1001, 30, 33, 48, 50])
def test_an_animation_is_as_long_as_the_video_to_10_ms(tmp_path: Path, suffix: str, fps: float) -> None:
    written = write_video(tmp_path / f"clip{suffix}", pictures(45), fps=fps)
    assert (written.frames, written.fps) == (45, fps)
    assert length_ms(tmp_path / f"clip{suffix}") == pytest.approx(45_000 / fps, abs=10)


@pytest.mark.parametrize(("suffix", "fps", "shown"), [(".gif", 60, 75), (".gif", 120, 37), (".webp", 120, 68)])
def test_beyond_what_browsers_show_pictures_are_left_out_and_the_length_stays(
    tmp_path: Path, suffix: str, fps: float, shown: int
) -> None:
    write_video(tmp_path / "in.mp4", pictures(90), fps=fps)
    ended = through_the_door(tmp_path, "add-noise", input="in.mp4", output=f"out{suffix}", strength=0.1)
    assert f"{shown} of 90 frames are in it" in ended.warnings
    assert ended.done["frames"] == shown
    assert length_ms(tmp_path / f"out{suffix}") == pytest.approx(90_000 / fps, abs=10)


def test_every_count_and_rate_is_spread_evenly_within_what_the_format_can_say() -> None:
    seed = random.randrange(10**9)
    print("seed", seed)
    rng = random.Random(seed)
    for _ in range(2000):
        count, fps = rng.randint(1, 400), 10 ** rng.uniform(-1, 3)
        for format_ in ANIMATIONS.values():
            plan = showing(count, fps, format_)
            assert sum(plan.ticks) == max(format_.least, round(count / fps / format_.tick_s))
            assert min(plan.ticks) >= format_.least
            assert max(plan.ticks) - min(plan.ticks) <= 1
            assert plan.indices == sorted(set(plan.indices))
            assert (len(plan.indices) == count) == (plan.fps == fps)


@pytest.mark.parametrize("fps", ["1/86400", "1/3600", "1/60", "7/13", "24000/1001", "25", "60000/1001", "240", "1000"])
def test_a_rate_comes_through_exactly(tmp_path: Path, fps: str) -> None:
    rate = Fraction(fps)
    assert exact_rate(float(rate)) == rate
    write_video(tmp_path / "in.mp4", pictures(5), fps=float(rate))
    ended = through_the_door(tmp_path, "add-noise", input="in.mp4", output="out.mp4", strength=0)
    assert ended.code == 0
    with av.open(str(tmp_path / "out.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.average_rate == rate
        assert stream.frames == 5
    assert read_all_frames(tmp_path / "out.mp4").duration_s == pytest.approx(float(5 / rate))


@pytest.mark.parametrize("fps", [1e-9, 1 / 90_000, 1001, 1_200_000])
def test_a_rate_that_no_video_has_is_refused_with_the_number(tmp_path: Path, fps: float) -> None:
    with pytest.raises(InvalidRequest, match=f"{fps:,.6g}".replace("+", r"\+")) as caught:
        write_video(tmp_path / "clip.mp4", pictures(2), fps=fps)
    assert caught.value.hint


def test_a_picture_too_long_for_a_gif_is_refused_before_the_work(tmp_path: Path) -> None:
    write_video(tmp_path / "slow.mp4", pictures(3), fps=1 / 3600)
    ended = through_the_door(tmp_path, "add-noise", input="slow.mp4", output="out.gif")
    assert ended.code == 2
    assert ended.sentence == "out.gif cannot show a picture for 3,600 seconds: a gif can for 655"
    assert ended.error["hint"] == "write an mp4: out.mp4"
    assert not ended.of("progress")


def test_a_gif_whose_picture_never_changes_is_refused_in_a_sentence(tmp_path: Path) -> None:
    still = np.zeros((20, 16, 16, 3), np.uint8)
    with pytest.raises(InvalidRequest, match="that stays the same for more than 655 seconds"):
        write_video(tmp_path / "still.gif", still, fps=0.02)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["raw.h264", "raw.hevc"])
@pytest.mark.parametrize("rate", [12, 25, 50])
def test_a_stream_without_timestamps_has_the_rate_that_its_pictures_name(tmp_path: Path, name: str, rate: int) -> None:
    codec = PLAIN if name.endswith("h264") else ("-c:v", "libx265", "-x265-params", "log-level=error")
    ffmpeg("-f", "lavfi", "-i", f"testsrc2=size=64x64:rate={rate}:duration=1", *codec, tmp_path / name)
    clip = read_frames(tmp_path / name, 5)
    assert (clip.source_fps, clip.duration_s, clip.total_frames) == (rate, pytest.approx(1), rate)
    assert clip.effective_fps == pytest.approx(4 / ((rate - 1) / rate))
    assert check_clip(tmp_path / name).fps == read_all_frames(tmp_path / name).source_fps == rate


def with_times(path: Path, source: Path, pts: list[int]) -> Path:
    """The same pictures, at other times in units of 1/1000 s."""
    with av.open(str(source)) as old, av.open(str(path), "w", format="matroska") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        packets = [packet for packet in old.demux(video=0) if packet.size]
        for packet, time in zip(packets, pts, strict=True):
            packet.time_base = Fraction(1, 1000)
            packet.pts = packet.dts = time
            packet.duration = None
            packet.stream = stream
            new.mux(packet)
    return path


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """24 frames, none of which leans on a later one."""
    return encode(tmp_path / "film.mp4", "-frames:v", "24", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-bf", "0")


def test_frames_of_one_time_are_shown_once_each_as_players_do(tmp_path: Path, film: Path) -> None:
    times = [40 * (number - (number % 7 == 3)) for number in range(24)]
    path = with_times(tmp_path / "doubled.mkv", film, times)
    expected = read_all_frames(film).frames
    assert np.array_equal(read_all_frames(path).frames, expected)
    for count, stride in ((24, None), (5, None), (6, 3)):
        clip = read_frames(path, count, stride)
        assert np.array_equal(clip.frames, expected[clip.indices])
    assert check_clip(path).frames == 24
    assert clip.source_fps == pytest.approx(25, rel=0.05)


def test_a_header_that_is_nearly_right_does_not_change_the_length(tmp_path: Path) -> None:
    source = "testsrc2=size=32x32:rate=25:duration=40"
    film = tmp_path / "film.mp4"
    ffmpeg("-f", "lavfi", "-i", source, "-c:v", "libx264", "-pix_fmt", "yuv420p", "-bf", "0", film)
    path = with_times(tmp_path / "slower.mkv", film, [round(number * 40.4) for number in range(1000)])
    assert read_frames(path, 5).duration_s == pytest.approx(40.4, abs=0.05)
    through_the_door(tmp_path, "add-noise", input="slower.mkv", output="out.mp4", strength=0)
    assert read_frames(tmp_path / "out.mp4", 5).duration_s == pytest.approx(40.4, abs=0.05)


RARE = [number * 200_000_000 for number in range(24)]  # a frame every 200,000 seconds


def test_timestamps_in_a_wrong_unit_give_way_to_the_rate_that_the_pictures_name(tmp_path: Path, film: Path) -> None:
    clip = read_frames(with_times(tmp_path / "rare.mkv", film, RARE), 4)
    assert (clip.source_fps, clip.duration_s) == (25, pytest.approx(24 / 25))


def test_timestamps_in_a_wrong_unit_are_refused_with_the_number_where_nothing_else_tells(tmp_path: Path) -> None:
    film = encode(tmp_path / "film.mkv", "-frames:v", "24", "-c:v", "ffv1")
    path = with_times(tmp_path / "rare.mkv", film, RARE)
    with pytest.raises(UnreadableClip) as caught:
        read_frames(path, 4)
    assert caught.value.reason == "impossible-rate"
    assert caught.value.detail == "its timestamps say a frame every 200,000 seconds"
    ended = through_the_door(tmp_path, "add-noise", input="rare.mkv", output="out.mp4")
    assert (ended.code, "a frame every 200,000 seconds" in ended.sentence) == (2, True)
