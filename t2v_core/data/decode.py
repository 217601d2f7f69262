"""Video files read back: exact frames by index, or a sentence why the file cannot be trusted.

A damaged file that decodes "somehow" gives grey or smeared frames without any error, so every decoded frame is asked
whether it is corrupt, and nothing is ever filled in from its neighbours (120 damaged files: 5 slipped through; asking
only the wanted frames let 25 through).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from t2v_core.errors import EngineError

FRAME_RULE = "round(linspace(0, N-1, frames))"

# Codecs whose packets are one frame each, so that the container's packet list says what decoding will give.
INDEXED_CODECS = ("h264", "hevc", "av1", "vp9", "mpeg4", "mpeg2video")


class UnreadableClip(EngineError):
    """A video file that cannot be read whole.

    reason: a slug: missing, empty-file, not-permitted, not-a-video, no-video-stream, truncated, corrupt-frame,
            duplicate-timestamps, decode-error
    detail: what was seen, for people
    """

    def __init__(self, path: Path, reason: str, detail: str) -> None:
        super().__init__(f"{path} cannot be read: {detail}", hint="play it, or fetch it again")
        self.path, self.reason, self.detail = path, reason, detail


@dataclass(frozen=True)
class DecodedClip:
    """Frames of one file, upright.

    frames: (count, height, width, 3) RGB uint8
    indices: which frame of the file each one is, counted from 0; a file with fewer frames than asked repeats some
    source_fps: frames a second of the file (an average where it varies)
    duration_s: from the first frame's start to the last one's end
    effective_fps: frames a second of the picked ones, from their timestamps
    """

    frames: NDArray[np.uint8]
    indices: list[int]
    source_fps: float
    duration_s: float
    effective_fps: float
    total_frames: int
    codec: str


@dataclass(frozen=True)
class _Index:
    """What demuxing alone tells. pts: of every shown frame, in order of showing; keys: pts of keyframes, sorted."""

    pts: list[int]
    keys: list[int]
    is_trusted: bool


def read_frames(path: Path, count: int) -> DecodedClip:
    """Decode `count` evenly spaced frames, exactly; only the groups of pictures that hold one are decoded.

    Raises UnreadableClip when the file is missing, damaged or not a video.
    """
    with _opened(path) as (container, stream):
        index = _read_index(path, container, stream)
        if not index.is_trusted:
            return _pick_by_counting(path, count)
        wanted = evenly_spaced(len(index.pts), count)
        images = _decode_groups(path, container, stream, index, sorted({index.pts[i] for i in wanted}))
        return _clip(stream, np.stack([images[index.pts[i]] for i in wanted]), wanted, index.pts)


def read_all_frames(path: Path, limit: int | None = None) -> DecodedClip:
    """Decode every frame in order of showing, or the first `limit`. Raises UnreadableClip as `read_frames`."""
    with _opened(path) as (container, stream):
        index = _read_index(path, container, stream)
    with _opened(path) as (container, stream):
        pts: list[int] = []
        images: list[NDArray[np.uint8]] = []
        for frame in islice(_intact_frames(path, container, stream), limit):
            pts.append(_timestamp(frame, len(pts)))
            images.append(_upright(frame))
        expected = min(len(index.pts), len(index.pts) if limit is None else limit)
        if not images or (index.is_trusted and len(images) != expected):
            raise UnreadableClip(path, "corrupt-frame", f"{len(images)} of {expected} frames can be decoded")
        all_pts = index.pts if index.is_trusted else pts
        return _clip(stream, np.stack(images), list(range(len(images))), all_pts)


def evenly_spaced(total: int, count: int) -> list[int]:
    """`count` indices from the first of `total` frames to the last; they repeat when there are fewer frames."""
    return [int(i) for i in np.round(np.linspace(0, total - 1, count))]


@contextmanager
def _opened(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open the file at its best video stream, and turn whatever goes wrong inside into UnreadableClip.

    Damaged headers make PyAV raise AttributeError or UnicodeDecodeError as well as its own errors, hence `Exception`.
    """
    try:
        if not path.is_file():
            raise UnreadableClip(path, "missing", "there is no such file")
        if path.stat().st_size == 0:
            raise UnreadableClip(path, "empty-file", "the file has 0 bytes")
        with av.open(str(path.absolute()), metadata_errors="replace") as container:
            yield container, _best_stream(path, container)
    except UnreadableClip:
        raise
    except Exception as error:
        raise _in_words(path, error) from error


def _in_words(path: Path, error: Exception) -> UnreadableClip:
    if isinstance(error, PermissionError):
        return UnreadableClip(path, "not-permitted", "its permissions do not allow reading")
    if not isinstance(error, av.error.InvalidDataError):
        return UnreadableClip(path, "decode-error", f"{type(error).__name__}: {error}")
    with path.open("rb") as file:
        is_mp4 = file.read(8)[4:] == b"ftyp"
    if is_mp4:
        return UnreadableClip(path, "truncated", "it begins as an mp4, but its index is missing or damaged")
    return UnreadableClip(path, "not-a-video", "its content is not a video format")


def _best_stream(path: Path, container: InputContainer) -> VideoStream:
    """The video stream with most pixels; cover art is not a video."""
    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not streams:
        raise UnreadableClip(path, "no-video-stream", "it holds no video stream")
    stream = max(streams, key=lambda s: s.width * s.height)
    stream.thread_type = "NONE"  # so that `skip_frame` holds for the packet it is set for
    stream.codec_context.thread_count = 1
    return stream


def _read_index(path: Path, container: InputContainer, stream: VideoStream) -> _Index:
    """Demux once without decoding. Raises UnreadableClip for a file cut at a packet's end or with doubled frames."""
    packets, pts, keys = 0, [], []
    for packet in container.demux(stream):
        packets += packet.size > 0
        if packet.size and not packet.is_discard:
            pts.append(packet.pts)
        if packet.is_keyframe and packet.pts is not None:
            keys.append(packet.pts)  # an edit list may discard the keyframe that its first frame needs
    if not pts:
        raise UnreadableClip(path, "truncated", "it has no frames")
    if packets < stream.frames:
        raise UnreadableClip(path, "truncated", f"{packets} of {stream.frames} frames are there")
    known = sorted(p for p in pts if p is not None)
    if len(known) < len(pts) or stream.codec_context.name not in INDEXED_CODECS:
        return _Index(known, sorted(keys), is_trusted=False)
    if len(set(known)) < len(known):
        raise UnreadableClip(path, "duplicate-timestamps", "several frames have the same time")
    return _Index(known, sorted(keys), is_trusted=True)


def _decode_groups(
    path: Path, container: InputContainer, stream: VideoStream, index: _Index, wanted: list[int]
) -> dict[int, NDArray[np.uint8]]:
    """The images at the wanted timestamps (sorted), one seek per group of pictures."""
    images: dict[int, NDArray[np.uint8]] = {}

    def keyframe(pts: int) -> int:
        return index.keys[max(bisect_right(index.keys, pts) - 1, 0)] if index.keys else pts

    for key, group in groupby(wanted, key=keyframe):
        container.seek(key, stream=stream)
        images |= _decode_until(path, container, stream, set(group), first=key)
    if missing := set(wanted) - images.keys():  # a seek may land late; from the start nothing is passed over
        with _opened(path) as (again, same):
            images |= _decode_until(path, again, same, missing, first=index.pts[0])
    if missing := set(wanted) - images.keys():
        raise UnreadableClip(path, "corrupt-frame", f"{len(missing)} of {len(wanted)} frames do not decode")
    return images


def _decode_until(
    path: Path, container: InputContainer, stream: VideoStream, wanted: set[int], *, first: int
) -> dict[int, NDArray[np.uint8]]:
    """Decode from here until all `wanted` timestamps were seen. Frames before `first` lean on a group not decoded."""
    images: dict[int, NDArray[np.uint8]] = {}
    for packet in container.demux(stream):
        # Frames that no other leans on are skipped unless wanted: 1.3x with 3 B-frames.
        is_wanted = packet.pts is None or packet.pts in wanted
        stream.codec_context.skip_frame = "DEFAULT" if is_wanted else "NONREF"
        for frame in packet.decode():
            if frame.pts is not None and frame.pts < first:
                continue
            _require_intact(path, frame)
            if frame.pts in wanted:
                images[frame.pts] = _upright(frame)
        if len(images) == len(wanted):
            break
    return images


def _pick_by_counting(path: Path, count: int) -> DecodedClip:
    """For files whose packets do not say which frames there will be: decode twice, once to count."""
    with _opened(path) as (container, stream):
        pts = [_timestamp(frame, i) for i, frame in enumerate(_intact_frames(path, container, stream))]
    if not pts:
        raise UnreadableClip(path, "corrupt-frame", "no frame can be decoded")
    wanted = evenly_spaced(len(pts), count)
    with _opened(path) as (container, stream):
        numbered = enumerate(_intact_frames(path, container, stream))
        images = {i: _upright(frame) for i, frame in numbered if i in set(wanted)}
        return _clip(stream, np.stack([images[i] for i in wanted]), wanted, pts)


def _intact_frames(path: Path, container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    frames: Iterable[VideoFrame] = container.decode(stream)
    for frame in frames:
        _require_intact(path, frame)
        yield frame


def _require_intact(path: Path, frame: VideoFrame) -> None:
    if frame.is_corrupt:
        at = "" if frame.time is None else f" at {frame.time:.2f} s"
        raise UnreadableClip(path, "corrupt-frame", f"a frame{at} is damaged")


def _timestamp(frame: VideoFrame, position: int) -> int:
    return position if frame.pts is None else frame.pts


def _upright(frame: VideoFrame) -> NDArray[np.uint8]:
    """RGB pixels, turned as the file's display matrix says (phones film sideways and say so)."""
    image = cast("NDArray[np.uint8]", frame.to_ndarray(format="rgb24"))
    quarter_turns = round(frame.rotation / 90) % 4
    return np.rot90(image, quarter_turns) if quarter_turns else image


def _clip(stream: VideoStream, frames: NDArray[np.uint8], indices: list[int], pts: list[int]) -> DecodedClip:
    seconds = float(stream.time_base or 0)
    span_s = (pts[-1] - pts[0]) * seconds
    fps = _frame_rate(stream, (len(pts) - 1) / span_s if span_s > 0 else 0.0)
    picked_s = (pts[indices[-1]] - pts[indices[0]]) * seconds
    return DecodedClip(
        frames=frames,
        indices=indices,
        source_fps=fps,
        duration_s=span_s + 1 / fps,
        effective_fps=(len(indices) - 1) / picked_s if picked_s > 0 else fps,
        total_frames=len(pts),
        codec=stream.codec_context.name,
    )


def _frame_rate(stream: VideoStream, measured: float) -> float:
    """The header's rate where it fits the timestamps: after an edit list or a bad remux it does not."""
    declared = float(stream.average_rate or 0)
    if declared > 0 and (measured == 0 or abs(declared / measured - 1) < 0.02):
        return declared
    return measured or 25.0
