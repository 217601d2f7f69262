"""Video files read back: exact frames by index, or a sentence why the file cannot be trusted.

A damaged file that decodes "somehow" gives grey or smeared frames without any error, so every decoded frame is asked
whether it is corrupt, and nothing is ever filled in from its neighbours (120 damaged files: 5 slipped through; asking
only the wanted frames let 25 through).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby, islice
from pathlib import Path

import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from t2v_core.data.video.container import PacketIndex, UnreadableClip, codec_name, may_skip, opened, read_index
from t2v_core.data.video.frame_rule import pick_frames
from t2v_core.data.video.orientation import SQUARE, Turner, pixel_aspect
from t2v_core.data.video.timing import timing_of

__all__ = [
    "DecodedClip", "Film", "Shrink", "UnreadableClip", "intact_frames", "open_film", "read_all_frames", "read_frames",
]  # fmt: skip


@dataclass(frozen=True)
class DecodedClip:
    """Frames of one file, upright.

    frames: (count, height, width, 3) RGB uint8
    indices: which frame of the file each one is, counted from 0; a file with fewer frames than asked repeats some
    source_fps: frames a second of the file (an average where it varies)
    duration_s: from the first frame's start to the last one's end
    effective_fps: frames a second of the picked ones, from their timestamps
    pixel_aspect: width over height of a pixel as it is shown
    begin_s: when the file's first frame is shown, in the file's own time
    unevenness_s: how far the file's frames are, at most, from where an even rate has them
    """

    frames: NDArray[np.uint8]
    indices: list[int]
    source_fps: float
    duration_s: float
    effective_fps: float
    total_frames: int
    codec: str
    pixel_aspect: Fraction
    begin_s: float
    unevenness_s: float


@dataclass(frozen=True)
class Film:
    """A file that is read frame by frame, each as soon as it is asked for, so that its length does not matter.

    width, height: of a frame, upright; the rest as of a DecodedClip
    """

    path: Path
    width: int
    height: int
    total_frames: int
    source_fps: float
    pixel_aspect: Fraction
    begin_s: float
    unevenness_s: float

    def frames(self) -> Iterator[NDArray[np.uint8]]:
        """Yield every frame in order of showing, (height, width, 3) RGB uint8.

        Raises UnreadableClip at the first one that is damaged or of another size, or when some do not come.
        """
        with opened(self.path) as (container, stream):
            taker, count = _Taker(self.path, stream), 0
            for frame in islice(intact_frames(self.path, container, stream), self.total_frames):
                yield taker.take(frame)
                count += 1
            if count < self.total_frames:
                raise _not_all(self.path, count, self.total_frames)


# What is made of an upright image, (height, width, 3) RGB uint8, and the shape of its pixels; all of one size.
Shrink = Callable[[NDArray[np.uint8], Fraction], NDArray[np.uint8]]


class _Taker:
    """Takes images out of decoded frames, shrunk at once where that is wanted: none is kept at the source's size."""

    def __init__(self, path: Path, stream: VideoStream, shrink: Shrink | None = None) -> None:
        self._path, self.stream, self._shrink = path, stream, shrink
        self._turner = Turner()
        self._size: tuple[int, int] | None = None
        self.pixel_aspect = SQUARE

    def take(self, frame: VideoFrame) -> NDArray[np.uint8]:
        """Return a frame's image, shrunk where that is wanted.

        Raises UnreadableClip for another size than that of the first one.
        """
        picture = self._turner.picture_of(frame)
        size = picture.image.shape[1], picture.image.shape[0]
        if self._size is None:
            self._size, self.pixel_aspect = size, pixel_aspect(self.stream, is_sideways=picture.is_sideways)
        if size != self._size:
            words = f"it changes from {self._size} to {size} pixels on the way"
            raise UnreadableClip(self._path, "size-change", words)
        return picture.image if self._shrink is None else self._shrink(picture.image, self.pixel_aspect)


def read_frames(path: Path, count: int, stride: int | None = None, *, shrink: Shrink | None = None) -> DecodedClip:
    """Decode `count` frames, exactly: evenly spaced, or `stride` apart around the middle.

    Only the groups of pictures that hold one are decoded.
    shrink: done to each frame as soon as it is decoded
    Raises UnreadableClip when the file is missing, damaged, not a video, or too short for the stride.
    """
    with opened(path) as (container, stream):
        index = read_index(path, container, stream)
        if not index.is_trusted:
            return _pick_by_counting(path, count, stride, shrink)
        wanted = _wanted(path, len(index.pts), count, stride)
        taker = _Taker(path, stream, shrink)
        images = _decode_groups(path, container, taker, index, sorted({index.pts[i] for i in wanted}))
        return _clip(path, stream, [images[index.pts[i]] for i in wanted], wanted, index.pts, taker.pixel_aspect)


def open_film(path: Path, limit: int | None = None) -> Film:
    """Return what a file holds, without its frames but the first.

    Only where the packets do not tell is all of it decoded.

    limit: leave off after so many frames
    Raises UnreadableClip as `read_frames`.
    """
    with opened(path) as (container, stream):
        index = read_index(path, container, stream)
    pts: Sequence[int | None] = index.pts
    if not index.is_trusted:
        with opened(path) as (container, stream):
            pts = [frame.pts for frame in islice(intact_frames(path, container, stream), limit)]
    with opened(path) as (container, stream):
        first = next(intact_frames(path, container, stream), None)
        if first is None:
            raise _not_all(path, 0, len(index.pts))
        taker = _Taker(path, stream)
        height, width = taker.take(first).shape[:2]
        timing = timing_of(path, stream, pts)
        total = len(pts) if limit is None else min(len(pts), limit)
        return Film(
            path, width, height, total, timing.fps, taker.pixel_aspect, timing.times_s[0], timing.unevenness_s
        )  # fmt: skip


def read_all_frames(path: Path) -> DecodedClip:
    """Decode every frame in order of showing, all in memory at once. Raises UnreadableClip as `read_frames`."""
    with opened(path) as (container, stream):
        index = read_index(path, container, stream)
    with opened(path) as (container, stream):
        pts: list[int | None] = []
        images: list[NDArray[np.uint8]] = []
        taker = _Taker(path, stream)
        for frame in intact_frames(path, container, stream):
            pts.append(frame.pts)
            images.append(taker.take(frame))
        if not images or (index.is_trusted and len(images) != len(index.pts)):
            raise _not_all(path, len(images), len(index.pts))
        all_pts = index.pts if index.is_trusted else pts
        return _clip(path, stream, images, list(range(len(images))), all_pts, taker.pixel_aspect)


def _not_all(path: Path, count: int, expected: int) -> UnreadableClip:
    return UnreadableClip(path, "corrupt-frame", f"{count} of {expected} frames can be decoded")


def intact_frames(path: Path, container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    """Yield every frame from here on in order of showing.

    Raises UnreadableClip at the first one that is damaged.
    """
    frames: Iterable[VideoFrame] = container.decode(stream)
    for frame in frames:
        _require_intact(path, frame)
        yield frame


def _wanted(path: Path, total: int, count: int, stride: int | None) -> list[int]:
    try:
        return pick_frames(total, count, stride)
    except ValueError as error:
        raise UnreadableClip(path, "too-short", str(error)) from error


def _decode_groups(
    path: Path, container: InputContainer, taker: _Taker, index: PacketIndex, wanted: list[int]
) -> dict[int, NDArray[np.uint8]]:
    """The images at the wanted timestamps (sorted), one seek per group of pictures."""
    images: dict[int, NDArray[np.uint8]] = {}
    stream = taker.stream

    def keyframe(pts: int) -> int:
        return index.keys[max(bisect_right(index.keys, pts) - 1, 0)]

    for key, group in groupby(wanted, key=keyframe):
        container.seek(key, stream=stream)
        images |= _decode_until(path, container, stream, taker, set(group), first=key, can_skip=may_skip(stream))
    if missing := set(wanted) - images.keys():  # a seek may land late: all of it, and nothing skipped
        with opened(path) as (again, same):
            images |= _decode_until(path, again, same, taker, missing, first=index.pts[0], can_skip=False)
    if missing := set(wanted) - images.keys():
        raise UnreadableClip(path, "corrupt-frame", f"{len(missing)} of {len(wanted)} frames do not decode")
    return images


def _decode_until(
    path: Path,
    container: InputContainer,
    stream: VideoStream,
    taker: _Taker,
    wanted: set[int],
    *,
    first: int,
    can_skip: bool,
) -> dict[int, NDArray[np.uint8]]:
    """Decode from here until all `wanted` timestamps were seen. Frames before `first` lean on a group not decoded."""
    images: dict[int, NDArray[np.uint8]] = {}
    for packet in container.demux(stream):
        # Frames that no other leans on are skipped unless wanted: 1.3x with 3 B-frames.
        is_wanted = packet.pts is None or packet.pts in wanted
        if can_skip:
            stream.codec_context.skip_frame = "DEFAULT" if is_wanted else "NONREF"
        for frame in packet.decode():
            if frame.pts is not None and frame.pts < first:
                continue
            _require_intact(path, frame)
            if frame.pts in wanted:
                images[frame.pts] = taker.take(frame)
        if len(images) == len(wanted):
            break
    return images


def _pick_by_counting(path: Path, count: int, stride: int | None, shrink: Shrink | None) -> DecodedClip:
    """For files whose packets do not say which frames there will be: decode twice, once to count."""
    with opened(path) as (container, stream):
        pts = [frame.pts for frame in intact_frames(path, container, stream)]
    if not pts:
        raise UnreadableClip(path, "corrupt-frame", "no frame can be decoded")
    wanted = _wanted(path, len(pts), count, stride)
    with opened(path) as (container, stream):
        numbered = enumerate(intact_frames(path, container, stream))
        taker, chosen = _Taker(path, stream, shrink), set(wanted)
        images = {i: taker.take(frame) for i, frame in numbered if i in chosen}
        return _clip(path, stream, [images[i] for i in wanted], wanted, pts, taker.pixel_aspect)


def _require_intact(path: Path, frame: VideoFrame) -> None:
    if frame.is_corrupt:
        at = "" if frame.time is None else f" at {frame.time:.2f} s"
        raise UnreadableClip(path, "corrupt-frame", f"a frame{at} is damaged")


def _clip(
    path: Path,
    stream: VideoStream,
    images: list[NDArray[np.uint8]],
    indices: list[int],
    pts: Sequence[int | None],
    pixel_aspect: Fraction,
) -> DecodedClip:
    timing = timing_of(path, stream, pts)
    picked_s = timing.times_s[indices[-1]] - timing.times_s[indices[0]]
    return DecodedClip(
        frames=np.stack(images),
        indices=indices,
        source_fps=timing.fps,
        duration_s=timing.duration_s,
        effective_fps=(len(indices) - 1) / picked_s if picked_s > 0 else timing.fps,
        total_frames=len(pts),
        codec=codec_name(stream),
        pixel_aspect=pixel_aspect,
        begin_s=timing.times_s[0],
        unevenness_s=timing.unevenness_s,
    )
