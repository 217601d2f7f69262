"""Small frames of videos that lie on hosts, kept here for when they are looked at again: `.t2v/tui/previews/`.

A preview is a line of JSON and pixels, as `t2v_core.data.video.preview` writes them. The oldest ones go when together
they take more than 64 MB. Workers call this: it blocks for the disk, and for the host.
"""

from __future__ import annotations

import os
import zlib
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from remote.replies.questions import PREVIEW
from t2v_core.disk.files import staged_file
from t2v_core.disk.private import make_folder
from t2v_core.errors import EngineError, WorkFailed
from t2v_tui.library.views import VideoView

if TYPE_CHECKING:
    from remote.jobs.client import HostJobs
    from t2v_core.workspace import Workspace

FRAMES, WIDEST = 8, 96
KEPT_BYTES = 64 * 2**20
# Of one, when it is not compressed: what a host says is believed no further.
MOST_BYTES = 4 * 2**20
TIMEOUT_S = 90.0


class Seen(NamedTuple):
    """A video of a host as it was: another size or time is another video."""

    host: str
    path: str
    size_bytes: int
    changed_t: float

    @classmethod
    def of(cls, host: str, video: VideoView) -> Seen:
        """Return what tells a video of that host from any other."""
        return cls(host, video.path, video.size_bytes, video.changed_t)


def kept(workspace: Workspace, seen: Seen) -> bytes | None:
    """Return the preview that is kept here, and note that it was looked at; None when none is."""
    file = _file(workspace, seen)
    try:
        data = unpacked(file.read_bytes())
        os.utime(file)
    except (OSError, EngineError):
        return None
    return data


def made_there(workspace: Workspace, jobs: HostJobs, seen: Seen) -> bytes:
    """Have the host make a preview, and keep it here. Raises EngineError when it cannot, or is not heard.

    A disk that takes no more costs the memory of it and nothing else.
    """
    said = jobs.ask(
        PREVIEW, timeout_s=TIMEOUT_S, path=seen.path, python=[jobs.host.engine_python], width=WIDEST, height=WIDEST,
        frames=FRAMES,
    )  # fmt: skip
    data = unpacked(said.data)
    if not data.startswith(b'{"error"'):  # it may be on its way, and whole the next time
        file = _file(workspace, seen)
        with suppress(OSError, EngineError):
            make_folder(file.parent)
            with staged_file(file) as partial:
                partial.write_bytes(said.data)
            _make_room(file.parent)
    return data


def unpacked(data: bytes) -> bytes:
    """Return what was compressed. Raises WorkFailed for what was not, or is larger than a preview can be."""
    reader = zlib.decompressobj()
    try:
        plain = reader.decompress(data, MOST_BYTES)
    except zlib.error as error:
        raise WorkFailed("a preview is damaged", "look at it again") from error
    if not reader.eof:
        raise WorkFailed("a preview is cut off, or larger than one can be", "look at it again")
    return plain


def _make_room(folder: Path) -> None:
    """Remove those that were not looked at for the longest time."""
    files = sorted(_stats(folder))
    surplus = sum(size for _, size, _ in files) - KEPT_BYTES
    for _, size, path in files:
        if surplus <= 0:
            return
        path.unlink(missing_ok=True)
        surplus -= size


def _stats(folder: Path) -> list[tuple[float, int, Path]]:
    """When each was looked at last, and its bytes."""
    found = []
    for path in folder.iterdir():
        with suppress(FileNotFoundError):  # another session makes room as well
            status = path.stat()
            found.append((status.st_mtime, status.st_size, path))
    return found


def _file(workspace: Workspace, seen: Seen) -> Path:
    name = sha256("\0".join(map(str, seen)).encode("utf-8", "surrogateescape")).hexdigest()[:32]
    return workspace.root / ".t2v" / "tui" / "previews" / name
