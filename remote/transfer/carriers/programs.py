"""Other programs that carry the bytes, as the user wished: gcloud, rsync, a bucket. What they bring is verified too.

None of them goes on within a file as the ranges do, except rsync; a file that had come whole is not fetched again.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from remote.errors import NotReady, TransferFailed
from remote.gce.scp import GcloudWay
from remote.text import stderr_reason
from remote.transfer.arrivals import Arrivals
from remote.transfer.board import Board
from remote.transfer.carriers.argv import gcloud_scp_argv, rsync_argv
from remote.transfer.incoming import Incoming
from remote.transfer.links.ssh_way import SshWay

ATTEMPTS, PAUSE_S = 3, 2.0
LOOK_S = 0.5
END_TIMEOUT_S = 5.0
PARTIAL = ".t2v-partial"
NOT_BROUGHT = "ended without an error, but did not bring it"
# What rsync says behind the reason, which is ssh's.
BEHIND = re.compile(r"^(rsync error: |rsync: connection unexpectedly closed|.*\b(exiting|Broken pipe))")


class Carrier:
    """Brings files by a program of somebody else, in a thread of its own.

    there: the workspace on the host, absolute
    """

    program = ""

    def __init__(self, there: str, incoming: Sequence[Incoming], arrivals: Arrivals, board: Board) -> None:
        self.there, self.arrivals, self.board = there, arrivals, board
        self.incoming = [one for one in incoming if one.part.prefix() < one.size or not one.size]
        self._child: subprocess.Popen[bytes] | None = None
        self._seen = 0

    def start(self, to_send: int) -> None:  # as Streams
        """Start the thread that brings the files. Raises NotReady when the program is not installed here."""
        if shutil.which(self.program) is None:
            raise NotReady(f"transfer needs {self.program}, which is not installed here", 'or set transfer = "auto"')
        threading.Thread(target=self._work, name=self.program, daemon=True).start()

    def _work(self) -> None:
        self.board.stream(+1)
        try:
            self.bring()
        except Exception as error:  # noqa: BLE001 - whoever waits for it learns it from the board
            if not self.board.closed.is_set():
                self.board.fail(error)
        finally:
            self.board.stream(-1)

    def bring(self) -> None:
        """Bring every file, in order. Raises TransferFailed."""
        for one in self.incoming:
            if self.board.closed.is_set():
                return
            one.part.discard()
            self.bring_one(one)
            self.adopt(one)

    def bring_one(self, one: Incoming) -> None:
        """Write `one.part.path`. Raises TransferFailed."""
        raise NotImplementedError

    def take_in(self, one: Incoming, came: Path) -> None:
        """Take what the program left at a place of its own as the part."""
        if came.is_symlink() or not came.is_file():
            self.arrivals.again(one, f"{self.program} {NOT_BROUGHT}")
            return
        one.part.discard()
        one.part.path.parent.mkdir(parents=True, exist_ok=True)
        came.replace(one.part.path)
        self.adopt(one)

    def adopt(self, one: Incoming) -> None:
        """Take what the program wrote as a part that has all its bytes; it is verified as every other."""
        try:
            one.part.adopt()
        except FileNotFoundError:
            self.arrivals.again(one, f"{self.program} {NOT_BROUGHT}")
        except OSError as error:
            self.arrivals.again(one, f"only part of it arrived: {error.strerror}")
        one.wake()

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", growing: Callable[[], int] | None = None) -> None:
        """Run to its end, again when it fails for a reason that may pass. growing: bytes that have come of it

        Raises TransferFailed when the last attempt fails too; returns early when the transfer is closed.
        """
        for attempt in range(1, ATTEMPTS + 1):
            said, code = self._run_once(argv, stdin, growing)
            if code == 0 or self.board.closed.is_set():
                return
            why = why_it_ended(said, code)
            if attempt == ATTEMPTS:
                hint = 'what arrived is kept; run it again, or set transfer = "ssh" in t2v.toml'
                raise TransferFailed(f"{self.program}: {why}", hint)
            self.board.note(f"{self.program}: {why}; it is tried again")
            self.board.closed.wait(PAUSE_S)

    def _run_once(self, argv: Sequence[str], stdin: bytes, growing: Callable[[], int] | None) -> tuple[str, int]:
        with self._begun(argv) as child:
            self._child, base, said = child, self._seen, bytearray()
            assert child.stdin is not None
            assert child.stderr is not None
            reader = threading.Thread(target=_keep_end, args=(child.stderr, said), daemon=True)
            reader.start()
            with suppress(BrokenPipeError):  # then its exit code and last words say why
                child.stdin.write(stdin)
            with suppress(BrokenPipeError):  # the same once more, of what was held back
                child.stdin.close()
            while True:
                with suppress(subprocess.TimeoutExpired):
                    child.wait(LOOK_S)
                self._show_growth(growing, base)
                if child.returncode is not None:
                    break
            reader.join(END_TIMEOUT_S)
            return bytes(said).decode(errors="replace"), child.returncode

    def _begun(self, argv: Sequence[str]) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(
                argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
            )
        except OSError as error:
            raise TransferFailed(
                f"{self.program} cannot be started: {error.strerror}", 'fix it, or set transfer = "ssh" in t2v.toml'
            ) from error

    def _show_growth(self, growing: Callable[[], int] | None, base: int) -> None:
        with suppress(OSError):  # there is nothing yet
            if growing is not None and (size := growing()) > self._seen - base:
                self.board.moved(size - (self._seen - base))
                self._seen = base + size

    def look(self) -> None:
        """Do nothing: one program at a time is all there is."""

    def close(self) -> None:
        """End the program; what it was at is fetched again."""
        if self._child is not None and self._child.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._child.pid, signal.SIGTERM)


def why_it_ended(said: str, code: int) -> str:
    """Return the last thing that a program said which is a reason; how it ended when it said nothing."""
    lines = said.splitlines()
    why = stderr_reason("\n".join(line for line in lines if not BEHIND.match(line))) or stderr_reason(said)
    if why:
        return why
    if code < 0:
        with suppress(ValueError):
            return f"it was ended by {signal.Signals(-code).name}"
    return f"it ended with code {code} and said nothing"


def _keep_end(stream: IO[bytes], said: bytearray) -> None:
    """The last words of a program, which may say any number before."""
    while data := os.read(stream.fileno(), 4096):
        said += data
        del said[:-4096]


class GcloudCarrier(Carrier):
    """`gcloud compute scp`, one file at a time: for many small ones it takes five round trips each."""

    program = "gcloud"

    def __init__(
        self, way: GcloudWay, there: str, incoming: Sequence[Incoming], arrivals: Arrivals, board: Board
    ) -> None:
        super().__init__(there, incoming, arrivals, board)
        self.way = way

    def bring_one(self, one: Incoming) -> None:
        """Fetch one file straight into its part."""
        argv = gcloud_scp_argv(self.way, f"{self.there}/{one.far_path}", one.part.path)
        self.run(argv, growing=lambda: one.part.path.stat().st_size)


class RsyncCarrier(Carrier):
    """rsync, all files in one run; what breaks off goes on from its partial folder."""

    program = "rsync"

    def __init__(
        self, way: SshWay, there: str, incoming: Sequence[Incoming], arrivals: Arrivals, board: Board, staging: Path
    ) -> None:
        super().__init__(there, incoming, arrivals, board)
        self.way, self.staging = way, staging

    def bring(self) -> None:
        """Fetch all files in one run into the staging folder, then take each in."""
        if not self.incoming:
            return
        self.staging.mkdir(parents=True, exist_ok=True)
        names = b"".join(one.far_path.encode() + b"\0" for one in self.incoming)
        argv = rsync_argv(self.way, self.there, self.staging, partial=PARTIAL)
        self.run(argv, stdin=names, growing=lambda: sum(path.stat().st_size for path in self.staging.rglob("*")))
        if self.board.closed.is_set():
            return
        for one in self.incoming:
            self.take_in(one, self.staging / one.far_path)
        shutil.rmtree(self.staging, ignore_errors=True)
