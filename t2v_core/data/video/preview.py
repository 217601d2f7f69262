"""Write a video's frames, small, to stdout: `python -m t2v_core.data.video.preview VIDEO WIDTH [HEIGHT]`.

First a line of JSON, {"width", "height", "frames", "fps", "source": [width, height]}, then that many frames of RGB,
8 bits each. What cannot be read is a line {"error", "hint"} and exit code 2. A process of its own, as whoever shows a
video has no decoder; it stands beside the door because nothing is made and no job is needed to look at something.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from t2v_core.errors import NotEnoughMemory

WIDEST, MOST_FRAMES = 512, 600
# All frames together; a longer video is shown as far as this goes.
MOST_BYTES = 48 * 2**20


def small_size(width: int, height: int, box: tuple[int, int]) -> tuple[int, int]:
    """Return the largest (columns, rows) in proportion that fits into `box`, never above the video's own size.

    Rows are even.

    Two rows share a line of characters, half a character is about as high as wide: pixels stay square.
    """
    scale = min(1.0, box[0] / width, box[1] / height, WIDEST / max(width, height))
    columns, rows = max(1, round(width * scale)), max(2, round(height * scale))
    return columns, rows - rows % 2 if rows == box[1] else rows + rows % 2


def write_preview(path: Path, box: tuple[int, int]) -> int:
    """Write header and frames to stdout; return 0, or 2 when the video cannot be read."""
    try:
        from PIL import Image  # what is not installed is said in a sentence

        from t2v_core.data.video.decode import UnreadableClip, open_film
        from t2v_core.data.video.orientation import shown_size
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        return _refuse(f"videos cannot be shown: Python has no module {module}", "pip install 't2v[engine]'")
    try:
        film = open_film(path, MOST_FRAMES)
        width, height = shown_size(film.width, film.height, film.pixel_aspect)
        size = small_size(width, height, box)
        most = max(1, MOST_BYTES // (size[0] * size[1] * 3))
        images = map(Image.fromarray, film.frames())
        small = [image.resize(size, Image.Resampling.BOX, reducing_gap=2.0).tobytes() for image in images][:most]
    except UnreadableClip as error:
        return _refuse(f"{path.name} cannot be read: {error.detail}", "it may still be on its way; try again")
    except NotEnoughMemory as error:
        return _refuse(error.message, error.hint)
    _say(width=size[0], height=size[1], frames=len(small), fps=film.source_fps, source=[width, height])
    for pixels in small:
        sys.stdout.buffer.write(pixels)
        sys.stdout.buffer.flush()
    return 0


def _refuse(message: str, hint: str) -> int:
    _say(error=message, hint=hint)
    return 2


def _say(**fields: Any) -> None:
    sys.stdout.buffer.write(json.dumps(fields).encode() + b"\n")
    sys.stdout.buffer.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the preview of the video named; a box without a height is twice as high as wide, in pixels.

    Returns 0, also when the reader of stdout has gone, or 2 for a bad call or a video that cannot be read.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if len(arguments) not in (2, 3) or not all(text.isdecimal() and int(text) for text in arguments[1:]):
        print("usage: python -m t2v_core.data.video.preview VIDEO WIDTH [HEIGHT]", file=sys.stderr)
        return 2
    width = int(arguments[1])
    height = int(arguments[2]) if len(arguments) == 3 else 2 * width
    try:
        return write_preview(Path(arguments[0]), (width, max(2, height)))
    except BrokenPipeError:  # nobody looks any more
        sys.stderr.close()
        return 0


if __name__ == "__main__":
    sys.exit(main())
