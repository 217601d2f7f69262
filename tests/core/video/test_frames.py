"""Frames come back exactly as a full decode gives them, or the file is named unreadable with a reason."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from support.engine.odd_videos import ffmpeg, turn

from t2v_core.data.video.decode import UnreadableClip, open_film, read_all_frames, read_frames
from t2v_core.data.video.frame_rule import evenly_spaced
from t2v_core.data.video.frames import write_video
from t2v_core.data.video.resize import resize_and_crop
from t2v_core.errors import InvalidRequest


def encode(path: Path, *options: str, source: str = "testsrc2=size=160x120:rate=25:duration=4") -> Path:
    ffmpeg("-f", "lavfi", "-i", source, "-pix_fmt", "yuv420p", *options, path)
    return path


def full_decode(path: Path) -> NDArray[np.uint8]:
    """Every frame in order of showing, decoded plainly."""
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def x264(*, gop: int, b_frames: int) -> list[str]:
    return ["-c:v", "libx264", "-g", str(gop), "-bf", str(b_frames)]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """100 frames, a keyframe every 12, 3 B-frames, index at the end."""
    return encode(tmp_path_factory.mktemp("clips") / "plain.mp4", *x264(gop=12, b_frames=3))


@pytest.fixture(scope="module")
def faststart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clips") / "faststart.mp4"
    return encode(path, *x264(gop=12, b_frames=3), "-movflags", "+faststart")


@pytest.mark.parametrize("gop", [1, 12, 250])
@pytest.mark.parametrize("b_frames", [0, 3])
@pytest.mark.parametrize("count", [1, 5, 16])
def test_picked_frames_equal_a_full_decode(tmp_path: Path, gop: int, b_frames: int, count: int) -> None:
    path = encode(tmp_path / "clip.mp4", *x264(gop=gop, b_frames=b_frames))

    clip = read_frames(path, count)

    assert clip.indices == evenly_spaced(100, count)
    assert np.array_equal(clip.frames, full_decode(path)[clip.indices])
    assert (clip.total_frames, clip.source_fps, clip.codec) == (100, 25.0, "h264")
    assert clip.duration_s == pytest.approx(4.0)


VARIANTS = {
    "open-gop.mp4": [*x264(gop=12, b_frames=3), "-x264-params", "open-gop=1"],
    "matroska-named.mp4": [*x264(gop=12, b_frames=3), "-f", "matroska"],
    "444-10bit.mp4": ["-c:v", "libx264", "-pix_fmt", "yuv444p10le"],
    "vp8.webm": ["-t", "1", "-c:v", "libvpx", "-auto-alt-ref", "1", "-lag-in-frames", "10", "-deadline", "realtime"],
    "mpeg4.avi": ["-c:v", "mpeg4", "-bf", "2"],
    "stream.ts": x264(gop=12, b_frames=3),
    "motion.mov": ["-c:v", "mjpeg"],
}


@pytest.mark.parametrize("name", VARIANTS)
def test_other_containers_and_codecs_are_as_exact(tmp_path: Path, name: str) -> None:
    path = encode(tmp_path / name, *VARIANTS[name])
    reference = full_decode(path)

    clip = read_frames(path, 16)

    assert np.array_equal(clip.frames, reference[clip.indices])
    assert np.array_equal(read_all_frames(path).frames, reference)


def test_frames_at_irregular_times_are_counted_not_timed(tmp_path: Path) -> None:
    irregular = ["-vf", "select='not(mod(n,7))+lt(n,20)'", "-fps_mode", "vfr"]
    path = encode(tmp_path / "vfr.mp4", *irregular, *x264(gop=12, b_frames=3))
    reference = full_decode(path)

    clip = read_frames(path, 8)

    assert clip.indices == evenly_spaced(len(reference), 8)
    assert np.array_equal(clip.frames, reference[clip.indices])


def test_a_cut_by_edit_list_shows_only_what_is_left(tmp_path: Path, plain: Path) -> None:
    path = tmp_path / "cut.mp4"
    ffmpeg("-ss", "1.3", "-i", plain, "-c", "copy", path)
    reference = full_decode(path)

    clip = read_frames(path, 16)

    assert clip.total_frames == len(reference) < 100
    assert np.array_equal(clip.frames, reference[clip.indices])


def test_one_frame_is_repeated_and_the_indices_say_so(tmp_path: Path) -> None:
    path = encode(tmp_path / "one.mp4", "-frames:v", "1", *x264(gop=12, b_frames=0))
    clip = read_frames(path, 4)
    assert clip.indices == [0, 0, 0, 0]
    assert (clip.frames == clip.frames[0]).all()
    assert (clip.total_frames, clip.effective_fps) == (1, 25.0)


def test_five_frames_give_eight_by_the_same_rule(tmp_path: Path) -> None:
    path = encode(tmp_path / "five.mp4", "-frames:v", "5", *x264(gop=12, b_frames=0))
    clip = read_frames(path, 8)
    assert clip.indices == [0, 1, 1, 2, 2, 3, 3, 4]
    assert np.array_equal(clip.frames, full_decode(path)[clip.indices])


def test_the_stream_with_most_pixels_is_read(tmp_path: Path) -> None:
    small = "testsrc2=size=64x48:rate=25:duration=1"
    large = "testsrc2=size=160x120:rate=25:duration=1"
    path = tmp_path / "two.mp4"
    ffmpeg("-f", "lavfi", "-i", small, "-f", "lavfi", "-i", large, "-map", "0", "-map", "1", path)
    assert read_frames(path, 3).frames.shape == (3, 120, 160, 3)


def test_a_sideways_film_is_turned_upright(tmp_path: Path, plain: Path) -> None:
    turned, upright = tmp_path / "turned.mp4", tmp_path / "upright.png"
    turn(plain, turned, 90)
    ffmpeg("-i", turned, "-frames:v", "1", upright)
    frame = read_frames(turned, 1).frames[0]
    assert frame.shape == (160, 120, 3)
    assert np.abs(frame.astype(int) - np.asarray(Image.open(upright), int)).mean() < 1


def test_effective_fps_is_that_of_the_picked_frames(plain: Path) -> None:
    clip = read_frames(plain, 12)  # frames 0, 9, 18, … 99 of 25 a second
    assert clip.effective_fps == pytest.approx(25 / 9)


def test_all_frames_come_in_order_and_up_to_a_limit(plain: Path) -> None:
    reference = full_decode(plain)
    assert np.array_equal(read_all_frames(plain).frames, reference)
    film, first = open_film(plain), open_film(plain, limit=7)
    assert np.array_equal(list(film.frames()), reference)
    assert np.array_equal(list(first.frames()), reference[:7])
    assert (film.total_frames, first.total_frames) == (100, 7)


def test_an_audio_track_beside_the_video_changes_nothing(tmp_path: Path, plain: Path) -> None:
    path = tmp_path / "sound.mp4"
    ffmpeg("-i", plain, "-f", "lavfi", "-i", "sine=duration=4", "-c:v", "copy", "-c:a", "aac", path)
    assert np.array_equal(read_frames(path, 16).frames, read_frames(plain, 16).frames)


def reason_of(path: Path) -> str:
    with pytest.raises(UnreadableClip) as caught:
        read_frames(path, 16)
    with pytest.raises(UnreadableClip):
        read_all_frames(path)
    assert str(path) in caught.value.message
    assert caught.value.detail
    return caught.value.reason


def test_each_kind_of_unusable_file_has_its_reason(tmp_path: Path, plain: Path) -> None:
    empty, page, folder, sound = (tmp_path / name for name in ("empty.mp4", "page.mp4", "folder.mp4", "sound.mp4"))
    empty.touch()
    page.write_text("<!DOCTYPE html><html><body>404 not found</body></html>" * 20)
    folder.mkdir()
    ffmpeg("-f", "lavfi", "-i", "sine=duration=1", "-c:a", "aac", sound)
    no_index = tmp_path / "no-index.mp4"
    no_index.write_bytes(plain.read_bytes()[: plain.stat().st_size // 2])
    assert reason_of(tmp_path / "gone.mp4") == "missing"
    assert reason_of(folder) == "not-a-file"
    assert reason_of(empty) == "empty-file"
    assert reason_of(page) == "not-a-video"
    assert reason_of(sound) == "no-video-stream"
    assert reason_of(no_index) == "truncated"


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.99])
def test_a_truncated_download_is_never_read_as_a_shorter_film(tmp_path: Path, faststart: Path, share: float) -> None:
    path = tmp_path / "cut.mp4"
    path.write_bytes(faststart.read_bytes()[: int(faststart.stat().st_size * share)])
    assert reason_of(path) in ("truncated", "corrupt-frame", "decode-error", "not-a-video")


def test_a_file_cut_exactly_at_a_packet_is_called_truncated(tmp_path: Path, faststart: Path) -> None:
    with av.open(str(faststart)) as container:
        ends = [packet.pos + packet.size for packet in container.demux(video=0) if packet.size]
    path = tmp_path / "cut.mp4"
    path.write_bytes(faststart.read_bytes()[: ends[59]])
    assert reason_of(path) == "truncated"


def test_a_hole_of_zeros_in_the_pictures_is_noticed(tmp_path: Path, faststart: Path) -> None:
    data = bytearray(faststart.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 5000] = bytes(5000)
    path = tmp_path / "hole.mp4"
    path.write_bytes(data)
    assert reason_of(path) in ("corrupt-frame", "decode-error", "truncated")


def test_flipped_bytes_never_crash_or_hang_and_mostly_are_noticed(tmp_path: Path, faststart: Path) -> None:
    seed = 20261123
    print("seed", seed)
    rng = np.random.default_rng(seed)
    path = tmp_path / "flipped.mp4"
    good = np.frombuffer(faststart.read_bytes(), np.uint8)
    unreadable = 0
    for _ in range(25):
        data = good.copy()
        data[rng.integers(0, len(data), 200)] ^= 0xFF
        path.write_bytes(data.tobytes())
        try:
            read_frames(path, 16)
        except UnreadableClip:
            unreadable += 1
    assert unreadable >= 20


@pytest.mark.parametrize("suffix", [".mp4", ".gif", ".webp"])
def test_what_is_written_has_every_frame(tmp_path: Path, suffix: str) -> None:
    frames = np.zeros((6, 32, 48, 3), np.uint8)
    frames[np.arange(6), :, np.arange(6) * 8] = 255
    path = tmp_path / f"clip{suffix}"
    write_video(path, frames, fps=8)
    with Image.open(path) if suffix != ".mp4" else av.open(str(path)) as written:
        count = written.n_frames if suffix != ".mp4" else written.streams.video[0].frames
    assert count == 6


def test_written_frames_come_back_nearly_as_they_were(tmp_path: Path) -> None:
    ramp = np.broadcast_to(np.arange(64, dtype=np.uint8)[None, None, :, None] * 3, (8, 64, 64, 3)).copy()
    write_video(tmp_path / "clip.mp4", ramp, fps=8, crf=12)
    clip = read_frames(tmp_path / "clip.mp4", 8)
    assert (clip.indices, clip.effective_fps) == (list(range(8)), 8.0)
    assert np.abs(clip.frames.astype(int) - ramp).mean() < 2


def test_a_video_of_an_unknown_kind_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="what kind of video") as caught:
        write_video(tmp_path / "clip.xyz", np.zeros((2, 16, 16, 3), np.uint8), fps=8)
    assert ".mp4" in caught.value.hint


@pytest.mark.parametrize(("height", "width"), [(120, 160), (160, 120), (64, 64), (30, 400), (65, 64)])
def test_any_shape_becomes_square_around_its_middle(height: int, width: int) -> None:
    frames = torch.zeros(2, height, width, 3, dtype=torch.uint8)
    frames[:, height // 2 - 2 : height // 2 + 2, width // 2 - 2 : width // 2 + 2] = 255
    square = resize_and_crop(frames, 64)
    assert (square.shape, square.dtype) == ((2, 64, 64, 3), torch.uint8)
    assert square[:, 31:33, 31:33].float().mean() > 100


def test_resizing_looks_like_pillows_bicubic() -> None:
    rng = np.random.default_rng(0)
    smooth = Image.fromarray(rng.integers(0, 255, (12, 16, 3), np.uint8)).resize((320, 240), Image.Resampling.BICUBIC)
    expected = np.asarray(smooth.resize((128, 96), Image.Resampling.BICUBIC))[:, 16:112].astype(int)
    ours = resize_and_crop(torch.from_numpy(np.array(smooth))[None], 96)[0].numpy().astype(int)
    assert np.abs(ours - expected).max() <= 2
