"""A video as a few small frames, made by this machine's engine: what is looked at need not travel."""

from __future__ import annotations

import binascii
import json
import subprocess
import threading
import zlib
from collections.abc import Iterator
from typing import IO

from ..base.asked import arguments_in, expanded, path_in, take, workspace
from ..base.files import Json, Problem
from ..base.private import require_shut
from ..base.processes import find_program

MOST_FRAMES, WIDEST = 12, 128
TIMEOUT_S = 60.0
HEADER_BYTES = 65536
NOT_MADE = Problem("not-found", "the engine there made no preview", "t2v doctor --host says why")
# One at a time, at a low priority: who only looks takes nothing from the work.
TURN = threading.Lock()


def preview(parameters: Json) -> Json:
    """Return a few frames of a video, evenly spaced, as the engine's preview writes them: a header, then pixels.

    python: the engine's; frames, width, height: at most, in pixels
    The data is compressed with zlib. Of a video that cannot be read the header says why.
    """
    python = arguments_in(take(parameters, "python", list), "python")
    path = path_in(parameters, take(parameters, "path", str))
    box = [min(WIDEST, take(parameters, name, int, WIDEST)) for name in ("width", "height")]
    count = max(1, min(MOST_FRAMES, take(parameters, "frames", int, MOST_FRAMES)))
    if not path.is_file():
        raise Problem("not-found", f"there is no file {path}")
    if not python or min(box) < 2:
        raise Problem("asked-wrongly", "neither a Python nor a size of two pixels and more was named")
    argv = [str(expanded(python[0])), *python[1:]]
    require_shut(workspace(parameters), argv[0])
    with TURN:
        data = run([*low_priority(), *argv, "-m", "t2v_core.data.video.preview", str(path), *map(str, box)], count)
    return {"data": binascii.b2a_base64(zlib.compress(data, 6), newline=False).decode()}


def low_priority() -> list[str]:
    """Return what runs a program at a low priority; nothing where there is no such thing."""
    nice = find_program("nice")
    return [nice, "-n", "10"] if nice else []


def run(argv: list[str], count: int) -> bytes:
    """Run the engine's preview and return its header with `count` of its frames. Raises Problem when it says nothing.

    Ends it when it takes longer than a minute, and reads no more than the frames that are wanted hold.
    """
    try:
        child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    except OSError:
        raise NOT_MADE from None
    timer = threading.Timer(TIMEOUT_S, child.kill)
    timer.daemon = True
    timer.start()
    try:
        assert child.stdout is not None
        return picked(child.stdout, count)
    except (ValueError, KeyError, TypeError):
        raise NOT_MADE from None
    finally:
        timer.cancel()
        child.kill()
        child.wait()


def picked(said: IO[bytes], count: int) -> bytes:
    """Return the header and `count` frames of what a preview wrote; less where the video has fewer.

    Raises ValueError, KeyError or TypeError when it is no preview.
    """
    header = json.loads(said.readline(HEADER_BYTES))
    if "error" in header:
        return json.dumps({"error": str(header["error"]), "hint": str(header.get("hint", ""))}).encode() + b"\n"
    total, size = int(header["frames"]), int(header["width"]) * int(header["height"]) * 3
    if not 0 < size <= WIDEST * WIDEST * 3 or total < 1:
        raise ValueError
    wanted = [total * at // min(count, total) for at in range(min(count, total))]
    frames = list(frames_at(said, size, wanted))
    fps = float(header["fps"]) * len(frames) / total  # it takes as long as the whole
    head = {**{name: header[name] for name in ("width", "height", "source")}, "frames": len(frames), "fps": fps}
    return json.dumps(head).encode() + b"\n" + b"".join(frames)


def frames_at(said: IO[bytes], size: int, wanted: list[int]) -> Iterator[bytes]:
    """Yield those frames of a stream of frames. Raises ValueError when it ends before them."""
    for number in range(wanted[-1] + 1):
        frame = said.read(size)
        if len(frame) != size:
            raise ValueError
        if number in wanted:
            yield frame
