"""Video files written so that they play everywhere; `decode` reads them back."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import imageio.v3 as iio
import numpy as np
from numpy.typing import NDArray

from t2v_core.errors import AskedWrongly
from t2v_core.files import require_writable, staged_file

VIDEO_SUFFIXES = (".mp4", ".gif", ".webp")
SMALL_FRAME_BYTES = 512 * 512 * 3
# x264's AVX-512 code gives other bytes from run to run (4 kinds in 10), what this chooses always the same ones.
REPRODUCIBLE = "cpu-independent=1"


def require_video_target(path: Path) -> Path:
    """`path`, when a video can be written there; known before the work that makes the video.

    Raises AskedWrongly for another suffix than VIDEO_SUFFIXES or a folder that cannot be written.
    """
    if path.suffix.lower() not in VIDEO_SUFFIXES:
        raise AskedWrongly(
            f"cannot tell what kind of video {path.name} should be", hint=f"end it with {', '.join(VIDEO_SUFFIXES)}"
        )
    if path.is_dir():
        raise AskedWrongly(f"{path} is a folder", hint="name a file, such as video.mp4")
    require_writable(path.parent)
    return path


def write_video(path: Path, frames: Iterable[NDArray[np.uint8]], *, fps: float, crf: int = 18) -> None:
    """Write frames as H.264 mp4 (yuv420p, faststart), or as an animated gif or webp by suffix; whole or not at all.

    frames: (frames, height, width, 3) RGB uint8, or frames one by one; odd sides are padded by one edge pixel, as
            yuv420p needs even ones
    crf: libx264 quality, 0 (lossless) … 51; 18 is visually transparent
    Raises AskedWrongly for another suffix or a place that cannot be written.
    """
    require_video_target(path)
    with staged_file(path) as partial:
        if path.suffix.lower() == ".mp4":
            _write_mp4(partial, frames, fps=fps, crf=crf)
        else:
            options: dict[str, Any] = {"quality": 90} if path.suffix.lower() == ".webp" else {}
            iio.imwrite(partial, np.stack(list(frames)), plugin="pillow", duration=1000 / fps, loop=0, **options)


def _write_mp4(path: Path, frames: Iterable[NDArray[np.uint8]], *, fps: float, crf: int) -> None:
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
        stream.pix_fmt, stream.options = "yuv420p", {"crf": str(crf), "preset": "medium", "x264-params": REPRODUCIBLE}
        for index, frame in enumerate(frames):
            image = np.pad(frame, ((0, frame.shape[0] % 2), (0, frame.shape[1] % 2), (0, 0)), mode="edge")
            if index == 0:
                stream.height, stream.width = image.shape[:2]
                # Threads cost more than they give on small frames; 0 is one a core.
                stream.thread_count = 1 if image.size < SMALL_FRAME_BYTES else 0
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
