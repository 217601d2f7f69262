"""A video's frames, decoded by a child process of the engine and kept as what a terminal shows."""

from __future__ import annotations

import asyncio
import os
import sys
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from rich.style import Style
from textual.strip import Strip

from t2v_core.disk.plain_json import table
from t2v_core.errors import EngineError, InvalidRequest, WorkFailed
from t2v_tui.widgets.video.half_blocks import PIXEL, quantise, shades_of, strips_of

DECODE_TIMEOUT_S = 60.0
FILMS_KEPT = 12
# Cells of one film that stay drawn: 16 frames of 128×128, about 70 MB; a frame beyond is drawn again, in 5 to 10 ms.
CELLS_KEPT = 16 * 128 * 64


@dataclass
class Film:
    """Decoded frames. width, height: in pixels, as shown; source: (width, height) of the file."""

    width: int
    height: int
    fps: float
    source: tuple[int, int]
    frames: list[bytes]
    _drawn: OrderedDict[tuple[int, bool], list[Strip]] = field(default_factory=OrderedDict, repr=False)

    @property
    def lines(self) -> int:
        """Return how many rows of characters it takes."""
        return self.height // 2

    @property
    def seconds(self) -> float:
        """Return how long it plays, in seconds; 0 without a frame rate."""
        return len(self.frames) / self.fps if self.fps else 0.0

    def strips(self, frame: int, *, letters: Style | None = None) -> list[Strip]:
        """Return one frame drawn, made once. letters: their style, when half blocks cannot be shown"""
        key = (frame, letters is not None)
        if (drawn := self._drawn.get(key)) is None:
            pixels = quantise(self.frames[frame])
            drawn = strips_of(pixels, self.width) if letters is None else shades_of(pixels, self.width, letters)
            self._drawn[key] = drawn
            if len(self._drawn) > max(2, CELLS_KEPT // (self.width * self.lines)):
                self._drawn.popitem(last=False)
        self._drawn.move_to_end(key)
        return drawn

    def fitted(self, box: tuple[int, int]) -> Film:
        """Return itself, or every so many pixels of it, so that it fits into `box` (pixels)."""
        scale = min(1.0, box[0] / self.width, box[1] / self.height)
        if scale == 1.0:
            return self
        width, height = max(1, int(self.width * scale)), max(2, int(self.height * scale) // 2 * 2)
        columns = [self.width * x // width * PIXEL for x in range(width)]
        rows = [self.height * y // height * self.width * PIXEL for y in range(height)]
        frames = [b"".join(one[row + x : row + x + PIXEL] for row in rows for x in columns) for one in self.frames]
        return Film(width, height, self.fps, self.source, frames)


@dataclass(frozen=True)
class Shelf:
    """Films that were shown last, so many of them; a file that was written anew is another film."""

    kept: int = FILMS_KEPT
    films: OrderedDict[tuple[str, int, int, tuple[int, int]], Film] = field(default_factory=OrderedDict)

    def has(self, path: Path, box: tuple[int, int]) -> bool:
        """Tell whether `film` has an answer at once, be it that the file is gone."""
        try:
            return self._key(path, box) in self.films
        except OSError:
            return True

    @staticmethod
    def _key(path: Path, box: tuple[int, int]) -> tuple[str, int, int, tuple[int, int]]:
        status = path.stat()
        return str(path), status.st_mtime_ns, status.st_size, box

    async def film(self, path: Path, box: tuple[int, int], *, python: str = sys.executable) -> Film:
        """Return the video in as many pixels as fit into `box`. Raises EngineError with what is wrong with it."""
        try:
            key = self._key(path, box)
        except OSError as error:
            raise InvalidRequest(f"{path.name} is not here", hint="it may be on the host only: pull it") from error
        if key not in self.films:
            self.films[key] = await decode(path, box, python=python)
            if len(self.films) > self.kept:
                self.films.popitem(last=False)
        self.films.move_to_end(key)
        return self.films[key]


async def decode(path: Path, box: tuple[int, int], *, python: str = sys.executable) -> Film:
    """Run `python -m t2v_core.data.video.preview`. Raises EngineError without an engine, or for what cannot be read."""
    try:
        child = await asyncio.create_subprocess_exec(
            python, "-m", "t2v_core.data.video.preview", str(path), str(box[0]), str(box[1]),
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
            env=_environment(os.environ),
        )  # fmt: skip
    except OSError as error:
        raise WorkFailed(f"videos cannot be shown: {python} does not start", "t2v doctor says why") from error
    try:
        async with asyncio.timeout(DECODE_TIMEOUT_S):
            said, _ = await child.communicate()
    except TimeoutError as error:
        raise WorkFailed(f"{path.name} was not decoded within {DECODE_TIMEOUT_S:g} s", "open it in a player") from error
    finally:
        await _end(child)
    return film_of(said, path)


async def _end(child: asyncio.subprocess.Process) -> None:
    """Until it is gone, also when nobody looks any more and this is cancelled again, as at the app's end."""
    while child.returncode is None:
        with suppress(ProcessLookupError):
            child.kill()
        with suppress(asyncio.CancelledError):
            await child.wait()
    # Left to itself it is closed a few turns of the loop later, which at the app's end do not come any more.
    transport: asyncio.BaseTransport = vars(child)["_transport"]
    transport.close()


def film_of(said: bytes, path: Path) -> Film:
    """Return what the child wrote. Raises EngineError with its own word, or that it said none."""
    line, _, pixels = said.partition(b"\n")
    try:
        header: Mapping[str, object] = table(line)
    except ValueError:
        header = {}
    if "error" in header:
        raise EngineError(str(header["error"]), str(header.get("hint", "")))
    try:
        width, height, count = (int(str(header[name])) for name in ("width", "height", "frames"))
        fps, source = float(str(header["fps"])), header["source"]
    except (KeyError, ValueError):
        count = 0
    size = width * height * 3 if count else 0
    if not count or len(pixels) != size * count or not isinstance(source, list):
        raise WorkFailed(f"{path.name} cannot be shown: the decoder ended early", "t2v doctor checks the engine")
    frames = [pixels[at : at + size] for at in range(0, len(pixels), size)]
    return Film(width, height, fps, (int(source[0]), int(source[1])), frames)


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    """One thread is enough for a small picture, and the screen wants the others."""
    return {**environ, "OMP_NUM_THREADS": "1"}
