"""Video files written so that they play everywhere; `decode` reads them back."""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from t2v_core.data.video.beside import VIDEO_SUFFIXES
from t2v_core.data.video.orientation import SQUARE, squared
from t2v_core.data.video.showing import ANIMATIONS, require_rate, showing
from t2v_core.data.video.sound import Sound, SoundWriter
from t2v_core.data.video.timing import exact_rate
from t2v_core.disk.files import Land, require_writable, staged_file
from t2v_core.errors import InvalidRequest, NotEnoughMemory
from t2v_core.format import size
from t2v_core.memory import free_memory_bytes

SMALL_FRAME_BYTES = 512 * 512 * 3
# x264's AVX-512 code gives other bytes from run to run (4 kinds in 10), what this chooses always the same ones.
REPRODUCIBLE = "cpu-independent=1"
# x264 looks 40 frames ahead and as many threads further: at 1080p it held 405 MB, with 10 frames 184, and the file was
# 3 % larger. As long as 40 are less than this nothing changes; of less than 5 the quality would suffer.
LOOK_AHEAD_BYTES, USUAL_LOOK_AHEAD, LEAST_LOOK_AHEAD = 32 << 20, 40, 5


def require_video_target(path: Path) -> Path:
    """Return `path`, when a video can be written there; known before the work that makes the video.

    Raises InvalidRequest for another suffix than VIDEO_SUFFIXES or a folder that cannot be written.
    """
    if path.suffix.lower() not in VIDEO_SUFFIXES:
        raise InvalidRequest(
            f"cannot tell what kind of video {path.name} should be", hint=f"end it with {', '.join(VIDEO_SUFFIXES)}"
        )
    if path.is_dir():
        raise InvalidRequest(f"{path} is a folder", hint="name a file, such as video.mp4")
    require_writable(path.parent)
    return path


def require_memory(path: Path, frames: int, width: int, height: int) -> None:
    """Raise NotEnoughMemory, before the work, for a gif or webp that this machine cannot hold: they are made whole.

    An mp4 is written frame by frame, whatever its length.
    """
    kind, needed, free = path.suffix.lower(), 2 * frames * width * height * 3, free_memory_bytes()
    if kind in ANIMATIONS and free and needed > free:
        raise NotEnoughMemory(
            f"a {kind[1:]} of {frames:,} frames of {width}×{height} takes {size(needed)} of memory to make, "
            f"and {size(free)} is free",
            hint=f"write an mp4, which takes no more for a longer video: {path.with_suffix('.mp4').name}",
        )


@dataclass(frozen=True)
class Written:
    """What lies in a video file: a gif of many frames a second does not hold them all."""

    frames: int
    fps: float


def write_video(
    path: Path,
    frames: Iterable[NDArray[np.uint8]],
    *,
    fps: float,
    crf: int = 18,
    pixel_aspect: Fraction = SQUARE,
    sound: Sound | None = None,
    land: Land = os.replace,
) -> Written:
    """Write frames as H.264 mp4 (yuv420p, faststart), or as an animated gif or webp by suffix; whole or not at all.

    frames: (frames, height, width, 3) RGB uint8, or frames one by one; odd sides are padded by one edge pixel, as
            yuv420p needs even ones
    crf: libx264 quality, 0 (lossless) … 51; 18 is visually transparent
    pixel_aspect: width over height of a pixel as it is shown; gif and webp have square ones only, so frames are scaled
    sound: what an mp4 gets beside the pictures; gif and webp have none
    land: as of `staged_file`
    Raises InvalidRequest for another suffix, a rate that the format cannot have, or a place that cannot be written.
    """
    require_video_target(path)
    require_rate(path, fps)
    with staged_file(path, land=land) as partial:
        if path.suffix.lower() == ".mp4":
            return _write_mp4(partial, frames, fps, crf=crf, pixel_aspect=pixel_aspect, sound=sound)
        return _write_animation(partial, frames, fps, pixel_aspect=pixel_aspect)


def _look_ahead(rgb_bytes: int) -> str:
    """What x264 is told beside the rest for frames of so many bytes as RGB, which are half as many as yuv420p."""
    frames = LOOK_AHEAD_BYTES // (rgb_bytes // 2)
    if frames >= USUAL_LOOK_AHEAD:
        return ""
    return f":rc-lookahead={max(LEAST_LOOK_AHEAD, frames)}:sync-lookahead=0"


def _write_mp4(
    path: Path,
    frames: Iterable[NDArray[np.uint8]],
    fps: float,
    *,
    crf: int,
    pixel_aspect: Fraction,
    sound: Sound | None,
) -> Written:
    rate, count = exact_rate(fps), 0
    options = {"movflags": "+faststart"}
    if rate < 1:  # ticks of a second's 16384th, the muxer's own choice, are too many for a picture a day
        options["video_track_timescale"] = str(rate.numerator * 1000)
    with ExitStack() as opened:
        container = opened.enter_context(av.open(str(path), "w", format="mp4", options=options))
        stream = container.add_stream("libx264", rate=rate)
        stream.pix_fmt = "yuv420p"
        if pixel_aspect != SQUARE:
            stream.codec_context.sample_aspect_ratio = pixel_aspect
        speaker = opened.enter_context(SoundWriter(sound, container)) if sound is not None else None
        for frame in frames:
            image = np.pad(frame, ((0, frame.shape[0] % 2), (0, frame.shape[1] % 2), (0, 0)), mode="edge")
            if count == 0:
                stream.height, stream.width = image.shape[:2]
                x264 = f"{REPRODUCIBLE}{_look_ahead(image.size)}"
                stream.options = {"crf": str(crf), "preset": "medium", "x264-params": x264}
                # Threads cost more than they give on small frames; 0 is one a core.
                stream.thread_count = 1 if image.size < SMALL_FRAME_BYTES else 0
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            count += 1
            if speaker is not None:
                speaker.write_until(float(count / rate))
        container.mux(stream.encode())
        if speaker is not None:
            speaker.write_until(math.inf)
    return Written(count, fps)


def _write_animation(path: Path, frames: Iterable[NDArray[np.uint8]], fps: float, *, pixel_aspect: Fraction) -> Written:
    kind = path.suffix.lower()
    images = list(frames)
    shown = showing(len(images), fps, ANIMATIONS[kind])
    if pixel_aspect != SQUARE:
        images = [squared(image, pixel_aspect) for image in images]
    options: dict[str, Any] = {"quality": 90} if kind == ".webp" else {}
    durations_ms = [round(ticks * ANIMATIONS[kind].tick_s * 1000) for ticks in shown.ticks]
    first, *rest = (Image.fromarray(images[index]) for index in shown.indices)
    try:
        first.save(path, save_all=True, append_images=rest, duration=durations_ms, loop=0, **options)
    except (struct.error, OverflowError) as error:  # Pillow joins equal pictures that follow each other
        longest_s = ANIMATIONS[kind].most * ANIMATIONS[kind].tick_s
        raise InvalidRequest(
            f"a {kind[1:]} cannot show a picture that stays the same for more than {longest_s:,.0f} seconds",
            hint="write an mp4",
        ) from error
    return Written(len(shown.indices), shown.fps)
