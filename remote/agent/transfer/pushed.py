"""What t2v pushed into this workspace, so that it never overwrites or removes what is somebody else's.

`.t2v/pushed.jsonl` has a line for each file just before it gets its name: path, sha256, and the size, time and inode by
which it is known again, and the id of the workspace that pushed it. A file that fits none of its lines was not pushed,
or was edited since; one that fits lines of several workspaces was pushed alike by all of them.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

from ..base.files import Json, exclusive, write_whole
from ..base.plain_json import tables_in
from ..base.private import make_folder
from ..base.whose import first

COMPACT_BYTES = 4 * 1024 * 1024
Mark = tuple[int, int, int]


class Pushed:
    """The lines by path, newest last.

    by: id of the workspace that asks
    """

    def __init__(self, root: Path, by: str) -> None:
        self.root, self.path, self.by = root, root / ".t2v" / "pushed.jsonl", by
        self._first = first(root)
        self.lines: dict[str, list[Json]] = {}
        with suppress(FileNotFoundError):
            for line in tables_in(self.path):
                if is_whole(line):
                    self._take(line)

    def _take(self, line: Json) -> None:
        if line.get("is_gone"):
            left = [one for one in self.lines.pop(line["path"], []) if line.get("by") and self.owner(one) != line["by"]]
            self.lines.update({line["path"]: left} if left else {})
        else:
            self.lines.setdefault(line["path"], []).append(line)

    def owner(self, line: Json) -> str:
        """Return the workspace that pushed it; of lines from before there were ids, the first one that had an id."""
        return str(line.get("by") or self._first or self.by)

    def fitting(self, path: str) -> dict[str, Json]:
        """Return the lines that the file of that name fits, by workspace.

        There are none for one that was not pushed as it stands.
        """
        try:
            mark = mark_of((self.root / path).lstat())
        except OSError:
            return {}
        return {self.owner(line): line for line in self.lines.get(path, []) if tuple(line["mark"]) == mark}

    def paths_of(self, kind: str) -> list[str]:
        """Return what the asker pushed as `kind`."""
        kinds = {
            path: [one["kind"] for one in lines if self.owner(one) == self.by] for path, lines in self.lines.items()
        }
        return [path for path, its in kinds.items() if its and its[-1] == kind]

    def compact(self) -> None:
        """Drop the lines that do not fit, once there are too many: only the others are still of use."""
        with suppress(FileNotFoundError):
            if self.path.stat().st_size > COMPACT_BYTES:
                with exclusive(self.path.with_suffix(".lock")):
                    fitting = [line for path in self.lines for line in self.fitting(path).values()]
                    write_whole(self.path, "".join(json.dumps(line) + "\n" for line in fitting))


def is_whole(line: Json) -> bool:
    """Return True when a line says what it has to say."""
    mark = line.get("mark")
    is_marked = isinstance(mark, list) and all(type(one) is int for one in mark)
    is_said = is_marked and isinstance(line.get("sha256"), str) and isinstance(line.get("kind"), str)
    return isinstance(line.get("path"), str) and (bool(line.get("is_gone")) or is_said)


def mark_of(status: os.stat_result) -> Mark:
    """Return the size, time in ns and inode by which a file is known again."""
    return (status.st_size, status.st_mtime_ns, status.st_ino)


def note(root: Path, path: str, kind: str, sha256: str, mark: Mark, by: str) -> None:
    """Note a file as pushed, before it is renamed to `path`, which changes neither its inode nor its time."""
    _append(root, {"path": path, "kind": kind, "sha256": sha256, "mark": mark, **({"by": by} if by else {})})


def note_gone(root: Path, path: str, by: str = "") -> None:
    """Note that a pushed file is gone.

    by: only this workspace has it no more; the file stays, as another's
    """
    _append(root, {"path": path, "is_gone": True, **({"by": by} if by else {})})


def _append(root: Path, line: Json) -> None:
    """One write at the end, beside those of other processes."""
    file = root / ".t2v" / "pushed.jsonl"
    make_folder(file.parent)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(descriptor, json.dumps(line).encode() + b"\n")
    finally:
        os.close(descriptor)
