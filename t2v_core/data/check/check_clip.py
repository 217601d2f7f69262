"""Decode one clip whole and say what it is: the child process of `t2v data check`, which may hang or die.

`python -m t2v_core.data.check.check_clip` reads requests from stdin, one JSON object per line, and answers each in one:
{"task": "check", "path": "video7.mp4"}    → {"facts": {…}}, or {"reason": "truncated", "detail": "…"}
{"task": "picture", "path": "video7.mp4"}  → {"width": 160, "height": 120, "rgb": "…base64…"}, or the same as above
Where there was not enough memory to tell, either is answered with {"no_memory": true}.
It loads no torch, so that it starts in a fraction of a second, and ends when its stdin does.
"""

from __future__ import annotations

import base64
import json
import os
import queue
import sys
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation
from numpy.typing import NDArray

from t2v_core.data.video.container import UnreadableClip, codec_name, opened, read_index
from t2v_core.data.video.decode import intact_frames, read_frames
from t2v_core.data.video.orientation import apply_display_matrix, display_matrix, picture_of, pixel_aspect, shown_size
from t2v_core.data.video.timing import timing_of
from t2v_core.disk.files import sha256
from t2v_core.errors import NotEnoughMemory

# Two clips are told apart by three of their frames, in 8 × 8 colours each.
PICTURE_FRAMES, PICTURE_SIDE = 3, 8
# The answer that says nothing about the clip.
NO_MEMORY = "no_memory"
TILE_WIDTH, TILE_HEIGHT = 160, 120


@dataclass(frozen=True)
class ClipFacts:
    """What a whole decode tells of a clip.

    width, height: upright, in pixels
    pixel_aspect: width over height of a pixel as it is shown; 1.0 for nearly all films
    is_turned: the file asks for its frames to be turned or mirrored
    span_s: from the first frame's start to the last one's
    picture: (PICTURE_FRAMES, PICTURE_SIDE, PICTURE_SIDE, 3) RGB uint8 as base64: its frames, tiny
    """

    sha256: str
    codec: str
    pixel_format: str
    width: int
    height: int
    pixel_aspect: float
    is_turned: bool
    has_audio: bool
    frames: int
    fps: float
    span_s: float
    duration_s: float
    picture: str


def check_clip(path: Path) -> ClipFacts:
    """Decode every frame. Raises UnreadableClip for whatever `read_frames` would, wherever in the film it lies."""
    total = _count_frames(path)
    wanted = {(2 * i + 1) * total // (2 * PICTURE_FRAMES) for i in range(PICTURE_FRAMES)}
    pictures: list[NDArray[np.uint8]] = []
    pts: list[int | None] = []
    with opened(path) as (container, stream):
        for number, frame in enumerate(intact_frames(path, container, stream)):
            if number == 0:
                first = frame
            _require_size(path, first, frame)
            pts.append(frame.pts)
            if number in wanted:
                pictures.append(_tiny(apply_display_matrix(frame)))
        if len(pts) != total:
            raise UnreadableClip(path, "corrupt-frame", f"{len(pts)} of {total} frames can be decoded")
        timing = timing_of(path, stream, pts)
        height, width = apply_display_matrix(first).shape[:2]
        picture = np.stack([pictures[i * len(pictures) // PICTURE_FRAMES] for i in range(PICTURE_FRAMES)])
        return ClipFacts(
            sha256=sha256(path),
            codec=codec_name(stream),
            pixel_format=first.format.name,
            width=width,
            height=height,
            pixel_aspect=float(pixel_aspect(stream, is_sideways=picture_of(first).is_sideways)),
            is_turned=display_matrix(first) is not None,
            has_audio=bool(container.streams.audio),
            frames=total,
            fps=timing.fps,
            span_s=timing.span_s,
            duration_s=timing.duration_s,
            picture=base64.b64encode(picture.tobytes()).decode(),
        )


def _count_frames(path: Path) -> int:
    """As the packets tell it, or by decoding where they do not."""
    with opened(path) as (container, stream):
        index = read_index(path, container, stream)
    if index.is_trusted:
        return len(index.pts)
    with opened(path) as (container, stream):
        count = sum(1 for _ in intact_frames(path, container, stream))
    if not count:
        raise UnreadableClip(path, "corrupt-frame", "no frame can be decoded")
    return count


def _require_size(path: Path, first: VideoFrame, frame: VideoFrame) -> None:
    if (frame.width, frame.height) != (first.width, first.height):
        sizes = f"from {first.width} × {first.height} to {frame.width} × {frame.height}"
        raise UnreadableClip(path, "size-change", f"it changes {sizes} pixels on the way")


def _tiny(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Means of 8 × 8 fields; of fewer where the film is smaller than that."""
    height, width = image.shape[:2]
    rows, columns = (np.linspace(0, side, PICTURE_SIDE + 1).astype(int) for side in (height, width))
    fields = [
        [image[top : max(bottom, top + 1), left : max(right, left + 1)].mean((0, 1)) for left, right in _pairs(columns)]
        for top, bottom in _pairs(rows)
    ]
    return np.round(fields).astype(np.uint8)


def _pairs(edges: NDArray[np.int64]) -> list[tuple[int, int]]:
    return list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))


def middle_picture(path: Path) -> dict[str, Any]:
    """Return the middle frame, upright, made to fit into a tile of the contact sheet.

    width, height: in pixels; rgb: base64 of its bytes. Raises UnreadableClip as `read_frames`.
    """
    clip = read_frames(path, 1, stride=1)
    image = clip.frames[0]
    width, height = shown_size(image.shape[1], image.shape[0], clip.pixel_aspect)
    scale = min(TILE_WIDTH / width, TILE_HEIGHT / height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24").reformat(
        *size, interpolation=Interpolation.AREA
    )
    rgb = small.to_ndarray(format="rgb24").tobytes()
    return {"width": size[0], "height": size[1], "rgb": base64.b64encode(rgb).decode()}


def answer(request: dict[str, str]) -> dict[str, Any]:
    """Do what a request asks; a clip that cannot be read, or a lack of memory, is said in the answer and not raised.

    request: `path`, and `task`: "picture" for `middle_picture`, anything else for `check_clip`
    """
    path = Path(request["path"])
    try:
        return middle_picture(path) if request["task"] == "picture" else {"facts": asdict(check_clip(path))}
    except UnreadableClip as error:
        return {"reason": error.reason, "detail": error.detail}
    except (NotEnoughMemory, MemoryError):
        return {NO_MEMORY: True}
    except OSError as error:
        return {"reason": "decode-error", "detail": error.strerror or str(error)}


def answer_requests() -> None:
    """Answer until stdin ends; then go at once, in the middle of a clip too: nobody waits for it any more."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # a library that prints would break the protocol
    av.logging.set_level(av.logging.PANIC)
    requests: queue.SimpleQueue[str] = queue.SimpleQueue()

    def listen() -> None:
        for line in sys.stdin:
            requests.put(line)
        os._exit(0)

    threading.Thread(target=listen, daemon=True).start()
    print(json.dumps({"ready": os.getpid()}), file=replies, flush=True)
    while True:
        print(json.dumps(answer(json.loads(requests.get()))), file=replies, flush=True)


if __name__ == "__main__":
    answer_requests()
