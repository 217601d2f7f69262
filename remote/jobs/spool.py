"""What came of a job's log and events so far, in this workspace: it can be read with the host switched off.

`.t2v/spool/<host>/<job>/` holds `log` and `events.jsonl`, each a prefix of the host's own, and `row.json`, what the
host said of the job last. The length of a file is the offset to go on from.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

from remote.errors import UnsafeName
from remote.replies.job_row import JobRow
from remote.text import shown
from t2v_core.disk.files import describe_os_error, write_json
from t2v_core.disk.plain_json import read_table
from t2v_core.disk.private import make_folder
from t2v_core.disk.typed_json import UnixTime, read_as
from t2v_core.workspace import Workspace

LOG, EVENTS = "log", "events.jsonl"
# Its file says which job of this machine the host's job is a part of.
PART_OF = "part-of"
JOB_ID = re.compile(r"[\w-][\w.-]*")
CHUNK_BYTES = 256 * 1024
# Two threads of one process would stage `row.json` under one name.
KEEPING = threading.Lock()


@dataclass(frozen=True)
class KnownRow:
    """What a host said of a job, and when (Unix time in seconds, by this machine's clock)."""

    row: JobRow
    seen_t: UnixTime


@dataclass(frozen=True)
class Spool:
    """One job's.

    Several followers may write at once: each writes the same bytes to the same place, and none leaves a gap.
    """

    directory: Path

    @classmethod
    def of(cls, workspace: Workspace, host: str, job: str) -> Spool:
        """Return a job's spool. Raises UnsafeName for an id that would lead elsewhere; a host may say anything."""
        if not JOB_ID.fullmatch(job):
            raise UnsafeName(f"{shown(job)[:200]} is not the id of a job", f"the t2v on {host} is broken, or not t2v")
        return cls(_root(workspace) / _folder_name(host) / job)

    @property
    def log(self) -> Path:
        """Return the file with what is here of the log."""
        return self.directory / LOG

    @property
    def events(self) -> Path:
        """Return the file with what is here of the events."""
        return self.directory / EVENTS

    def size(self, name: str) -> int:
        """Return the bytes there are of `name`, which is where to go on."""
        try:
            return (self.directory / name).stat().st_size
        except FileNotFoundError:
            return 0

    def write(self, name: str, offset: int, data: bytes) -> None:
        """Put bytes where they belong. Raises EngineError when the disk is full or may not be written."""
        path = self.directory / name
        try:
            make_folder(self.directory)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
            try:
                view = memoryview(data)
                while view:
                    written = os.pwrite(descriptor, view, offset)
                    view, offset = view[written:], offset + written
            finally:
                os.close(descriptor)
        except OSError as error:
            raise describe_os_error(error, path) from error

    def read(self, name: str, offset: int, end: int) -> Iterator[tuple[int, bytes]]:
        """Yield (offset, bytes) in pieces, from `offset` to `end` or to what there is."""
        try:
            descriptor = os.open(self.directory / name, os.O_RDONLY)
        except FileNotFoundError:
            return
        try:
            while offset < end and (data := os.pread(descriptor, min(CHUNK_BYTES, end - offset), offset)):
                yield offset, data
                offset += len(data)
        finally:
            os.close(descriptor)

    def known(self) -> KnownRow | None:
        """Return what the host said of the job last; None when it said nothing yet."""
        try:
            return read_as(KnownRow, read_table(self.directory / "row.json"))
        except (OSError, ValueError):
            return None

    def keep(self, row: JobRow) -> None:
        """Remember what the host says of the job now."""
        with KEEPING:
            write_json(self.directory / "row.json", {"seen_t": round(time.time(), 3), "row": row.to_json()})

    def mark_part_of(self, job: str) -> None:
        """Remember that it is a part of a job of this machine, which is listed in its place."""
        make_folder(self.directory)
        (self.directory / PART_OF).write_text(job)

    @property
    def is_part(self) -> bool:
        """Tell whether it is a part of another job."""
        return (self.directory / PART_OF).exists()

    @property
    def is_whole(self) -> bool:
        """Tell whether the job has ended and every byte of it is here."""
        known = self.known()
        return (
            known is not None
            and known.row.has_ended
            and (self.size(LOG), self.size(EVENTS)) == (known.row.log_bytes, known.row.events_bytes)
        )


def known_rows(workspace: Workspace, host: str, *, with_parts: bool = True) -> list[KnownRow]:
    """Return every job of a host that was ever followed or listed from this workspace, as it stood last.

    with_parts: also those that are parts of a job of this machine
    """
    spools = [Spool(folder) for folder in sorted((_root(workspace) / _folder_name(host)).glob("*"))]
    wanted = [spool for spool in spools if with_parts or not spool.is_part]
    return [known for spool in wanted if (known := spool.known()) is not None]


def known_hosts(workspace: Workspace) -> list[str]:
    """Return the hosts of which something is kept here."""
    return [unquote(folder.name) for folder in sorted(_root(workspace).glob("*")) if folder.is_dir()]


def _root(workspace: Workspace) -> Path:
    return workspace.root / ".t2v" / "spool"


def _folder_name(host: str) -> str:
    """A name of t2v.toml may be any text."""
    return quote(host, safe="").replace(".", "%2E") if host.startswith(".") else quote(host, safe="")
