"""Drafts of prompts as they are typed, drawn by a child process of the engine that keeps the shipped fast model."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress

from t2v_core.disk.plain_json import table

# A line of an answer, and the pixels of 64 frames of 256×256 behind it.
MOST_BYTES = 16 * 2**20


class Drafter:
    """Asks for one draft at a time; what was asked for before is given up.

    received: called with the child's line and pixels, as `film_of` takes them, for the draft that was asked for last
    python:   of the engine
    All of it belongs to one event loop.
    """

    def __init__(self, received: Callable[[bytes], None], *, python: str = sys.executable) -> None:
        self.received, self.python = received, python
        self._child: asyncio.subprocess.Process | None = None
        self._starting = asyncio.Lock()
        self._number = 0
        self._is_wanted = self._is_closed = False

    async def ask(self, prompt: str, seed: int) -> bool:
        """Ask for a draft; starts the child, which takes a few seconds, when there is none.

        Returns True for a new child, whom nobody listens to yet. Raises OSError when it cannot be started.
        """
        self._number += 1
        self._is_wanted = True
        number = self._number
        async with self._starting:
            if self._is_given_up(number):
                return False
            is_new = self.pid is None
            if is_new:
                self._child = await self._start()
            # What came while it was started is asked for by itself, or was given up.
            if not self._is_given_up(number):
                self._write({"number": number, "prompt": prompt, "seed": seed})
            elif self._is_closed:
                await self.close()
            return is_new

    def _is_given_up(self, number: int) -> bool:
        return self._is_closed or number != self._number

    def cancel(self) -> None:
        """Give up the draft that was asked for last, if it is still awaited."""
        if self._is_wanted:
            self._is_wanted = False
            self._number += 1
            self._write({"number": self._number, "prompt": ""})

    async def listen(self) -> None:
        """Hand on what the child draws, until it ends."""
        child = self._child
        if child is None or child.stdout is None:
            return
        with suppress(asyncio.IncompleteReadError, ValueError):
            while line := await child.stdout.readline():
                said = table(line)
                size = _size_bytes(said)
                pixels = await child.stdout.readexactly(size) if size else b""
                if "error" in said or (self._is_wanted and said.get("number") == self._number):
                    self._is_wanted = False
                    self.received(line + pixels)

    @property
    def pid(self) -> int | None:
        """Return the child's process id; None while there is none."""
        return self._child.pid if self._child is not None and self._child.returncode is None else None

    async def close(self) -> None:
        """End the child, for good."""
        self._is_closed = True
        child, self._child = self._child, None
        if child is None:
            return
        while child.returncode is None:
            with suppress(ProcessLookupError):
                child.kill()
            await child.wait()
        # Left to itself it is closed a few turns of the loop later, which at the app's end do not come any more.
        transport: asyncio.BaseTransport = vars(child)["_transport"]
        transport.close()

    async def _start(self) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            self.python, "-m", "t2v_core.verbs.drafts",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1"}, limit=MOST_BYTES,
        )  # fmt: skip

    def _write(self, asked: Mapping[str, object]) -> None:
        child = self._child
        if child is not None and child.returncode is None and child.stdin is not None:
            with suppress(OSError):
                child.stdin.write(json.dumps(asked).encode() + b"\n")


def _size_bytes(said: Mapping[str, object]) -> int:
    """Of the pixels behind a line. Raises ValueError for what is no answer, or too large for one."""
    if "error" in said:
        return 0
    width, height, frames = (int(str(said.get(name, 0))) for name in ("width", "height", "frames"))
    size = width * height * frames * 3
    if not 0 < size <= MOST_BYTES:
        raise ValueError(said)
    return size
