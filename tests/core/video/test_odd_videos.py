"""Whatever the world wraps a film in: the frames picked are exactly those of a full decode, or one reason says why not.

`test_frames.py` has the plain files, the damaged ones, and the rule itself.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest
from support.engine.odd_videos import (
    FPS,
    FRAMES,
    HEIGHT,
    PLAIN,
    WIDTH,
    X264,
    YUV420,
    encode,
    ffmpeg,
    full_decode,
    full_decode_by_command,
    numbered_frames,
    numbers,
    turn,
)

from t2v_core.data.video.decode import UnreadableClip, read_all_frames, read_frames
from t2v_core.data.video.frame_rule import evenly_spaced

X265 = ("-c:v", "libx265", "-x265-params", "log-level=error:keyint=12:min-keyint=12:bframes=4:open-gop=1")
SVT_AV1 = ("-c:v", "libsvtav1", "-preset", "10", "-g", "24", *YUV420)
VP9 = ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", *YUV420)
FILES = {
    "hevc-open-gop.mp4": (*X265, *YUV420),
    "hevc-10-bit.mkv": (*X265, "-pix_fmt", "yuv420p10le"),
    "av1.mp4": SVT_AV1,
    "av1.webm": SVT_AV1,
    "vp9-hidden-frames.webm": (*VP9[:2], "-cpu-used", "5", "-auto-alt-ref", "1", "-lag-in-frames", "16", "-g", "24"),
    "vp9.mp4": VP9,
    "vp9-odd-size.webm": (*VP9, "-vf", "crop=157:91:0:0"),
    "odd-size-444.mp4": ("-c:v", "libx264", "-pix_fmt", "yuv444p", "-vf", "crop=157:91:0:0"),
    "10-bit.mp4": ("-c:v", "libx264", "-pix_fmt", "yuv420p10le"),
    "10-bit-422.mkv": ("-c:v", "libx264", "-pix_fmt", "yuv422p10le"),
    "full-range.mp4": ("-c:v", "libx264", "-pix_fmt", "yuvj420p"),
    "rolling-refresh.mp4": (*X264, "-x264-params", "intra-refresh=1:keyint=12"),
    "b-pyramid.mp4": (*X264, "-g", "30", "-bf", "8", "-x264-params", "b-pyramid=2:b-adapt=0"),
    "tiny-open-gops.mp4": (*X264, "-bf", "2", "-x264-params", "open-gop=1:keyint=3:min-keyint=1"),
    "negative-offsets.mp4": (*PLAIN, "-movflags", "negative_cts_offsets"),
    "in-fragments.mp4": (*PLAIN, "-movflags", "frag_keyframe+empty_moov"),
    "interlaced.mp4": (*X264, "-x264-params", "interlaced=1:bframes=2:keyint=12"),
    "b-frames.avi": PLAIN,
    "mpeg2.mpg": ("-c:v", "mpeg2video", "-bf", "2", *YUV420),
    "animation.gif": (),
}


def assert_exact(path: Path) -> list[int]:
    """Every way of reading gives what the full decode gives; returns the numbers of the frames that the file shows."""
    reference = full_decode(path)
    for count in (1, 5, 16, len(reference)):
        clip = read_frames(path, count)
        assert clip.total_frames == len(reference)
        assert clip.indices == evenly_spaced(len(reference), count)
        assert np.array_equal(clip.frames, reference[clip.indices])
    assert np.array_equal(read_all_frames(path).frames, reference)
    return numbers(reference)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A keyframe every 12 frames, 3 B-frames."""
    return encode(tmp_path_factory.mktemp("odd") / "plain.mp4", *PLAIN)


@pytest.mark.parametrize("name", FILES)
def test_frames_are_those_of_a_full_decode(tmp_path: Path, name: str) -> None:
    path = encode(tmp_path / name, *FILES[name])
    assert assert_exact(path) == list(range(FRAMES))


@pytest.mark.parametrize("codec", [X264, VP9, SVT_AV1, (*X265, *YUV420)], ids=["h264", "vp9", "av1", "hevc"])
def test_a_film_of_one_frame_is_a_film(tmp_path: Path, codec: tuple[str, ...]) -> None:
    path = encode(tmp_path / "one.mp4", *codec, frames=numbered_frames(1))
    assert assert_exact(path) == [0]
    assert read_frames(path, 16).indices == [0] * 16


@pytest.mark.parametrize("container", ["mp4", "mkv", "mov"])
def test_frames_at_irregular_times_are_counted_in_every_container(tmp_path: Path, plain: Path, container: str) -> None:
    irregular = ("-vf", "select='not(mod(n,7))+lt(n,20)'", "-fps_mode", "vfr")
    ffmpeg("-i", plain, *irregular, *PLAIN, tmp_path / f"vfr.{container}")
    assert assert_exact(tmp_path / f"vfr.{container}") == [*range(20), *range(21, 60, 7)]


@pytest.mark.parametrize("container", ["mp4", "mkv", "mov"])
@pytest.mark.parametrize("gop", ["closed", "open"])
def test_a_film_cut_without_encoding_shows_what_players_show(tmp_path: Path, container: str, gop: str) -> None:
    whole = encode(tmp_path / "whole.mp4", *PLAIN, "-x264-params", f"open-gop={int(gop == 'open')}")
    path = tmp_path / f"cut.{container}"
    ffmpeg("-ss", "0.7", "-i", whole, "-c", "copy", path)
    first = 12 if container == "mkv" else 18  # an edit list hides what lies before 0.7 s; Matroska has none
    assert assert_exact(path) == list(range(first, FRAMES))


def trimmed(path: Path, whole: Path, *, start: int, frames: int) -> Path:
    """As editors trim: nothing is removed, and the edit list names the part to show."""
    data = bytearray(whole.read_bytes())
    movie, media, edits = (data.find(box) for box in (b"mvhd", b"mdhd", b"elst"))
    movie_scale, media_scale = (struct.unpack_from(">I", data, box + 16)[0] for box in (movie, media))
    begin = struct.unpack_from(">i", data, edits + 16)[0] + start * media_scale // FPS
    struct.pack_into(">Ii", data, edits + 12, frames * movie_scale // FPS, begin)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("start", [0, 12, 25])
def test_a_trim_by_an_editor_shows_its_part_and_is_not_called_truncated(
    tmp_path: Path, plain: Path, start: int
) -> None:
    path = trimmed(tmp_path / "trim.mp4", plain, start=start, frames=20)
    assert assert_exact(path) == list(range(start, start + 20))


def test_leading_frames_that_lean_on_what_is_gone_are_not_counted(tmp_path: Path) -> None:
    whole = encode(tmp_path / "whole.mp4", *X265, *YUV420)
    ffmpeg("-i", whole, "-c", "copy", "-f", "segment", "-segment_time", "0.4", tmp_path / "part-%d.ts")
    assert assert_exact(tmp_path / "part-1.ts")[0] == 12


def turn_in_file(path: Path, matrix: tuple[int, int, int, int]) -> None:
    """Write a display matrix into the track's header, as cameras do."""
    data = bytearray(path.read_bytes())
    box = data.find(b"tkhd") + 4
    a, b, c, d = (value << 16 for value in matrix)
    struct.pack_into(">9i", data, box + 40, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


# clockwise by 90, 180, 270; mirrored left to right, upside down; mirrored and turned, as front cameras leave it
TURNS = {
    "90": ((0, 1, -1, 0), lambda frames: np.rot90(frames, -1, (1, 2))),
    "180": ((-1, 0, 0, -1), lambda frames: np.rot90(frames, 2, (1, 2))),
    "270": ((0, -1, 1, 0), lambda frames: np.rot90(frames, 1, (1, 2))),
    "mirrored": ((-1, 0, 0, 1), lambda frames: frames[:, :, ::-1]),
    "flipped": ((1, 0, 0, -1), lambda frames: frames[:, ::-1]),
    "mirrored, 90": ((0, 1, 1, 0), lambda frames: frames.swapaxes(1, 2)),
    "mirrored, 270": ((0, -1, -1, 0), lambda frames: np.rot90(frames, 2, (1, 2)).swapaxes(1, 2)),
}


@pytest.mark.parametrize("turn", TURNS)
def test_frames_are_turned_and_mirrored_as_the_file_says(tmp_path: Path, plain: Path, turn: str) -> None:
    matrix, as_seen = TURNS[turn]
    path = tmp_path / "turned.mp4"
    path.write_bytes(plain.read_bytes())
    turn_in_file(path, matrix)
    expected = as_seen(full_decode(plain))
    clip = read_frames(path, 5)
    assert np.array_equal(clip.frames, expected[clip.indices])
    assert np.array_equal(read_all_frames(path).frames, expected)


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_turn_is_the_one_that_the_ffmpeg_command_makes(tmp_path: Path, plain: Path, degrees: int) -> None:
    path = tmp_path / "turned.mp4"
    turn(plain, path, degrees)
    width, height = (WIDTH, HEIGHT) if degrees == 180 else (HEIGHT, WIDTH)
    reference = full_decode_by_command(path, width, height)
    assert np.abs(read_all_frames(path).frames.astype(int) - reference).mean() < 2


@pytest.mark.parametrize("matrix", ["bt709", "bt2020nc"])
def test_colours_follow_the_matrix_that_the_file_names(tmp_path: Path, matrix: str) -> None:
    name = matrix.removesuffix("nc")
    path = encode(tmp_path / "tagged.mp4", *PLAIN, "-vf", f"scale=out_color_matrix={name}", "-colorspace", matrix)
    written = numbered_frames()
    assert np.abs(read_all_frames(path).frames.astype(int) - full_decode_by_command(path, WIDTH, HEIGHT)).mean() < 1
    assert np.abs(read_all_frames(path).frames.mean((0, 1, 2)) - written.mean((0, 1, 2))).max() < 2


@pytest.mark.parametrize("first", ["film", "cover"])
def test_cover_art_is_not_the_film_however_large(tmp_path: Path, plain: Path, first: str) -> None:
    cover, path = tmp_path / "cover.jpg", tmp_path / "film.mp4"
    ffmpeg("-f", "lavfi", "-i", "color=red:size=640x480", "-frames:v", "1", cover)
    order = ("0", "1") if first == "film" else ("1", "0")
    maps = (option for index in order for option in ("-map", index))
    art = f"-disposition:v:{order.index('1')}"
    ffmpeg("-i", plain, "-i", cover, *maps, "-c", "copy", art, "attached_pic", path)
    clip = read_frames(path, 16)
    assert np.array_equal(clip.frames, full_decode(plain)[clip.indices])


def reason_of(path: Path) -> str:
    with pytest.raises(UnreadableClip) as caught:
        read_frames(path, 16)
    with pytest.raises(UnreadableClip):
        read_all_frames(path)
    assert caught.value.detail
    return caught.value.reason


CUTS = {"fragments.mp4": ("-movflags", "frag_keyframe+empty_moov"), "film.mkv": (), "film.avi": ()}


@pytest.mark.parametrize("share", [0.4, 0.7])
@pytest.mark.parametrize("name", CUTS)
def test_half_a_download_is_no_shorter_film_in_any_container(tmp_path: Path, name: str, share: float) -> None:
    path = encode(tmp_path / name, *PLAIN, *CUTS[name])
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    assert reason_of(path) == "truncated"


def test_half_a_webm_is_no_shorter_film(tmp_path: Path) -> None:
    path = encode(tmp_path / "film.webm", *VP9)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert reason_of(path) == "truncated"


def test_a_film_that_changes_its_size_has_a_reason(tmp_path: Path) -> None:
    encode(tmp_path / "large.webm", *VP9)
    encode(tmp_path / "small.webm", *VP9, "-vf", "scale=80:48")
    (tmp_path / "list.txt").write_text("file large.webm\nfile small.webm\n")
    ffmpeg("-f", "concat", "-i", tmp_path / "list.txt", "-c", "copy", tmp_path / "both.webm")
    assert reason_of(tmp_path / "both.webm") == "size-change"


def test_a_pipe_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "video7.mp4")
    assert reason_of(tmp_path / "video7.mp4") == "not-a-file"


@pytest.mark.parametrize(("count", "stride"), [(16, 1), (16, 3), (5, 14), (1, 60)])
def test_a_stride_picks_around_the_middle(plain: Path, count: int, stride: int) -> None:
    clip = read_frames(plain, count, stride)
    before, after = clip.indices[0], FRAMES - 1 - clip.indices[-1]
    assert clip.indices == list(range(before, FRAMES - after, stride))
    assert after - before in (0, 1)
    assert numbers(clip.frames) == clip.indices
    assert np.array_equal(clip.frames, full_decode(plain)[clip.indices])
    assert clip.effective_fps == pytest.approx(FPS if count == 1 else FPS / stride)


@pytest.mark.parametrize("name", ["plain.mp4", "b-frames.avi"])
def test_a_clip_too_short_for_a_stride_is_refused_with_the_numbers(tmp_path: Path, name: str) -> None:
    path = encode(tmp_path / name, *PLAIN)
    assert read_frames(path, 16, 3).total_frames == FRAMES
    with pytest.raises(UnreadableClip) as caught:
        read_frames(path, 16, 4)
    assert caught.value.reason == "too-short"
    assert caught.value.detail == "it has 60 frames, and 16 frames 4 apart need 61"
