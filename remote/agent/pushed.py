"""What t2v pushed into this workspace, so that it never overwrites or removes what is somebody else's.

`.t2v/pushed.jsonl` has a line for each file just before it gets its name: path, sha256, and the size, time and inode by
which it is known again. A file that fits none of its lines was not pushed, or was edited since.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

from .files import Json, exclusive, write_whole

COMPACT_BYTES = 4 * 1024 * 1024
Mark = tuple[int, int, int]


class Pushed:
    """The lines by path, newest last."""

    def __init__(self, root: Path) -> None:
        self.root, self.path = root, root / ".t2v" / "pushed.jsonl"
        self.lines: dict[str, list[Json]] = {}
        with suppress(FileNotFoundError):
            for line in self.path.read_bytes().splitlines():
                with suppress(ValueError, KeyError, TypeError):
                    self._take(json.loads(line))

    def _take(self, line: Json) -> None:
        if line.get("is_gone"):
            self.lines.pop(line["path"], None)
        else:
            self.lines.setdefault(line["path"], []).append(line)

    def fitting(self, path: str) -> Json | None:
        """The line that the file of that name fits; None for one that is not ours as it stands."""
        try:
            mark = mark_of((self.root / path).lstat())
        except OSError:
            return None
        return next((line for line in reversed(self.lines.get(path, [])) if tuple(line["mark"]) == mark), None)

    def paths_of(self, kind: str) -> list[str]:
        """What was pushed as `kind`."""
        return [path for path, lines in self.lines.items() if lines[-1]["kind"] == kind]

    def compact(self) -> None:
        """Only the line that fits is still of use."""
        with suppress(FileNotFoundError):
            if self.path.stat().st_size > COMPACT_BYTES:
                with exclusive(self.path.with_suffix(".lock")):
                    fitting = filter(None, map(self.fitting, self.lines))
                    write_whole(self.path, "".join(json.dumps(line) + "\n" for line in fitting))


def mark_of(status: os.stat_result) -> Mark:
    return (status.st_size, status.st_mtime_ns, status.st_ino)


def note(root: Path, path: str, kind: str, sha256: str, status: os.stat_result) -> None:
    """To be called before the file is renamed to `path`, which changes neither its inode nor its time."""
    _append(root, {"path": path, "kind": kind, "sha256": sha256, "mark": mark_of(status)})


def note_gone(root: Path, path: str) -> None:
    _append(root, {"path": path, "is_gone": True})


def _append(root: Path, line: Json) -> None:
    """One write at the end, beside those of other processes."""
    file = root / ".t2v" / "pushed.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(descriptor, json.dumps(line).encode() + b"\n")
    finally:
        os.close(descriptor)
