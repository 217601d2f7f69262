"""The engine's sampling preview, small frames of RGB, as a PNG that a browser shows: they stand side by side."""

from __future__ import annotations

from t2v_core.disk.plain_json import table
from t2v_tui.widgets.video.png import png_of


def png_of_preview(data: bytes) -> bytes | None:
    """Return the frames as a PNG; None when the data is not whole.

    data: a line of JSON and frames, as `jobs/<id>/preview`
    """
    line, _, pixels = data.partition(b"\n")
    try:
        header = table(line)
        width, height, frames = (int(header[name]) for name in ("width", "height", "frames"))
    except (ValueError, KeyError, TypeError):
        return None
    stride = width * 3
    if min(width, height, frames) < 1 or len(pixels) != frames * height * stride:
        return None
    rows = (pixels[(n * height + y) * stride :][:stride] for y in range(height) for n in range(frames))
    return png_of(b"".join(rows), width * frames, height)
