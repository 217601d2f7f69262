"""Runs a command line of t2v.toml: for so long at most, its words bounded, nothing of it left when it is late."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from remote.errors import ProviderFailed, StartLeft
from remote.text import stderr_reason

MOST_BYTES = 64 * 1024
LOOK_S = 0.02
LONGEST_COMPLAINT = 300
GRACE_S = 1.0  # from SIGTERM to SIGKILL
HOST_VARIABLE = "T2V_HOST"


@dataclass(frozen=True)
class Command:
    """One command line.

    setting: its name in t2v.toml, for sentences about it
    host:    the section's name, in T2V_HOST as well
    folder:  where it runs: the workspace
    """

    setting: str
    line: str
    host: str
    folder: Path
    timeout_s: float

    def output(self, cancelled: threading.Event | None = None) -> bytes:
        """Run it by `sh -c`, and return what it printed.

        cancelled: set by whoever does not wait any more; StartLeft is raised then
        Raises ProviderFailed for one that fails, takes too long, or prints more than 64 KiB; with the last two and
        with StartLeft its whole process group is ended. What it left running by itself goes on.
        """
        # Files, not pipes: a program that it leaves behind may hold them open, and must not die of writing to them.
        with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as complained:
            child = self._begun(said, complained)
            try:
                self._wait(child, said, cancelled)
            except BaseException:
                end_group(child)
                raise
            if child.returncode:
                raise self._failed(child.returncode, read(complained, -MOST_BYTES))
            return read(said)

    def _begun(self, said: IO[bytes], complained: IO[bytes]) -> subprocess.Popen[bytes]:
        environment: Mapping[str, str] = {**os.environ, HOST_VARIABLE: self.host}
        try:
            return subprocess.Popen(
                ["/bin/sh", "-c", self.line], cwd=self.folder, env=environment, stdin=subprocess.DEVNULL, stdout=said,
                stderr=complained, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise ProviderFailed(f"{self} cannot be run: {error.strerror}", self._hint) from error

    def _wait(self, child: subprocess.Popen[bytes], said: IO[bytes], cancelled: threading.Event | None) -> None:
        deadline = time.monotonic() + self.timeout_s
        while child.poll() is None or os.fstat(said.fileno()).st_size > MOST_BYTES:
            if os.fstat(said.fileno()).st_size > MOST_BYTES:
                sentence = f"{self} prints more than {MOST_BYTES // 1024} kB, and was ended"
                raise ProviderFailed(sentence, "it should print one word or one JSON object")
            if time.monotonic() > deadline:
                raise ProviderFailed(f"{self} did not end within {self.timeout_s:g} s, and was ended", self._hint)
            if cancelled is not None and cancelled.is_set():
                raise StartLeft(f"the wait for {self.host} was cancelled; its {self.setting} was ended")
            with suppress(subprocess.TimeoutExpired):
                child.wait(LOOK_S)

    def _failed(self, code: int, complaint: bytes) -> ProviderFailed:
        last = stderr_reason(complaint.decode(errors="replace"))[:LONGEST_COMPLAINT] or "it said nothing"
        if code < 0:
            return ProviderFailed(f"{self} was ended by signal {-code}: {last}", self._hint)
        return ProviderFailed(f"{self} failed with code {code}: {last}", self._hint)

    @property
    def _hint(self) -> str:
        return f"try it by hand in {self.folder}: {self.line}"

    def __str__(self) -> str:
        return f"{self.setting} of {self.host}"


def read(file: IO[bytes], whence: int = 0) -> bytes:
    """Return at most 64 KiB of a file: its beginning, or with a negative `whence` so much of its end."""
    size = os.fstat(file.fileno()).st_size
    return os.pread(file.fileno(), MOST_BYTES, max(0, size + whence) if whence < 0 else 0)


def end_group(child: subprocess.Popen[bytes]) -> None:
    """End the child and all that is in its process group, whatever they do."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, number)
        with suppress(subprocess.TimeoutExpired):
            child.wait(GRACE_S)
