"""Clips whose frames say their own number, in every container and codec the ffmpeg command can write."""

from __future__ import annotations

import subprocess
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from support.house.needs import needs

WIDTH, HEIGHT, FRAMES, FPS = 160, 96, 60, 25
DIGITS = 8
YUV420 = ("-pix_fmt", "yuv420p")
X264 = ("-c:v", "libx264", *YUV420)
PLAIN = (*X264, "-g", "12", "-bf", "3")


def ffmpeg(*arguments: str | Path, stdin: bytes = b"") -> bytes:
    """What the ffmpeg command writes to stdout."""
    command = [needs("ffmpeg"), "-loglevel", "error", "-y", *map(str, arguments)]
    return subprocess.run(command, input=stdin, capture_output=True, check=True, timeout=240).stdout


def turn(source: Path, target: Path, degrees: int) -> None:
    """The same film, to be shown turned clockwise. Releases before 6 and since 7 are told in different ways."""
    if b"-display_rotation" in ffmpeg("-h", "full"):
        ffmpeg("-display_rotation:v", str(-degrees), "-i", source, "-c", "copy", target)
    else:
        ffmpeg("-i", source, "-metadata:s:v", f"rotate={degrees}", "-c", "copy", target)


def numbered_frames(count: int = FRAMES) -> NDArray[np.uint8]:
    """Coloured blocks that move; the upper 16 lines tell each frame's number in eight black or white squares."""
    blocks = np.random.default_rng(0).integers(60, 200, (HEIGHT // 8, WIDTH // 8, 3), np.uint8)
    picture = blocks.repeat(8, 0).repeat(8, 1)
    frames = np.stack([np.roll(picture, number, axis=1) for number in range(count)])
    bits = (np.arange(count)[:, None] >> np.arange(DIGITS)) & 1
    frames[:, :16, : DIGITS * 16] = (20 + 215 * bits).repeat(16, 1)[:, None, :, None]
    return frames


def numbers(frames: NDArray[np.uint8]) -> list[int]:
    """What upright frames say their numbers are."""
    squares = frames[:, 4:12, : DIGITS * 16].reshape(len(frames), 8, DIGITS, 16, 3)[:, :, :, 4:12]
    return [int(number) for number in (squares.mean((1, 3, 4)) > 128) @ (1 << np.arange(DIGITS))]


def encode(path: Path, *options: str, frames: NDArray[np.uint8] | None = None) -> Path:
    """Write numbered frames with the ffmpeg command's options."""
    source = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{WIDTH}x{HEIGHT}", "-r", str(FPS), "-i", "-")
    ffmpeg(*source, *options, path, stdin=(numbered_frames() if frames is None else frames).tobytes())
    return path


def full_decode(path: Path) -> NDArray[np.uint8]:
    """Every frame that the file shows, in order, decoded plainly and left as it lies in the file."""
    with av.open(str(path)) as container:
        stream = next(s for s in container.streams.video if s.codec_context.name not in ("png", "mjpeg"))
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(stream)])


def full_decode_by_command(path: Path, width: int, height: int) -> NDArray[np.uint8]:
    """The same by the ffmpeg command, which turns frames upright."""
    pixels = ffmpeg("-i", path, "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24", "-")
    return np.frombuffer(pixels, np.uint8).reshape(-1, height, width, 3)
