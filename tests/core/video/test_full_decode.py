"""Whatever the codec, the container, the cut and the rule, the frames picked are those of ffmpeg's own full decode."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from support.engine.odd_videos import FRAMES, HEIGHT, PLAIN, WIDTH, YUV420, encode, ffmpeg, numbers

from t2v_core.data.check.check_clip import check_clip
from t2v_core.data.video.decode import read_all_frames, read_frames
from t2v_core.data.video.frame_rule import pick_frames

X265 = ("-c:v", "libx265", "-x265-params")
CODECS: dict[str, tuple[str, ...]] = {
    "h264": PLAIN,
    "h264 in open groups": (*PLAIN, "-x264-params", "open-gop=1"),
    "h264 without B-frames": ("-c:v", "libx264", *YUV420, "-g", "12", "-bf", "0"),
    "hevc": (*X265, "log-level=error:keyint=12:min-keyint=12:bframes=4:open-gop=0", *YUV420),
    "av1": ("-c:v", "libsvtav1", "-preset", "10", "-g", "24", *YUV420),
    "av1 by aom": ("-c:v", "libaom-av1", "-cpu-used", "8", "-usage", "realtime", "-g", "24", *YUV420),
    "vp9": ("-c:v", "libvpx-vp9", "-cpu-used", "8", "-auto-alt-ref", "1", "-lag-in-frames", "16", "-g", "24"),
    "vp8": ("-c:v", "libvpx", "-cpu-used", "8", "-auto-alt-ref", "1", "-lag-in-frames", "10", "-g", "24", "-b:v", "2M"),
    "mpeg4": ("-c:v", "mpeg4", "-bf", "2", "-q:v", "2", "-g", "12"),
    "mpeg2": ("-c:v", "mpeg2video", "-bf", "2", "-q:v", "2", "-g", "12", *YUV420),
    "mjpeg": ("-c:v", "mjpeg", "-q:v", "2", "-pix_fmt", "yuvj420p"),
    "prores": ("-c:v", "prores_ks"),
    "ffv1": ("-c:v", "ffv1", "-g", "12"),
    "wmv": ("-c:v", "wmv2", "-q:v", "2", "-g", "12"),
    "msmpeg4": ("-c:v", "msmpeg4", "-q:v", "2", "-g", "12"),
    "flash": ("-c:v", "flv", "-q:v", "2", "-g", "12"),
    "theora": ("-c:v", "libtheora", "-q:v", "9", "-g", "12"),
    "gif": ("-c:v", "gif"),
}
CONTAINERS = {
    "h264": ("mp4", "mov", "m4v", "mkv", "avi", "ts", "flv", "3gp", "h264"),
    "h264 in open groups": ("mp4", "mkv", "ts"),
    "h264 without B-frames": ("mp4", "mkv", "avi", "h264"),
    "hevc": ("mp4", "mov", "mkv", "ts", "hevc"),
    "av1": ("mp4", "webm", "mkv", "ivf", "obu"),
    "av1 by aom": ("mp4", "webm"),
    "vp9": ("mp4", "webm", "mkv", "ivf"),
    "vp8": ("webm", "mkv", "avi"),
    "mpeg4": ("mp4", "mkv", "avi"),
    "mpeg2": ("mpg", "vob", "ts", "mkv"),
    "mjpeg": ("avi", "mov", "mkv"),
    "prores": ("mov", "mkv"),
    "ffv1": ("mkv", "avi"),
    "wmv": ("wmv", "avi"),
    "msmpeg4": ("avi",),
    "flash": ("flv",),
    "theora": ("ogv",),
    "gif": ("gif",),
}
# Cut without encoding, as people cut: the beginning away, the end away, or both.
CUTS = {
    "whole": (), "from 0.7 s": ("-ss", "0.7"), "to 1.3 s": ("-t", "1.3"), "0.7 to 1.9 s": ("-ss", "0.7", "-t", "1.2")
}  # fmt: skip
RAW = ("h264", "hevc")  # without times, so that a cut cannot begin at one
RULES = ((1, None), (5, None), (16, None), (FRAMES, None), (1, 1), (6, 1), (4, 3), (3, 7))


@cache
def encoders() -> str:
    return ffmpeg("-hide_banner", "-encoders").decode()


def by_ffmpeg(path: Path) -> NDArray[np.uint8]:
    """Every frame that the ffmpeg command shows."""
    options = ("-map", "0:v:0", "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24", "-")
    return np.frombuffer(ffmpeg("-i", path, *options), np.uint8).reshape(-1, HEIGHT, WIDTH, 3)


def assert_same(frames: NDArray[np.uint8], expected: NDArray[np.uint8]) -> None:
    """The same pictures in the same order; another release of the scaler may round another way."""
    assert numbers(frames) == numbers(expected)
    assert np.abs(np.subtract(frames, expected, dtype=np.int16)).mean() < 1


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("films")


FILMS = [
    (codec, container, cut)
    for codec in CODECS
    for container in CONTAINERS[codec]
    for cut in CUTS
    if not (container in RAW and "-ss" in CUTS[cut])
]


@pytest.mark.parametrize(("codec", "container", "cut"), FILMS)
def test_picked_frames_are_those_of_ffmpeg(films: Path, tmp_path: Path, codec: str, container: str, cut: str) -> None:
    encoder = CODECS[codec][1]
    if f" {encoder} " not in encoders():
        pytest.skip(f"this ffmpeg has no encoder {encoder}")
    whole = films / f"{codec}.{container}"
    if not whole.is_file():
        encode(whole, *CODECS[codec])
    path = whole
    if CUTS[cut]:
        path = tmp_path / f"cut.{container}"
        ffmpeg(*CUTS[cut], "-i", whole, "-c", "copy", path)
    expected = by_ffmpeg(path)

    assert_same(read_all_frames(path).frames, expected)
    for count, stride in RULES:
        if stride is not None and (count - 1) * stride >= len(expected):
            continue
        clip = read_frames(path, count, stride)
        assert clip.indices == pick_frames(len(expected), count, stride)
        assert_same(clip.frames, expected[clip.indices])
    assert check_clip(path).frames == len(expected)
